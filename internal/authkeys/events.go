package authkeys

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// KeyEvent returns an event with the verified data of a pushed key.
func KeyEvent(key keyrecord.Key) audit.Event {
	return audit.Event{
		KeyType:        key.Type(),
		KeyBits:        key.Bits(),
		Fingerprint:    fingerprint.SHA256(key.Blob()),
		FingerprintMD5: fingerprint.MD5(key.Blob()),
		Caller:         key.Caller(),
		Request:        key.Request(),
		Expires:        key.Expires(),
	}
}

func (r *run) grant(key keyrecord.Key) {
	r.granted = append(r.granted, key)
	if !r.reports("") {
		return
	}
	e := r.event(audit.KeyProvided, key.Blob())
	e.KeyType, e.KeyBits, e.Caller, e.Request, e.Expires = key.Type(), key.Bits(), key.Caller(), key.Request(), key.Expires()
	e.Message = fmt.Sprintf("gave sshd the key %s for user %q, pushed by %s", e.Fingerprint, r.user, orUnnamed(key.Caller()))
	r.events = append(r.events, e)
	if would, ok := r.WouldRefuse(r.user, key); ok {
		would.Instance = e.Instance
		r.events = append(r.events, would)
	}
}

// refuse logs why a record is not granted. The record's claims go
// along, unverified.
func (r *run) refuse(record *keyrecord.Record, err error) {
	word := reason.Of(err)
	if !r.reports(word) {
		return
	}
	e := r.event(audit.RecordRefused, record.Blob())
	e.Reason = word
	e.KeyType, e.KeyBits, e.Caller, e.Request = record.KeyType(), record.KeyBits(), record.Caller(), record.Request()
	if record.Expires() != 0 {
		e.Expires = time.Unix(record.Expires(), 0)
	}
	which := "a record"
	if e.Fingerprint != "" {
		which = "the key " + e.Fingerprint
	}
	e.Message = fmt.Sprintf("refused %s for user %q (%s): %s; %s", which, r.user, word, err, word.Hint())
	r.events = append(r.events, e)
}

// cutOff logs that more was served than is read.
func (r *run) cutOff() {
	e := r.event(audit.RecordRefused, nil)
	e.Reason = reason.OverLimit
	e.Message = fmt.Sprintf("ignored the records for user %q beyond the first %d KiB (%s); %s", r.user, maxKeys>>10, e.Reason, e.Reason.Hint())
	r.events = append(r.events, e)
}

// reports counts a decision for that reason, "" for a grant, and says whether it
// is to be reported by itself.
func (r *run) reports(word reason.Word) bool {
	if r.decisions == nil {
		r.decisions = make(map[reason.Word]int)
	}
	r.decisions[word]++
	return r.decisions[word] <= maxReports
}

func (r *run) event(kind audit.Kind, blob []byte) audit.Event {
	e := audit.Event{Kind: kind, User: r.user, Instance: r.terms.Instance, SSHDPID: r.SSHDPID}
	if blob != nil {
		e.Fingerprint, e.FingerprintMD5 = fingerprint.SHA256(blob), fingerprint.MD5(blob)
	}
	return e
}

// finish returns the events, with one for the rest of each kind.
func (r *run) finish() []audit.Event {
	for _, word := range slices.Sorted(maps.Keys(r.decisions)) {
		more := r.decisions[word] - maxReports
		if more <= 0 {
			continue
		}
		e := r.event(audit.RecordRefused, nil)
		e.Reason = word
		e.Message = fmt.Sprintf("refused %d more records for user %q (%s), not listed one by one", more, r.user, word)
		if word == "" {
			e.Kind = audit.KeyProvided
			e.Message = fmt.Sprintf("the keys given to sshd for user %q were pushed %d more times, not listed one by one", r.user, more)
		}
		r.events = append(r.events, e)
	}
	return r.events
}

func orUnnamed(caller string) string {
	if caller == "" {
		return "an unnamed caller"
	}
	return caller
}
