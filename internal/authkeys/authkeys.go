// Package authkeys answers sshd's question for the keys of a user: it asks the
// metadata service what was pushed, proves it, and gives authorized_keys lines.
package authkeys

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/imds"
	"github.com/eic-agent/eic-agent/internal/instance"
	"github.com/eic-agent/eic-agent/internal/keycache"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/internal/signer"
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
	maxStaple = 8 << 10
	maxFact   = 1 << 10
)

// maxReports is how many decisions of one kind are reported one by one in a run:
// keys that were provided, and refusals for each reason. The rest is counted. The
// journal's rate limit is shared with sshd, whose records must not suffer from
// what somebody pushes or makes up.
const maxReports = 10

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
	Roots func() (*x509.CertPool, error)
	// Cache holds what earlier runs were served; nil is an empty one.
	Cache   *keycache.Cache
	SSHDPID int // of the sshd that asks, for the events
}

// An Answer is what sshd gets, and what the journal gets.
type Answer struct {
	// Lines are authorized_keys lines of proved keys only.
	Lines []byte
	// Events are the decisions on single records: first the refusals that
	// needed no proof, then the others, each in the order served.
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
	if answer, ok := a.recall(now, user, id, filter); ok {
		return answer, nil
	}
	// Whoever asks for the same keys at the same time waits for this run's.
	if !filter.IsZero() {
		waited, done := a.Cache.LeadRecords(ctx, user)
		defer done()
		if waited {
			if answer, ok := a.recall(now, user, id, filter); ok {
				return answer, nil
			}
		}
	}
	body, err := a.Metadata.Get(ctx, keysPath+user+"/", maxKeys)
	if errors.Is(err, imds.ErrNotFound) {
		return a.nothing(user, "no key is pushed for this user"), nil
	}
	if err != nil {
		return Answer{}, err
	}

	r := a.newRun(now, user, id, filter)
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

// recall answers from the cache. It does so only with a key that is proved, live
// and the one asked for; that there is none is never known from the cache.
func (a *Agent) recall(now time.Time, user, id string, filter fingerprint.Filter) (answer Answer, ok bool) {
	if filter.IsZero() {
		return Answer{}, false
	}
	body, ok := a.Cache.Records(user)
	if !ok {
		return Answer{}, false
	}
	r := a.newRun(now, user, id, filter)
	r.screen(body)
	if len(r.candidates) == 0 {
		return Answer{}, false
	}
	roots, err := a.Roots()
	if err != nil || !r.decideFromCache(roots) || len(r.granted) == 0 {
		return Answer{}, false
	}
	provided := slices.DeleteFunc(r.finish(), func(e audit.Event) bool { return e.Kind != audit.KeyProvided })
	return Answer{Lines: r.lines(), Events: provided}, true
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
	kept       []byte // the records of granted, as served
	events     []audit.Event
	decisions  map[reason.Word]int // how many of each; "" are those granted
}

func (a *Agent) newRun(now time.Time, user, id string, filter fingerprint.Filter) *run {
	return &run{
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
}

// screen sorts out the records that need no signer to be refused.
func (r *run) screen(body []byte) {
	seen := make(map[string]bool)
	for record := range keyrecord.Records(body) {
		err := r.screenOne(record)
		if !errors.Is(err, keyrecord.ErrOtherKey) {
			// The same record once more is no other push.
			if seen[string(record.Text())] {
				continue
			}
			seen[string(record.Text())] = true
		}
		switch {
		case errors.Is(err, keyrecord.ErrOtherKey):
		case err != nil:
			r.refuse(record, err)
		default:
			r.candidates = append(r.candidates, record)
		}
	}
}

// screenOne says why a record is not worth being proved: nil, ErrOtherKey or a
// *reason.Error.
func (r *run) screenOne(record *keyrecord.Record) error {
	if err := record.Check(r.terms); err != nil && !r.instancePending(err) {
		return err
	}
	return r.permit()
}

// permit says why no key may be pushed for the user.
func (r *run) permit() error {
	if !r.Config.Users.Permits(r.user) {
		return reason.New(reason.UserDenied, fmt.Sprintf("[users] lets no key be pushed for user %q", r.user))
	}
	return nil
}

// permitCaller says why caller may not push keys for the user.
func (r *run) permitCaller(caller string) error {
	if !r.Config.Users.PermitsCaller(caller, r.user) {
		return reason.New(reason.CallerNotMapped, fmt.Sprintf("no [[users.map]] row lets %.128q push keys for user %q", caller, r.user))
	}
	return nil
}

// instancePending reports whether err is only that the id of this instance has
// yet to be asked for.
func (r *run) instancePending(err error) bool {
	return r.terms.Instance == "" && reason.Of(err) == reason.WrongInstance
}

// prove decides on the candidates, with the signer that is in the cache or else
// with the one that is served. An error means that it could not.
func (r *run) prove(ctx context.Context) error {
	roots, err := r.Roots()
	if err != nil {
		return err
	}
	if r.decideFromCache(roots) {
		r.keep()
		return nil
	}
	waited, done := r.Cache.LeadSigner(ctx)
	defer done()
	if waited && r.decideFromCache(roots) {
		r.keep()
		return nil
	}
	served, by, err := r.fetchSigner(ctx, roots)
	if err != nil {
		// Another run may have had more luck meanwhile.
		if r.decideFromCache(roots) {
			r.keep()
			return nil
		}
		return err
	}
	r.Cache.StoreSigner(served)
	r.settle(served.InstanceID, r.decide(by, served.InstanceID))
	r.keep()
	return nil
}

// decideFromCache decides on the candidates with what is in the cache. It reports
// false, and decides nothing, where that cannot be proved or where it might be
// what is wrong: where the signer has changed, or the id of this instance is not
// the one that was kept.
func (r *run) decideFromCache(roots *x509.CertPool) bool {
	kept, ok := r.Cache.Signer()
	if !ok || (r.terms.Instance == "" && !instance.IsID(kept.InstanceID)) {
		return false
	}
	chain, err := signer.Verify(kept.Chain, r.trust(roots), kept.Region, kept.Domain, r.terms.Now)
	if err != nil {
		return false
	}
	by, err := chain.Prove(kept.Staples, r.terms.Now)
	if err != nil {
		return false
	}
	decisions := r.decide(by, kept.InstanceID)
	for _, d := range decisions {
		if word := reason.Of(d.err); word == reason.BadSignature || word == reason.WrongInstance {
			return false
		}
	}
	r.settle(kept.InstanceID, decisions)
	return true
}

func (r *run) trust(roots *x509.CertPool) signer.Trust {
	return signer.Trust{Roots: roots, Domains: r.Config.Trust.Domains}
}

// A decision is what becomes of one candidate.
type decision struct {
	record *keyrecord.Record
	key    keyrecord.Key
	err    error
}

// decide proves the candidates. id is that of this instance where it is not known
// from the board.
func (r *run) decide(by *signer.Signer, id string) []decision {
	terms := r.terms
	if terms.Instance == "" {
		terms.Instance = id
	}
	decisions := make([]decision, len(r.candidates))
	for i, record := range r.candidates {
		decisions[i] = r.decideOne(record, by, terms)
	}
	return decisions
}

func (r *run) decideOne(record *keyrecord.Record, by *signer.Signer, terms keyrecord.Terms) decision {
	key, err := record.Prove(by, terms)
	if err == nil {
		err = r.permitCaller(key.Caller())
	}
	return decision{record, key, err}
}

// settle acts on the decisions, for the instance of that id where it is not known
// from the board.
func (r *run) settle(id string, decisions []decision) {
	r.terms.Instance = cmp.Or(r.terms.Instance, id)
	for _, d := range decisions {
		if d.err != nil {
			r.refuse(d.record, d.err)
			continue
		}
		r.kept = append(append(r.kept, d.record.Text()...), "\n\n"...)
		r.grant(d.key)
	}
}

// keep has the cache keep the records that were granted.
func (r *run) keep() {
	if len(r.granted) > 0 {
		r.Cache.StoreRecords(r.user, r.kept)
	}
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
