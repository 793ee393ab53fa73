package authkeys

import (
	"fmt"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/reason"
)

func (r *run) grant(key keyrecord.Key) {
	r.granted = append(r.granted, key)
	e := r.event(audit.KeyProvided, key.Blob())
	e.KeyType, e.Caller, e.Request, e.Expires = key.Type(), key.Caller(), key.Request(), key.Expires()
	e.Message = fmt.Sprintf("gave sshd the key %s for user %q, pushed by %s", e.Fingerprint, r.user, orUnnamed(key.Caller()))
	r.events = append(r.events, e)
}

// refuse notes why a record is not granted. What the record says of itself goes
// along, as the claim that it is.
func (r *run) refuse(record *keyrecord.Record, err error) {
	r.refused++
	if r.refused > maxRefusals {
		return
	}
	e := r.event(audit.RecordRefused, record.Blob())
	e.Reason = reason.Of(err)
	e.KeyType, e.Caller, e.Request = record.KeyType(), record.Caller(), record.Request()
	if record.Expires() != 0 {
		e.Expires = time.Unix(record.Expires(), 0)
	}
	which := "a record"
	if e.Fingerprint != "" {
		which = "the key " + e.Fingerprint
	}
	e.Message = fmt.Sprintf("refused %s for user %q (%s): %s; %s", which, r.user, e.Reason, err, e.Reason.Hint())
	r.events = append(r.events, e)
}

func (r *run) event(kind audit.Kind, blob []byte) audit.Event {
	e := audit.Event{Kind: kind, User: r.user, Instance: r.terms.Instance, SSHDPID: r.SSHDPID}
	if blob != nil {
		e.Fingerprint, e.FingerprintMD5 = fingerprint.SHA256(blob), fingerprint.MD5(blob)
	}
	return e
}

// finish returns the events, with one for the refusals that were not reported.
func (r *run) finish() []audit.Event {
	if more := r.refused - maxRefusals; more > 0 {
		e := r.event(audit.RecordRefused, nil)
		e.Reason = r.lastRefusal().Reason
		e.Message = fmt.Sprintf("refused %d more records for user %q, not listed one by one", more, r.user)
		r.events = append(r.events, e)
	}
	return r.events
}

// lastRefusal returns the last refusal that was reported.
func (r *run) lastRefusal() audit.Event {
	for i := len(r.events) - 1; i >= 0; i-- {
		if r.events[i].Kind == audit.RecordRefused {
			return r.events[i]
		}
	}
	return audit.Event{}
}

func orUnnamed(caller string) string {
	if caller == "" {
		return "a caller whom AWS did not name"
	}
	return caller
}
