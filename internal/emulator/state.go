package emulator

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/pki"
	"github.com/eic-agent/eic-agent/internal/emulator/statelog"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// Keys of what the emulator itself has in the state file.
const (
	blobHierarchy = "hierarchy"
	blobHostKey   = "hostkey"
	blobSigner    = "signer/" // region and domain follow
)

// ErrStateFile is in the error of New when the state file cannot be written.
var ErrStateFile = statelog.ErrWrite

// ErrStateInUse is in the error of New while another emulator has the state file.
var ErrStateInUse = statelog.ErrInUse

type (
	savedHierarchy struct {
		Root, Legacy, Intermediate savedAuthority
		CrossRoot, CrossLegacy     []byte
	}
	savedAuthority struct{ Cert, Key []byte } // DER, PKCS #8
	savedSigner    struct {
		Region, Domain string
		Generations    []savedGeneration
	}
	savedGeneration struct {
		Number int
		Since  time.Time
		Leaf   savedAuthority
	}
)

// restore reads the state file, or begins one, and makes what is missing.
func (s *Server) restore() (err error) {
	if err := s.world.Restore(s.options.StateFile); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.world.Close()
		}
	}()
	s.addLaunched()
	err = s.world.Update(func(tx *world.Tx) error {
		if err := s.loadHierarchy(tx); err != nil {
			return fmt.Errorf("cannot use the state file %s: %w", s.options.StateFile, err)
		}
		for _, m := range s.all() {
			if err := s.issueSigner(tx, m); err != nil {
				return fmt.Errorf("cannot use the state file %s: %w", s.options.StateFile, err)
			}
		}
		return s.newHostKey(tx)
	})
	if err != nil {
		return err
	}
	return s.world.Keep()
}

// addLaunched adds the instances that calls had launched.
func (s *Server) addLaunched() {
	s.world.Lock()
	defer s.world.Unlock()
	for _, m := range s.world.Machines() {
		if s.machine(m.ID) == nil {
			s.instances = append(s.instances, &machine{Machine: m})
		}
	}
}

// loadHierarchy makes the authorities where the state file has none.
func (s *Server) loadHierarchy(tx *world.Tx) (err error) {
	if text := s.world.Blob(blobHierarchy); text != nil {
		s.hierarchy, err = unmarshalHierarchy(text)
		return err
	}
	if s.hierarchy, err = newHierarchy(s.world.Started(), s.options.RSA); err != nil {
		return err
	}
	text, err := s.hierarchy.marshal()
	if err != nil {
		return err
	}
	tx.SetBlob(blobHierarchy, text)
	return nil
}

// issueSigner gives a machine the signer of its region, and makes it where there
// is none. It needs the lock of the world.
func (s *Server) issueSigner(tx *world.Tx, m *machine) error {
	name := m.Region + " " + m.Domain
	one := s.signers[name]
	if text := s.world.Blob(blobSigner + name); one == nil && text != nil {
		var err error
		if one, err = unmarshalSigner(text); err != nil {
			return err
		}
	}
	if one == nil {
		leaf, err := s.hierarchy.issueLeaf(m.Region, m.Domain, s.options.SignerKey, s.now(), nil)
		if err != nil {
			return err
		}
		one = &signer{region: m.Region, domain: m.Domain, generations: []*generation{{since: s.now(), leaf: leaf}}}
		if err := saveSigner(tx, name, one); err != nil {
			return err
		}
	}
	one.names = s.options.StapleNames
	s.signers[name], m.signer = one, one
	return nil
}

func saveSigner(tx *world.Tx, name string, one *signer) error {
	text, err := one.marshal()
	if err != nil {
		return err
	}
	tx.SetBlob(blobSigner+name, text)
	return nil
}

func saveAuthority(a *pki.Authority) (savedAuthority, error) {
	key, err := x509.MarshalPKCS8PrivateKey(a.Key)
	return savedAuthority{a.Cert.Raw, key}, err
}

func (a savedAuthority) load() (*pki.Authority, error) {
	cert, err := x509.ParseCertificate(a.Cert)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(a.Key)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("a key cannot sign")
	}
	return &pki.Authority{Cert: cert, Key: signer}, nil
}

func (h *hierarchy) marshal() ([]byte, error) {
	saved := savedHierarchy{CrossRoot: h.crossRoot.Raw, CrossLegacy: h.crossLegacy.Raw}
	var all error
	for to, from := range map[*savedAuthority]*pki.Authority{&saved.Root: h.root, &saved.Legacy: h.legacy, &saved.Intermediate: h.intermediate} {
		one, err := saveAuthority(from)
		*to, all = one, errors.Join(all, err)
	}
	if all != nil {
		return nil, all
	}
	return json.Marshal(saved)
}

func unmarshalHierarchy(text []byte) (*hierarchy, error) {
	var saved savedHierarchy
	if err := json.Unmarshal(text, &saved); err != nil {
		return nil, err
	}
	var h hierarchy
	for to, from := range map[**pki.Authority]savedAuthority{&h.root: saved.Root, &h.legacy: saved.Legacy, &h.intermediate: saved.Intermediate} {
		var err error
		if *to, err = from.load(); err != nil {
			return nil, err
		}
	}
	for to, from := range map[**x509.Certificate][]byte{&h.crossRoot: saved.CrossRoot, &h.crossLegacy: saved.CrossLegacy} {
		var err error
		if *to, err = x509.ParseCertificate(from); err != nil {
			return nil, err
		}
	}
	return &h, nil
}

func (s *signer) marshal() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	saved := savedSigner{Region: s.region, Domain: s.domain}
	for _, g := range s.generations {
		leaf, err := saveAuthority(g.leaf)
		if err != nil {
			return nil, err
		}
		saved.Generations = append(saved.Generations, savedGeneration{g.number, g.since, leaf})
	}
	return json.Marshal(saved)
}

func unmarshalSigner(text []byte) (*signer, error) {
	var saved savedSigner
	if err := json.Unmarshal(text, &saved); err != nil {
		return nil, err
	}
	made := &signer{region: saved.Region, domain: saved.Domain}
	for _, g := range saved.Generations {
		leaf, err := g.Leaf.load()
		if err != nil {
			return nil, err
		}
		made.generations = append(made.generations, &generation{number: g.Number, since: g.Since, leaf: leaf})
	}
	if len(made.generations) == 0 {
		return nil, errors.New("a signer has no key")
	}
	return made, nil
}
