package signing

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"sync"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/pki"
)

const (
	day  = 24 * time.Hour
	year = 365 * day

	authorityAge   = 15 * year
	authorityValid = 15 * year // from the start on; the clock cannot be moved beyond
	authorityBits  = 2048      // of their RSA keys
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
			wait.Go(func() { keys[i], errs[i] = rsa.GenerateKey(rand.Reader, authorityBits) })
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
