package signing

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/fault"
	"github.com/eic-agent/eic-agent/internal/emulator/pki"
)

const (
	stapleBackdate = time.Hour
	stapleLifetime = 7 * day
	stapleRenewal  = day // how long one staple is served before a fresh one is made

	leafRenewal = 30 * day // before its end, a signer's certificate is replaced
	maxViews    = 32       // of a generation, each with other faults
)

// A leafOf is a certificate of the signer that faults have changed.
type leafOf struct {
	made time.Time
	leaf *pki.Authority
}

// A View is the chain and the staples as they are served.
type View struct {
	Chain   []byte            // PEM
	Staples map[string][]byte // base64, by name

	// Marks has, by name of a staple, what it is of, and how many faults it has:
	// all that does not differ from one making to the next.
	Marks map[string]string

	made time.Time
}

// View returns the chain and the staples as a request of path sees them: with the
// faults that strike it, of those that change what answer has for it.
func (s *Signers) View(by *Signer, g *Generation, now time.Time, target fault.Target, answer func(*View) string) (*View, error) {
	var faults []fault.Spec
	draw := func(leaf bool) { // staples are about the leaf, so it comes first
		base := slices.Clip(faults)
		faults = append(faults, s.o.Faults.Strike(fault.LayerSigner, target, func(spec fault.Spec) bool {
			if (signerFaults[spec.Name].leaf != nil) != leaf {
				return false
			}
			without, err := s.view(by, g, now, base)
			if err != nil {
				return false
			}
			with, err := s.view(by, g, now, append(base, spec))
			return err == nil && answer(with) != answer(without)
		})...)
	}
	draw(true)
	draw(false)
	return s.view(by, g, now, faults)
}

// view returns what is served of the signer. It is made anew when the clock has
// left the day after it was made.
func (s *Signers) view(by *Signer, g *Generation, now time.Time, faults []fault.Spec) (*View, error) {
	var name strings.Builder
	for _, spec := range faults {
		name.WriteString(spec.String() + "\n")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if v := g.views[name.String()]; v != nil {
		if age := now.Sub(v.made); age >= 0 && age < stapleRenewal {
			return v, nil
		}
	}
	made, err := s.makeView(by, g, now, faults)
	if err != nil {
		return nil, err
	}
	if g.views == nil || len(g.views) >= maxViews {
		g.views = make(map[string]*View)
	}
	g.views[name.String()] = made
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

func (s *Signers) makeView(by *Signer, g *Generation, now time.Time, faults []fault.Spec) (*View, error) {
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
	for _, spec := range faults {
		if change := signerFaults[spec.Name].leaf; change != nil {
			change(p)
			changes += spec.String() + "\n"
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
	for _, spec := range faults {
		kind := signerFaults[spec.Name]
		if kind.chain != nil {
			kind.chain(p)
		}
		for i, staple := range p.staples {
			if kind.staple != nil && spec.Concerns(i) {
				kind.staple(p, staple)
				staple.faults++
			}
		}
	}
	v := &View{made: now, Chain: pki.EncodePEM(p.chain...), Staples: make(map[string][]byte), Marks: make(map[string]string)}
	for i, staple := range p.staples {
		if err := staple.put(v, i); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// valid returns the signer with a certificate that is valid at now and for a month
// after it. If the clock was moved beyond the existing one, issue makes another for
// the same key. It needs mu.
func (g *Generation) valid(now time.Time, issue func() (*pki.Authority, error)) (*pki.Authority, error) {
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
func (g *Generation) changedLeaf(changes string, now time.Time, issue func() (*pki.Authority, error)) (*pki.Authority, error) {
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
func (p *staplePlan) put(v *View, i int) error {
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
	v.Staples[name], v.Marks[name] = body, fmt.Sprintf("%d %d", i, p.faults)
	return nil
}
