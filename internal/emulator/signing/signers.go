// Package signing is the certificate authorities of the emulator: the chain above
// the signer of each region, with its OCSP staples and every way in which they can
// be wrong, and what signs instance identity documents.
package signing

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"sync"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/fault"
	"github.com/eic-agent/eic-agent/internal/emulator/pki"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// Options configure Signers.
type Options struct {
	World  *world.World
	Faults *fault.Orders

	// RSA gives the authorities RSA keys; otherwise they have ECDSA P-256 keys.
	RSA bool

	// Key is that of every signer and of identity documents, RSA. Nil means a new
	// one for each.
	Key crypto.Signer

	// StapleNames is the hash that names staples: crypto.SHA1 (also 0) or
	// crypto.SHA256.
	StapleNames crypto.Hash
}

// Signers are the signers of all regions and what is above them.
type Signers struct {
	o             Options
	hierarchy     *hierarchy
	foreign       func() (*hierarchy, error)
	foreignSigner func() (*pki.Authority, error)
	identity      func() (*Identity, error)

	signers map[string]*Signer // by region and domain; the lock of the world guards it
}

// New returns Signers without keys. Load makes or reads them.
func New(o Options) *Signers {
	s := &Signers{o: o, signers: make(map[string]*Signer)}
	started := o.World.Started()
	s.foreign = sync.OnceValues(func() (*hierarchy, error) { return newHierarchy(started, false) })
	s.foreignSigner = sync.OnceValues(func() (*pki.Authority, error) {
		return s.hierarchy.issueLeaf(foreignRegion, ForeignDomain, nil, started, nil)
	})
	s.identity = sync.OnceValues(func() (*Identity, error) { return newIdentity(o.Key, started) })
	return s
}

// Load makes the authorities where the state file has none.
func (s *Signers) Load(tx *world.Tx) (err error) {
	if text := s.o.World.Blob(blobHierarchy); text != nil {
		s.hierarchy, err = unmarshalHierarchy(text)
		return err
	}
	if s.hierarchy, err = newHierarchy(s.o.World.Started(), s.o.RSA); err != nil {
		return err
	}
	text, err := s.hierarchy.marshal()
	if err != nil {
		return err
	}
	tx.SetBlob(blobHierarchy, text)
	return nil
}

func nameOf(m *world.Machine) string { return m.Region + " " + m.Domain }

// Issue makes the signer of an instance's region, where there is none. It needs the
// lock of the world.
func (s *Signers) Issue(tx *world.Tx, m *world.Machine) error {
	name := nameOf(m)
	one := s.signers[name]
	if text := s.o.World.Blob(blobSigner + name); one == nil && text != nil {
		var err error
		if one, err = unmarshalSigner(text); err != nil {
			return err
		}
	}
	if one == nil {
		now := s.o.World.Now()
		leaf, err := s.hierarchy.issueLeaf(m.Region, m.Domain, s.o.Key, now, nil)
		if err != nil {
			return err
		}
		one = &Signer{region: m.Region, domain: m.Domain, generations: []*Generation{{since: now, leaf: leaf}}}
		if err := saveSigner(tx, name, one); err != nil {
			return err
		}
	}
	one.names = s.o.StapleNames
	s.signers[name] = one
	return nil
}

func saveSigner(tx *world.Tx, name string, one *Signer) error {
	text, err := one.marshal()
	if err != nil {
		return err
	}
	tx.SetBlob(blobSigner+name, text)
	return nil
}

// Of returns the signer of an instance's region, which Issue has made.
func (s *Signers) Of(m *world.Machine) *Signer {
	s.o.World.Lock()
	defer s.o.World.Unlock()
	return s.signers[nameOf(m)]
}

// Rotate gives every region a signer with a new key. Sessions that exist go on with
// the generation that they began with; with atOnce that is gone.
func (s *Signers) Rotate(atOnce bool) error {
	return s.o.World.Update(func(tx *world.Tx) error {
		now := s.o.World.Now()
		for name, one := range s.signers {
			leaf, err := s.hierarchy.issueLeaf(one.region, one.domain, nil, now, nil)
			if err != nil {
				return err
			}
			tx.Undo(one.restorer())
			one.rotate(leaf, now, atOnce)
			if err := saveSigner(tx, name, one); err != nil {
				return err
			}
		}
		return nil
	})
}

// Foreign returns a signer whose certificate is in no chain.
func (s *Signers) Foreign() (*Generation, error) {
	leaf, err := s.foreignSigner()
	if err != nil {
		return nil, err
	}
	return &Generation{leaf: leaf}, nil
}

// Identity returns what signs instance identity documents.
func (s *Signers) Identity() (*Identity, error) { return s.identity() }

// RootsPEM returns what an agent has to trust: the self-signed root.
func (s *Signers) RootsPEM() []byte { return pki.EncodePEM(s.hierarchy.root.Cert) }

// ServerCertificate returns a certificate for a DNS name, which leads to the root.
func (s *Signers) ServerCertificate(name string) (*tls.Certificate, error) {
	now := s.o.World.HostNow() // by which clients judge it
	leaf, err := s.hierarchy.issueLeaf("", "", nil, now, func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: "EIC Emulator Endpoint"}
		c.DNSNames = []string{name}
		c.NotBefore, c.NotAfter = now.Add(-time.Hour), now.Add(day)
	})
	if err != nil {
		return nil, fmt.Errorf("cannot issue a certificate for %s: %w", name, err)
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Cert.Raw, s.hierarchy.intermediate.Cert.Raw}, PrivateKey: leaf.Key}, nil
}
