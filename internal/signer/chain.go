package signer

import (
	"crypto/fips140"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
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
)

// A Chain is a signing certificate that leads to a trusted root and has the
// name of this region's signer. It may be revoked.
type Chain struct {
	key   *rsa.PublicKey
	paths [][]*x509.Certificate // signer first, trusted root last
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
	certs, err := parseChain(chain)
	if err != nil {
		return nil, err
	}
	leaf := certs[0]
	if name, ok := commonName(leaf); !ok || name != want {
		return nil, reason.New(reason.SignerName, fmt.Sprintf("the signing certificate is for %.128q, not for %q", name, want))
	}
	key, ok := leaf.PublicKey.(*rsa.PublicKey)
	if !ok || key.N.BitLen() < minRSABits {
		return nil, untrusted("the signing certificate has no RSA key of at least %d bits", minRSABits)
	}

	served := x509.NewCertPool()
	for _, c := range certs[1:] {
		served.AddCert(c)
	}
	paths, err := leaf.Verify(x509.VerifyOptions{
		Roots:         trust.roots(),
		Intermediates: served,
		CurrentTime:   now,
		// The signer is no TLS server: what it may be used for is said by
		// its name, under a root that issues such names to AWS alone.
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, untrusted("the signing certificate is not proved: %.200s", printable(err.Error()))
	}
	// crypto/x509 looks among the roots before it looks among what is served,
	// so the first path is the one with the fewest staples to prove.
	//
	// A signer that is itself a root has nobody who could revoke it.
	paths = slices.DeleteFunc(paths, func(path []*x509.Certificate) bool { return len(path) < 2 })
	if len(paths) == 0 {
		return nil, untrusted("the signing certificate is itself a root")
	}
	return &Chain{key: key, paths: paths}, nil
}

// signerName returns the only name that the signing certificate may have.
func signerName(trust Trust, region, domain string) (string, error) {
	if !isRegion(region) {
		return "", reason.New(reason.SignerName, fmt.Sprintf("the metadata service gives %.64q as placement/region, which is no region", region))
	}
	if !trust.knowsDomain(domain) {
		return "", reason.New(reason.SignerName, fmt.Sprintf("the metadata service gives %.128q as services/domain, which is the domain of no AWS partition that is known here", domain))
	}
	return "managed-ssh-signer." + region + "." + domain, nil
}

// isRegion allows what a region name can consist of. It keeps dots out, so that
// the region cannot reach into the domain.
func isRegion(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func parseChain(chain []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for block, rest := pem.Decode(chain); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if len(certs) == maxCertificates {
			return nil, untrusted("the signing chain has more than %d certificates", maxCertificates)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, untrusted("certificate %d of the signing chain is broken: %.120s", len(certs)+1, printable(err.Error()))
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, untrusted("the signing chain holds no certificate")
	}
	return certs, nil
}

// commonName returns the one common name of the subject; a subject with several
// has none that could be relied on.
func commonName(c *x509.Certificate) (name string, ok bool) {
	oid := asn1.ObjectIdentifier{2, 5, 4, 3}
	n := 0
	for _, attribute := range c.Subject.Names {
		if attribute.Type.Equal(oid) {
			n++
		}
	}
	return c.Subject.CommonName, n == 1
}

// StapleNames returns, for each certificate that needs a staple on the first
// path, the name under which AWS usually serves it: the SHA-1 of the certificate
// in upper-case hex, or the SHA-256 where FIPS 140 is enforced. They are hints
// where to look first; a staple is about whatever its content says.
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
