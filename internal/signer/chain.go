package signer

import (
	"crypto/fips140"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/reason"
)

const (
	// maxCertificates bounds the chain; AWS serves four.
	maxCertificates = 10
	// minRSABits is the least for a signing key.
	minRSABits = 2048
	// maxRSABits is the most for the key of any certificate: what a key costs
	// to check with grows with its size, and the deadline does not stop it.
	maxRSABits = 8192
)

// A Chain is a signing certificate that leads to a trusted root and has the
// name of this region's signer. It may be revoked. It is not safe for concurrent
// use.
type Chain struct {
	key   *rsa.PublicKey
	paths [][]*x509.Certificate // signer first, trusted root last; at least one
	clock clock

	leaf    *x509.Certificate
	served  [][]byte // DER of what is served above the signer and not in options yet
	options x509.VerifyOptions
	fault   error // why the first path that was found and refused does not count
	limited bool  // crypto/x509 gave up a search
	skewed  bool  // the search with the skew of the clock was made
}

// Verify reads a chain in PEM, signer first, and proves that it leads to a
// trusted root at the time now and that the signer is the one of region and
// domain, as the metadata service names them. The chain may be served with or
// without its root, and with certificates above it. The error is a
// *reason.Error.
func Verify(chain []byte, trust Trust, region, domain string, now time.Time) (*Chain, error) {
	want, err := signerName(trust, region, domain)
	if err != nil {
		return nil, err
	}
	served, err := decodeChain(chain)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(served[0])
	if err != nil {
		return nil, untrusted("the signing certificate is malformed: %.120s", printable(err.Error()))
	}
	if isHuge(leaf) {
		return nil, untrusted("the signing certificate has a key of more than %d bits", maxRSABits)
	}
	if err := checkName(leaf, want); err != nil {
		return nil, err
	}
	key, ok := leaf.PublicKey.(*rsa.PublicKey)
	if !ok || key.N.BitLen() < minRSABits {
		return nil, untrusted("the signing certificate has no RSA key of at least %d bits", minRSABits)
	}
	c := &Chain{
		key:    key,
		clock:  clock{now: now, skew: trust.ClockSkew},
		leaf:   named(leaf, want),
		served: served[1:],
		options: x509.VerifyOptions{
			Roots:         trust.roots(),
			Intermediates: x509.NewCertPool(),
			// checkPath compares usages, more strictly.
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		},
	}
	for c.search(now); len(c.paths) == 0; {
		if !c.widen() {
			return nil, c.whyNone()
		}
	}
	return c, nil
}

// widen adds one more of the served certificates and looks for paths again; in
// the end it looks for those that are valid only with the skew of the clock. It
// reports false where there is nothing left. The certificates that matter come
// first, so most of the time one is enough, and those above the pinned root are
// never looked at.
func (c *Chain) widen() bool {
	for len(c.served) > 0 {
		next, err := x509.ParseCertificate(c.served[0])
		c.served = c.served[1:]
		if err != nil || isHuge(next) {
			continue
		}
		c.options.Intermediates.AddCert(next)
		c.search(c.clock.now)
		return true
	}
	if c.skewed || c.clock.skew <= 0 {
		return false
	}
	c.skewed = true
	c.search(c.clock.now.Add(c.clock.skew))
	return true
}

// search adds the paths over what is taken in that are valid at a time. It keeps those
// that are known: with more certificates crypto/x509 may give up before it gets to them.
func (c *Chain) search(at time.Time) {
	c.options.CurrentTime = at
	found, err := c.leaf.Verify(c.options)
	c.limited = c.limited || isSearchLimit(err)
	for _, path := range found {
		if err := checkPath(path); err != nil {
			if c.fault == nil {
				c.fault = err
			}
			continue
		}
		if !slices.ContainsFunc(c.paths, func(known []*x509.Certificate) bool { return slices.EqualFunc(known, path, (*x509.Certificate).Equal) }) {
			c.paths = append(c.paths, path)
		}
	}
}

// isSearchLimit reports whether crypto/x509 gave up after its bound on signature
// checks. It has no type for that.
func isSearchLimit(err error) bool {
	return err != nil && strings.Contains(err.Error(), "signature check attempts limit")
}

// whyNone says why no path leads to a root.
func (c *Chain) whyNone() error {
	if c.limited {
		return reason.New(reason.SignerSearch, "the signing chain has too many certificates with the same name: no path to a trusted root was found within the search limit")
	}
	if c.fault != nil {
		return c.fault
	}
	c.options.CurrentTime = c.clock.now
	_, err := c.leaf.Verify(c.options)
	if err == nil {
		err = errNoPath
	}
	return untrusted("cannot verify the signing certificate: %.200s", printable(err.Error()))
}

var errNoPath = errors.New("no path leads to a trusted root")

// signerName returns the only name that the signing certificate may have.
func signerName(trust Trust, region, domain string) (string, error) {
	if !IsRegion(region) {
		return "", reason.New(reason.SignerName, fmt.Sprintf("the metadata service returned an invalid region %.64q", region))
	}
	if !trust.knowsDomain(domain) {
		return "", reason.New(reason.SignerName, fmt.Sprintf("the metadata service returned the domain %.128q (services/domain), which is not that of a known AWS partition", domain))
	}
	return "managed-ssh-signer." + region + "." + domain, nil
}

// IsRegion reports whether s has the form of a region name: three or more parts,
// all of letters but the last, which is a number. Other names under the domain of
// a partition may belong to customers: s3 and elb have customers' names below them.
func IsRegion(s string) bool {
	parts := strings.Split(s, "-")
	last := len(parts) - 1
	if last < 2 || len(s) > 63 {
		return false
	}
	for i, part := range parts {
		allowed := "abcdefghijklmnopqrstuvwxyz"
		if i == last {
			allowed = "0123456789"
		}
		if part == "" || strings.Trim(part, allowed) != "" {
			return false
		}
	}
	return true
}

// decodeChain returns the certificates of a chain in PEM, in DER, at least one.
func decodeChain(chain []byte) ([][]byte, error) {
	var certs [][]byte
	for block, rest := pem.Decode(chain); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if len(certs) == maxCertificates {
			return nil, untrusted("the signing chain has more than %d certificates", maxCertificates)
		}
		certs = append(certs, block.Bytes)
	}
	if len(certs) == 0 {
		return nil, untrusted("the signing chain is empty")
	}
	return certs, nil
}

// StapleNames returns, for each certificate that needs a staple on the first
// path, the name under which AWS usually serves it: the SHA-1 of the certificate
// in upper-case hex, or the SHA-256 where FIPS 140 is enforced. They are hints
// where to look first; a staple's content names its certificate.
func (c *Chain) StapleNames() []string {
	var names []string
	path := c.paths[0]
	for _, cert := range path[:len(path)-1] {
		if fips140.Enforced() {
			names = append(names, fmt.Sprintf("%X", sha256.Sum256(cert.Raw)))
		} else {
			names = append(names, fmt.Sprintf("%X", sha1.Sum(cert.Raw)))
		}
	}
	return names
}

func untrusted(format string, args ...any) error {
	return reason.New(reason.SignerUntrusted, fmt.Sprintf(format, args...))
}

// printable keeps text that may quote a certificate on one line.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, s)
}
