package authkeys

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/imds"
	"github.com/eic-agent/eic-agent/internal/instance"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/internal/signer"
)

// A run is the state of one run.
type run struct {
	*Agent
	user  string
	terms keyrecord.Terms

	candidates []*keyrecord.Record // what may be granted once it is proved
	granted    []keyrecord.Key
	kept       []byte // the records of granted, as served
	events     []audit.Event
	decisions  map[reason.Word]int // how many of each; "" are those granted

	cached []*signer.Signer // that the cache has, once they are proved
}

func (a *Agent) newRun(user, id string, filter fingerprint.Filter) *run {
	return &run{Agent: a, user: user, terms: a.terms(id, filter)}
}

func (a *Agent) terms(id string, filter fingerprint.Filter) keyrecord.Terms {
	return keyrecord.Terms{
		Now:         a.now(),
		Instance:    id,
		MaxLifetime: a.Config.Keys.MaxLifetime.Duration,
		ClockSkew:   a.Config.Keys.ClockSkew.Duration,
		Types:       a.Config.Keys.Types,
		MinRSABits:  a.Config.Keys.MinRSABits,
		Fingerprint: filter,
	}
}

// look asks for the records of the user and decides on each. It reports whether
// there are any. An error means that it is unknown.
func (r *run) look(ctx context.Context) (pushed bool, err error) {
	body, err := r.Metadata.Get(ctx, keysPath+r.user+"/", maxKeys)
	if errors.Is(err, imds.ErrNotFound) {
		return false, nil
	}
	cut, isCut := errors.AsType[imds.TooLarge](err)
	switch {
	case isCut:
		body = keyrecord.Whole(cut.Beginning)
		r.cutOff()
	case err != nil:
		return false, err
	}
	r.screen(body)
	if len(r.candidates) > 0 {
		if err := r.prove(ctx); err != nil {
			return true, err
		}
		r.keep()
	}
	if isCut && len(r.granted) == 0 {
		return true, cut // a key may be in what was not read
	}
	return true, nil
}

// screen sorts out the records that need no signer to be refused.
func (r *run) screen(body []byte) {
	seen := make(map[string]bool)
	for record := range keyrecord.Records(body) {
		err := r.screenOne(record)
		if !errors.Is(err, keyrecord.ErrOtherKey) {
			// The same record twice is one push.
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
	return r.enforced(r.permit(r.user))
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
		return nil
	}
	waited, done := r.Cache.LeadSigner(ctx)
	defer done()
	if waited && r.decideFromCache(roots) {
		return nil
	}
	served, by, err := r.fetchSigner(ctx, roots)
	if err != nil {
		// Another run may have succeeded in the meantime; and what a signer of
		// the cache signed must not be lost with what it did not.
		if r.decideFromCache(roots) || r.settleGranted() {
			return nil
		}
		return err
	}
	r.Cache.StoreSigner(served)
	// While a signer is replaced, the records of both are served.
	r.settle(served.InstanceID, r.decide(append([]*signer.Signer{by}, r.cached...), served.InstanceID))
	return nil
}

// decideFromCache decides on the candidates with the signers in the cache, the last
// one that was served and the one before. It reports false, and decides nothing,
// where none can be proved or where they might be what is wrong: where the signer
// has changed, or the id of this instance is not the one that was kept.
func (r *run) decideFromCache(roots *x509.CertPool) bool {
	r.cached = nil
	for kept := range r.Cache.Signers() {
		if r.terms.Instance == "" && !instance.IsID(kept.InstanceID) {
			continue
		}
		now := r.now()
		chain, err := signer.Verify(kept.Chain, r.trust(roots), kept.Region, kept.Domain, now)
		if err != nil {
			continue
		}
		by, err := chain.Prove(kept.Staples, now)
		if err != nil {
			continue
		}
		r.cached = append(r.cached, by)
		decisions := r.decide(r.cached, kept.InstanceID)
		doubtful := func(d decision) bool {
			word := reason.Of(d.err)
			return word == reason.BadSignature || word == reason.WrongInstance
		}
		if !slices.ContainsFunc(decisions, doubtful) {
			r.settle(kept.InstanceID, decisions)
			return true
		}
	}
	return false
}

// settleGranted acts on the decisions of the signers in the cache if one grants a
// key. It needs the id of this instance.
func (r *run) settleGranted() bool {
	if len(r.cached) == 0 || r.terms.Instance == "" {
		return false
	}
	decisions := r.decide(r.cached, "")
	if !slices.ContainsFunc(decisions, func(d decision) bool { return d.err == nil }) {
		return false
	}
	// Other records may be signed by the signer that could not be fetched.
	r.settle("", slices.DeleteFunc(decisions, func(d decision) bool { return reason.Of(d.err) == reason.BadSignature }))
	return true
}

func (r *run) trust(roots *x509.CertPool) signer.Trust {
	return signer.Trust{Roots: roots, Domains: r.Config.Trust.Domains, ClockSkew: r.Config.Keys.ClockSkew.Duration}
}

// A decision is the outcome of one candidate.
type decision struct {
	record *keyrecord.Record
	key    keyrecord.Key
	err    error
}

// decide proves the candidates by any of the signers. id is that of this instance
// where it is not known from the board.
func (r *run) decide(by []*signer.Signer, id string) []decision {
	terms := r.terms
	terms.Now = r.now() // the requests may have taken long
	if terms.Instance == "" {
		terms.Instance = id
	}
	decisions := make([]decision, len(r.candidates))
	for i, record := range r.candidates {
		decisions[i] = r.decideOne(record, by, terms)
	}
	return decisions
}

func (r *run) decideOne(record *keyrecord.Record, by []*signer.Signer, terms keyrecord.Terms) decision {
	key, err := record.Prove(nil, terms)
	for i := 0; i < len(by) && reason.Of(err) == reason.BadSignature; i++ {
		key, err = record.Prove(by[i], terms)
	}
	if err == nil {
		err = r.enforced(r.permitCaller(key.Caller(), r.user))
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
