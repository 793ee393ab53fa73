package signer

import (
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"

	"github.com/eic-agent/eic-agent/internal/reason"
)

// A clock is the time of a proof and how far it may be behind the clock of those
// who signed.
type clock struct {
	now  time.Time
	skew time.Duration
}

// begun reports whether what holds from t on holds now.
func (c clock) begun(t time.Time) bool { return !c.now.Add(c.skew).Before(t) }

// Extensions of RFC 5280, section 4.2.1.
var (
	oidKeyUsage        = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectAltName  = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}
	oidExtKeyUsage     = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidCommonName      = asn1.ObjectIdentifier{2, 5, 4, 3}
)

func extension(c *x509.Certificate, id asn1.ObjectIdentifier) (value []byte, ok bool) {
	for _, e := range c.Extensions {
		if e.Id.Equal(id) {
			return e.Value, true
		}
	}
	return nil, false
}

// checkName requires that the common name of the signer is want, and that its
// SAN, where it has one, holds want too.
func checkName(leaf *x509.Certificate, want string) error {
	if name, ok := commonName(leaf); !ok || name != want {
		return reason.New(reason.SignerName, fmt.Sprintf("the signing certificate is for %.128q, not for %q", name, want))
	}
	if _, ok := extension(leaf, oidSubjectAltName); ok && leaf.VerifyHostname(want) != nil {
		return reason.New(reason.SignerName, fmt.Sprintf("the subject alternative names of the signing certificate do not include %q", want))
	}
	return nil
}

// commonName returns the one common name of the subject; a subject with several
// has none that could be relied on.
func commonName(c *x509.Certificate) (name string, ok bool) {
	n := 0
	for _, attribute := range c.Subject.Names {
		if attribute.Type.Equal(oidCommonName) {
			n++
		}
	}
	return c.Subject.CommonName, n == 1
}

// named returns a signer without a SAN as one that has its name there: crypto/x509
// applies name constraints to the SAN only.
func named(leaf *x509.Certificate, name string) *x509.Certificate {
	if _, ok := extension(leaf, oidSubjectAltName); ok {
		return leaf
	}
	withSAN := *leaf
	withSAN.DNSNames = []string{name}
	withSAN.Extensions = append(slices.Clone(leaf.Extensions), pkix.Extension{Id: oidSubjectAltName})
	return &withSAN
}

// checkPath says why a path that crypto/x509 found does not count, signer first and
// trusted root last. It is what openssl verify -purpose sslserver requires
// beyond crypto/x509.
func checkPath(path []*x509.Certificate) error {
	root := len(path) - 1
	if root == 0 {
		return untrusted("the signing certificate is a root certificate, which cannot be revoked")
	}
	for i, cert := range path {
		if _, ok := extension(cert, oidExtKeyUsage); ok && !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
			return untrusted("the certificate of %s has extended key usages, and serverAuth is not one of them", describe(cert))
		}
		usage := x509.KeyUsageCertSign
		if i == 0 {
			usage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement
		}
		if _, ok := extension(cert, oidKeyUsage); ok && cert.KeyUsage&usage == 0 {
			return untrusted("the key usage of the certificate of %s does not allow its use", describe(cert))
		}
		if i > 0 && i < root && isWeak(cert) {
			return untrusted("the certificate of %s has an RSA key of fewer than %d bits", describe(cert), minRSABits)
		}
		if value, ok := extension(cert, oidNameConstraints); ok && i > 0 && !knowsConstraints(value) {
			return untrusted("the certificate of %s has unsupported name constraints", describe(cert))
		}
	}
	return nil
}

// knowsConstraints reports whether crypto/x509 enforces every subtree of a
// NameConstraints extension: it passes over other kinds unless the extension is
// critical.
func knowsConstraints(value []byte) bool {
	type subtree struct{ Base asn1.RawValue }
	var constraints struct {
		Permitted []subtree `asn1:"tag:0,optional"`
		Excluded  []subtree `asn1:"tag:1,optional"`
	}
	if _, err := asn1.Unmarshal(value, &constraints); err != nil {
		return false
	}
	for _, s := range append(constraints.Permitted, constraints.Excluded...) {
		switch s.Base.Tag {
		case 1, 2, 6, 7: // email, DNS, URI, IP address
		default:
			return false
		}
	}
	return true
}

// isHuge reports whether a certificate's key costs too much to check with.
func isHuge(c *x509.Certificate) bool {
	key, ok := c.PublicKey.(*rsa.PublicKey)
	return ok && key.N.BitLen() > maxRSABits
}

// isWeak reports whether a certificate's key is too short to vouch for others.
func isWeak(c *x509.Certificate) bool {
	key, ok := c.PublicKey.(*rsa.PublicKey)
	return ok && key.N.BitLen() < minRSABits
}
