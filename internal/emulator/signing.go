package emulator

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/fault"
	"github.com/eic-agent/eic-agent/internal/emulator/pki"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

const (
	day  = 24 * time.Hour
	year = 365 * day

	stapleBackdate = time.Hour
	stapleLifetime = 7 * day
	stapleRenewal  = day // how long one staple is served before a fresh one is made

	leafRenewal    = 30 * day // before its end, a signer's certificate is replaced
	authorityAge   = 15 * year
	authorityValid = 15 * year // from the start on; the clock cannot be moved beyond

	// maxGenerations bounds the signers of one region that sessions can
	// still see.
	maxGenerations = 16
	// caBits is the size of the RSA keys of authorities.
	caBits   = 2048
	maxViews = 32 // of a generation, each with other faults
)

// A hierarchy is the authorities above every signer, shaped like Amazon Trust
// Services: root is self-signed and, with the same name and key, also
// certified by the older legacy, which in its served form is in turn certified
// by one still older.
type hierarchy struct {
	root         *pki.Authority
	legacy       *pki.Authority
	intermediate *pki.Authority
	crossRoot    *x509.Certificate
	crossLegacy  *x509.Certificate
}

// newHierarchy makes the authorities, with RSA keys as AWS's have or with ECDSA
// keys, which are made a hundred times faster.
func newHierarchy(now time.Time, rsaKeys bool) (*hierarchy, error) {
	const signing = 3 // authorities that sign something that an agent checks
	keys := make([]crypto.Signer, signing)
	if rsaKeys {
		var wait sync.WaitGroup
		errs := make([]error, signing)
		for i := range keys {
			wait.Go(func() { keys[i], errs[i] = rsa.GenerateKey(rand.Reader, caBits) })
		}
		wait.Wait()
		if err := errors.Join(errs...); err != nil {
			return nil, err
		}
	}
	validity := func(name string) pki.Options {
		return pki.Options{Name: name, NotBefore: now.Add(-authorityAge), NotAfter: now.Add(authorityValid)}
	}
	keyed := func(name string, i int) pki.Options {
		o := validity(name)
		o.Key = keys[i]
		return o
	}
	oldest, err := pki.NewRoot(validity("EIC Emulator Class 2 CA"))
	if err != nil {
		return nil, err
	}
	var h hierarchy
	if h.legacy, err = pki.NewRoot(keyed("EIC Emulator Legacy Root CA", 0)); err != nil {
		return nil, err
	}
	if h.root, err = pki.NewRoot(keyed("EIC Emulator Root CA 1", 1)); err != nil {
		return nil, err
	}
	if h.intermediate, err = h.root.NewIntermediate(keyed("EIC Emulator Server CA 1B", 2)); err != nil {
		return nil, err
	}
	if h.crossRoot, err = h.legacy.CrossSign(h.root, validity("")); err != nil {
		return nil, err
	}
	if h.crossLegacy, err = oldest.CrossSign(h.legacy, validity("")); err != nil {
		return nil, err
	}
	return &h, nil
}

// issueLeaf returns a signer's certificate for a key; nil makes a new one.
func (h *hierarchy) issueLeaf(region, domain string, key crypto.Signer, now time.Time, change func(*x509.Certificate)) (*pki.Authority, error) {
	return h.intermediate.IssueSigner(region, domain, pki.Options{
		NotBefore: now.Add(-30 * day), NotAfter: now.Add(year), Key: key, Change: change,
	})
}

// A signer signs the keys pushed in one region. It may be rotated: then there
// are several generations of it, and each session of a metadata service sees
// the one that was the latest when it began. So what a client is served under
// one session token fits together, however long it takes.
type signer struct {
	region, domain string
	names          crypto.Hash // of the staples

	mu          sync.Mutex
	generations []*generation // oldest first, never empty
}

// A generation is a signer with one key.
type generation struct {
	number int
	since  time.Time
	leaf   *pki.Authority

	mu      sync.Mutex
	renewed *pki.Authority     // the certificate served instead of leaf's; nil: leaf's
	views   map[string]*view   // by the faults in them
	leaves  map[string]*leafOf // by the faults of certificates in them
}

// A leafOf is a certificate of the signer that faults have changed.
type leafOf struct {
	made time.Time
	leaf *pki.Authority
}

// A view is the chain and the staples as they are served.
type view struct {
	made    time.Time
	chain   []byte
	staples map[string][]byte // base64, by name
	marks   map[string]string // by name of a staple: what it is of, and how many faults it has
}

// answer is what a view has at path, a leaf or a folder, but for what differs
// from one making to the next.
func (v *view) answer(path string) string {
	if path == signerCert {
		return string(v.chain)
	}
	if name, ok := strings.CutPrefix(path, signerOCSP); ok {
		return v.marks[name]
	}
	var names []string
	for name := range v.staples {
		names = append(names, signerOCSP+name)
	}
	slices.Sort(names)
	return string(list(names, path+"/"))
}

// signerView returns the chain and the staples as a request of path sees them:
// with the faults that strike it, of those that change what is at path.
func (s *Server) signerView(m *machine, who session, path string) (*view, error) {
	target := fault.Target{Service: serviceIMDS, Instance: m.ID, Path: "/latest/" + path}
	var hits []hit
	draw := func(leaf bool) { // staples are about the leaf, so it comes first
		base := slices.Clip(hits)
		hits = append(hits, s.strikes(layerSigner, target, func(h hit) bool {
			if (h.kind.leaf != nil) != leaf {
				return false
			}
			without, err := s.view(m.signer, who.generation, who.at, base)
			if err != nil {
				return false
			}
			with, err := s.view(m.signer, who.generation, who.at, append(base, h))
			return err == nil && with.answer(path) != without.answer(path)
		})...)
	}
	draw(true)
	draw(false)
	return s.view(m.signer, who.generation, who.at, hits)
}

// latest returns the generation that signs what is pushed now.
func (s *signer) latest() *generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.generations[len(s.generations)-1]
}

// seen returns the generation that a session sees which began with number: that
// one, or the one nearest to it that is left.
func (s *signer) seen(number int) *generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.generations) - 1; i > 0; i-- {
		if s.generations[i].number <= number {
			return s.generations[i]
		}
	}
	return s.generations[0]
}

// rotate puts leaf on top. Where at once is set the earlier generations are
// gone; else they stay for as long as a session can.
func (s *signer) rotate(leaf *pki.Authority, now time.Time, atOnce bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	top := s.generations[len(s.generations)-1]
	next := &generation{number: top.number + 1, since: now, leaf: leaf}
	if atOnce {
		s.generations = []*generation{next}
		return
	}
	s.generations = append(slices.Clip(s.generations), next)
	for len(s.generations) > maxGenerations || now.Sub(s.generations[1].since) > maxTokenTTL*time.Second {
		s.generations = s.generations[1:]
	}
}

// RotateSigners gives every region a signer with a new key. Sessions of the
// metadata service that exist go on with the signer that they began with,
// records included, so that no login fails; with atOnce they do not, and
// whoever has kept the old chain finds that it no longer fits the records.
func (s *Server) RotateSigners(atOnce bool) error {
	return s.world.Update(func(tx *world.Tx) error {
		for name, one := range s.signers {
			leaf, err := s.hierarchy.issueLeaf(one.region, one.domain, nil, s.now(), nil)
			if err != nil {
				return err
			}
			tx.Undo(one.restorer())
			one.rotate(leaf, s.now(), atOnce)
			if err := saveSigner(tx, name, one); err != nil {
				return err
			}
		}
		return nil
	})
}

// restorer returns a function that takes back what is done to the signer from
// now on.
func (s *signer) restorer() func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.generations
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.generations = before
	}
}

// sign returns the record of a statement.
func (g *generation) sign(statement keyrecord.Statement) ([]byte, error) {
	signed := statement.SignedBytes()
	signature, err := g.leaf.SignPSS(signed)
	if err != nil {
		return nil, err
	}
	return keyrecord.Encode(signed, signature), nil
}

// render returns a record signed by g. It signs each record once.
func (g *generation) render(r *world.Record) ([]byte, error) { return r.Signed(g.number, g.sign) }

// view returns what is served of the signer. It is made anew when the clock has
// left the day after it was made.
func (s *Server) view(by *signer, g *generation, now time.Time, hits []hit) (*view, error) {
	var faults strings.Builder
	for _, h := range hits {
		faults.WriteString(h.spec.String() + "\n")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if v := g.views[faults.String()]; v != nil {
		if age := now.Sub(v.made); age >= 0 && age < stapleRenewal {
			return v, nil
		}
	}
	made, err := s.makeView(by, g, now, hits)
	if err != nil {
		return nil, err
	}
	if g.views == nil || len(g.views) >= maxViews {
		g.views = make(map[string]*view)
	}
	g.views[faults.String()] = made
	return made, nil
}

// A plan is a view in the making, for faults to change.
type plan struct {
	now            time.Time
	h, foreign     *hierarchy
	region, domain string // in the name of the leaf
	change         func(*x509.Certificate)
	leaf           *pki.Authority
	chain          []*x509.Certificate
	staples        []*staplePlan
}

type staplePlan struct {
	cert      *x509.Certificate
	issuer    *pki.Authority // of the certificate, and of the staple
	by        *pki.Authority // signs instead of the issuer, which stays named
	options   pki.StapleOptions
	name      crypto.Hash
	left      bool // out
	faults    int
	transform func([]byte) []byte
}

func (s *Server) makeView(by *signer, g *generation, now time.Time, hits []hit) (*view, error) {
	foreign, err := s.foreign()
	if err != nil {
		return nil, err
	}
	leaf, err := g.valid(now, func() (*pki.Authority, error) {
		return s.hierarchy.issueLeaf(by.region, by.domain, g.leaf.Key, now, nil)
	})
	if err != nil {
		return nil, err
	}
	p := &plan{now: now, h: s.hierarchy, foreign: foreign, region: by.region, domain: by.domain, leaf: leaf}
	changes := ""
	for _, h := range hits {
		if h.kind.leaf != nil {
			h.kind.leaf(p, h.spec)
			changes += h.spec.String() + "\n"
		}
	}
	if changes != "" {
		if p.leaf, err = g.changedLeaf(changes, now, func() (*pki.Authority, error) {
			return p.h.issueLeaf(p.region, p.domain, g.leaf.Key, now, p.change)
		}); err != nil {
			return nil, err
		}
	}
	p.chain = []*x509.Certificate{p.leaf.Cert, p.h.intermediate.Cert, p.h.crossRoot, p.h.crossLegacy}
	for i, issuer := range []*pki.Authority{p.h.intermediate, p.h.root, p.h.legacy} {
		thisUpdate := now.Add(-stapleBackdate)
		p.staples = append(p.staples, &staplePlan{
			cert: p.chain[i], issuer: issuer, name: by.names,
			options: pki.StapleOptions{ThisUpdate: thisUpdate, NextUpdate: thisUpdate.Add(stapleLifetime)},
		})
	}
	for _, h := range hits {
		if h.kind.chain != nil {
			h.kind.chain(p)
		}
		for i, staple := range p.staples {
			if h.kind.staple != nil && h.spec.Concerns(i) {
				h.kind.staple(p, staple)
				staple.faults++
			}
		}
	}
	v := &view{made: now, chain: pki.EncodePEM(p.chain...), staples: make(map[string][]byte), marks: make(map[string]string)}
	for i, staple := range p.staples {
		if err := staple.put(v, i); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// valid returns the signer with a certificate that is valid at a time and for a
// month after it. The clock may have been moved beyond the one that there is: issue
// then makes another for the same key. It needs mu.
func (g *generation) valid(now time.Time, issue func() (*pki.Authority, error)) (*pki.Authority, error) {
	for _, a := range []*pki.Authority{g.leaf, g.renewed} {
		if a != nil && !now.Before(a.Cert.NotBefore) && now.Add(leafRenewal).Before(a.Cert.NotAfter) {
			return a, nil
		}
	}
	renewed, err := issue()
	if err != nil {
		return nil, err
	}
	g.renewed = renewed
	return renewed, nil
}

// changedLeaf returns the certificate that issue makes for the changes, the
// same one for as long as a view is served. It needs mu.
func (g *generation) changedLeaf(changes string, now time.Time, issue func() (*pki.Authority, error)) (*pki.Authority, error) {
	if l := g.leaves[changes]; l != nil {
		if age := now.Sub(l.made); age >= 0 && age < stapleRenewal {
			return l.leaf, nil
		}
	}
	leaf, err := issue()
	if err != nil {
		return nil, err
	}
	g.views = nil // those with the one before
	if g.leaves == nil || len(g.leaves) >= maxViews {
		g.leaves = make(map[string]*leafOf)
	}
	g.leaves[changes] = &leafOf{now, leaf}
	return leaf, nil
}

// put adds the staple of the certificate at place i of the chain.
func (p *staplePlan) put(v *view, i int) error {
	if p.left {
		return nil
	}
	by := p.issuer
	if p.by != nil {
		by, p.options.Issuer = p.by, p.issuer.Cert
	}
	der, err := by.Staple(p.cert, p.options)
	if err != nil {
		return err
	}
	name, err := pki.StapleName(p.cert, p.name)
	if err != nil {
		return err
	}
	body := base64.StdEncoding.AppendEncode(nil, der)
	if p.transform != nil {
		body = p.transform(body)
	}
	v.staples[name], v.marks[name] = body, fmt.Sprintf("%d %d", i, p.faults)
	return nil
}

// RootsPEM returns what an agent has to trust: the self-signed root.
func (s *Server) RootsPEM() []byte {
	return pki.EncodePEM(s.hierarchy.root.Cert)
}
