package signing

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/pki"
)

// Keys of what the state file has.
const (
	blobHierarchy = "hierarchy"
	blobSigner    = "signer/" // region and domain follow
)

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

func (s *Signer) marshal() ([]byte, error) {
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

func unmarshalSigner(text []byte) (*Signer, error) {
	var saved savedSigner
	if err := json.Unmarshal(text, &saved); err != nil {
		return nil, err
	}
	made := &Signer{region: saved.Region, domain: saved.Domain}
	for _, g := range saved.Generations {
		leaf, err := g.Leaf.load()
		if err != nil {
			return nil, err
		}
		made.generations = append(made.generations, &Generation{number: g.Number, since: g.Since, leaf: leaf})
	}
	if len(made.generations) == 0 {
		return nil, errors.New("a signer has no key")
	}
	return made, nil
}
