// Package authkeys answers sshd's question for the keys of a user: it asks the
// metadata service what was pushed, proves it, and gives authorized_keys lines.
package authkeys

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/imds"
	"github.com/eic-agent/eic-agent/internal/instance"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// Where the metadata service keeps things, below latest/meta-data/, and the most
// that is read of each. The keys of a user may be a thousand records of RSA 4096
// keys; a chain of AWS has 7 KiB, a staple 2 KiB.
const (
	keysPath   = "managed-ssh-keys/active-keys/"
	chainPath  = "managed-ssh-keys/signer-cert/"
	staplePath = "managed-ssh-keys/signer-ocsp/"

	maxKeys   = 1536 << 10
	maxChain  = 64 << 10
	maxStaple = 32 << 10
	maxFact   = 1 << 10
)

// maxRefusals is how many refused records of one run are reported one by one:
// the journal's rate limit is shared with sshd, whose records must not suffer
// from what a hostile metadata service makes up.
const maxRefusals = 20

// Metadata is read from the metadata service, by paths below latest/meta-data/.
// Get returns imds.ErrNotFound for an entry that is not there, and a
// *reason.Error where it could not find out.
type Metadata interface {
	Get(ctx context.Context, path string, limit int) ([]byte, error)
}

// An Agent answers for one host.
type Agent struct {
	Config   *config.Config
	Metadata Metadata
	Root     fs.FS // the root file system, where the hypervisor names itself
	// Roots returns what replaces the built-in roots, or nil. It is called
	// only when there is a record to prove.
	Roots   func() (*x509.CertPool, error)
	SSHDPID int // of the sshd that asks, for the events
}

// An Answer is what sshd gets, and what the journal gets.
type Answer struct {
	// Lines are authorized_keys lines of proved keys only.
	Lines []byte
	// Events are the decisions on single records, in the order served.
	Events []audit.Event
}

// Run answers for user at the time now, with keys that filter selects. No error
// and no lines is the everyday answer: nothing was pushed that could be granted.
// An error, always a *reason.Error, says that it could not be found out; then
// there are no lines, but there may be events.
func (a *Agent) Run(ctx context.Context, now time.Time, user string, filter fingerprint.Filter) (Answer, error) {
	if !IsUser(user) {
		return a.nothing(user, "no key can be pushed for a user of this name"), nil
	}
	id, err := a.identify()
	if err != nil {
		return a.nothing(user, err.Error()), nil
	}
	body, err := a.Metadata.Get(ctx, keysPath+user+"/", maxKeys)
	if errors.Is(err, imds.ErrNotFound) {
		return a.nothing(user, "no key is pushed for this user"), nil
	}
	if err != nil {
		return Answer{}, err
	}

	r := &run{
		Agent: a,
		user:  user,
		terms: keyrecord.Terms{
			Now:         now,
			Instance:    id,
			MaxLifetime: a.Config.Keys.MaxLifetime.Duration,
			ClockSkew:   a.Config.Keys.ClockSkew.Duration,
			Types:       a.Config.Keys.Types,
			MinRSABits:  a.Config.Keys.MinRSABits,
			Fingerprint: filter,
		},
	}
	r.screen(body)
	if len(r.candidates) > 0 {
		if err := r.prove(ctx); err != nil {
			return Answer{Events: r.finish()}, err
		}
	}
	answer := Answer{Lines: r.lines(), Events: r.finish()}
	if len(answer.Events) == 0 {
		return a.nothing(user, "no pushed key is the one asked for"), nil
	}
	return answer, nil
}

// identify returns the id of this instance, or "" where only the metadata
// service can tell.
func (a *Agent) identify() (string, error) {
	if a.Config.Instance.Attest == config.AttestIMDS {
		return "", nil
	}
	id, _, err := instance.Identify(a.Root)
	return id, err
}

// nothing is the answer for which there is nothing to say but to a person who
// runs the command by hand.
func (a *Agent) nothing(user, why string) Answer {
	return Answer{Events: []audit.Event{{
		Kind:    audit.NothingToSay,
		Message: fmt.Sprintf("nothing to provide for user %.64q: %s", user, why),
		User:    user,
		SSHDPID: a.SSHDPID,
	}}}
}

// A run is one answer in the making.
type run struct {
	*Agent
	user  string
	terms keyrecord.Terms

	candidates []*keyrecord.Record // what may be granted once it is proved
	granted    []keyrecord.Key
	events     []audit.Event
	refused    int
}

// screen sorts out the records that need no signer to be refused.
func (r *run) screen(body []byte) {
	permitted := r.Config.Users.Permits(r.user)
	for record := range keyrecord.Records(body) {
		err := record.Check(r.terms)
		switch {
		case errors.Is(err, keyrecord.ErrOtherKey):
		case err != nil && !r.instancePending(err):
			r.refuse(record, err)
		case !permitted:
			r.refuse(record, reason.New(reason.UserDenied, fmt.Sprintf("[users] lets no key be pushed for user %q", r.user)))
		default:
			r.candidates = append(r.candidates, record)
		}
	}
}

// instancePending reports whether err is only that the id of this instance has
// yet to be asked for.
func (r *run) instancePending(err error) bool {
	return r.terms.Instance == "" && reason.Of(err) == reason.WrongInstance
}

// prove decides on the candidates. An error means that it could not.
func (r *run) prove(ctx context.Context) error {
	roots, err := r.Roots()
	if err != nil {
		return err
	}
	by, id, err := r.fetchSigner(ctx, roots)
	if err != nil {
		return err
	}
	if r.terms.Instance == "" {
		r.terms.Instance = id
	}
	for _, record := range r.candidates {
		key, err := record.Prove(by, r.terms)
		if err == nil && !r.Config.Users.PermitsCaller(key.Caller(), r.user) {
			err = reason.New(reason.CallerNotMapped, fmt.Sprintf("no [[users.map]] row lets %.128q push keys for user %q", key.Caller(), r.user))
		}
		if err != nil {
			r.refuse(record, err)
			continue
		}
		r.grant(key)
	}
	return nil
}

// lines returns one line a key. A key that was pushed twice lives as long as the
// later push.
func (r *run) lines() []byte {
	latest := make(map[string]time.Time)
	for _, key := range r.granted {
		blob := string(key.Blob())
		if key.Expires().After(latest[blob]) {
			latest[blob] = key.Expires()
		}
	}
	var b bytes.Buffer
	for _, key := range r.granted {
		blob := string(key.Blob())
		expires, ok := latest[blob]
		if !ok {
			continue
		}
		delete(latest, blob)
		writeLine(&b, key, expires, r.Config.Keys.Options, r.Config.Keys.ExpiryTime)
	}
	return b.Bytes()
}
