package signing

import (
	"crypto"
	"slices"
	"sync"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/pki"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

const (
	// maxGenerations bounds the signers of one region that sessions can still
	// see, maxSession how long one lasts.
	maxGenerations = 16
	maxSession     = 6 * time.Hour
)

// A Signer signs the keys pushed in one region. It may be rotated: then there
// are several generations of it, and each session of a metadata service sees
// the one that was the latest when it began. So what a client is served under
// one session token fits together, however long it takes.
type Signer struct {
	region, domain string
	names          crypto.Hash // of the staples

	mu          sync.Mutex
	generations []*Generation // oldest first, never empty
}

// A Generation is a signer with one key.
type Generation struct {
	number int
	since  time.Time
	leaf   *pki.Authority

	mu      sync.Mutex
	renewed *pki.Authority     // the certificate served instead of leaf's; nil: leaf's
	views   map[string]*View   // by the faults in them
	leaves  map[string]*leafOf // by the faults of certificates in them
}

// Latest returns the generation that signs what is pushed now.
func (s *Signer) Latest() *Generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.generations[len(s.generations)-1]
}

// Seen returns the generation that a session sees which began with number: that
// one, or the one nearest to it that is left.
func (s *Signer) Seen(number int) *Generation {
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
func (s *Signer) rotate(leaf *pki.Authority, now time.Time, atOnce bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	top := s.generations[len(s.generations)-1]
	next := &Generation{number: top.number + 1, since: now, leaf: leaf}
	if atOnce {
		s.generations = []*Generation{next}
		return
	}
	s.generations = append(slices.Clip(s.generations), next)
	for len(s.generations) > maxGenerations || now.Sub(s.generations[1].since) > maxSession {
		s.generations = s.generations[1:]
	}
}

// restorer returns a function that takes back what is done to the signer from
// now on.
func (s *Signer) restorer() func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.generations
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.generations = before
	}
}

// Number tells the generations of a signer apart; later ones have higher numbers.
func (g *Generation) Number() int { return g.number }

// Sign returns the record of a statement.
func (g *Generation) Sign(statement keyrecord.Statement) ([]byte, error) {
	signed := statement.SignedBytes()
	signature, err := g.leaf.SignPSS(signed)
	if err != nil {
		return nil, err
	}
	return keyrecord.Encode(signed, signature), nil
}

// Render returns a record signed by g. It signs each record once.
func (g *Generation) Render(r *world.Record) ([]byte, error) { return r.Signed(g.number, g.Sign) }
