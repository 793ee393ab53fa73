package emulator

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"sync"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/pki"
)

const (
	day  = 24 * time.Hour
	year = 365 * day

	stapleBackdate = time.Hour
	stapleLifetime = 7 * day
	stapleRenewal  = day // how long one staple is served before a fresh one is made
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

func newHierarchy(now time.Time) (*hierarchy, error) {
	validity := func(name string) pki.Options {
		return pki.Options{Name: name, NotBefore: now.Add(-year), NotAfter: now.Add(15 * year)}
	}
	oldest, err := pki.NewRoot(validity("EIC Emulator Class 2 CA"))
	if err != nil {
		return nil, err
	}
	var h hierarchy
	if h.legacy, err = pki.NewRoot(validity("EIC Emulator Legacy Root CA")); err != nil {
		return nil, err
	}
	if h.root, err = pki.NewRoot(validity("EIC Emulator Root CA 1")); err != nil {
		return nil, err
	}
	if h.intermediate, err = h.root.NewIntermediate(validity("EIC Emulator Server CA 1B")); err != nil {
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

// A signer signs the keys pushed in one region.
type signer struct {
	leaf *pki.Authority

	// chain is in the order served: leaf, intermediate, root certified by
	// legacy, legacy certified by an older root that is not served.
	chain   []*x509.Certificate
	issuers []*pki.Authority // of chain[i]; one shorter, for the last has no staple
	names   crypto.Hash

	mu       sync.Mutex
	made     time.Time // of staples; zero: never
	rendered map[string][]byte
}

func (h *hierarchy) newSigner(region, domain string, key crypto.Signer, names crypto.Hash, now time.Time) (*signer, error) {
	leaf, err := h.intermediate.IssueSigner(region, domain, pki.Options{
		NotBefore: now.Add(-30 * day), NotAfter: now.Add(year), Key: key,
	})
	if err != nil {
		return nil, err
	}
	return &signer{
		leaf:    leaf,
		chain:   []*x509.Certificate{leaf.Cert, h.intermediate.Cert, h.crossRoot, h.crossLegacy},
		issuers: []*pki.Authority{h.intermediate, h.root, h.legacy},
		names:   names,
	}, nil
}

// staples returns the staples by name, each as base64 of its DER. They are
// made anew when the clock has left the day after they were made.
func (s *signer) staples(now time.Time) (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if age := now.Sub(s.made); s.rendered != nil && age >= 0 && age < stapleRenewal {
		return s.rendered, nil
	}
	staples := make(map[string][]byte)
	for i, issuer := range s.issuers {
		thisUpdate := now.Add(-stapleBackdate)
		der, err := issuer.Staple(s.chain[i], pki.StapleOptions{
			ThisUpdate: thisUpdate,
			NextUpdate: thisUpdate.Add(stapleLifetime),
		})
		if err != nil {
			return nil, err
		}
		name, err := pki.StapleName(s.chain[i], s.names)
		if err != nil {
			return nil, err
		}
		staples[name] = base64.StdEncoding.AppendEncode(nil, der)
	}
	s.made, s.rendered = now, staples
	return staples, nil
}

// RootsPEM returns what an agent has to trust: the self-signed root.
func (s *Server) RootsPEM() []byte {
	return pki.EncodePEM(s.hierarchy.root.Cert)
}
