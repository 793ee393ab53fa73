package signer

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/pki"
	"github.com/eic-agent/eic-agent/test/need"
)

// TestRespondersLikeOpenSSL asks `openssl ocsp` of responders of which there are
// no vectors.
func TestRespondersLikeOpenSSL(t *testing.T) {
	t.Parallel()
	need.Program(t, "openssl")
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	options := func(name string, change func(*x509.Certificate)) pki.Options {
		return pki.Options{Name: name, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0), Change: change}
	}
	must := func(a *pki.Authority, err error) *pki.Authority {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	root := must(pki.NewRoot(options("Root CA", nil)))
	inter := must(root.NewIntermediate(options("Server CA", nil)))
	leaf := must(inter.IssueSigner("us-east-1", "amazonaws.com", options("", nil)))
	for name, test := range map[string]struct {
		by     *pki.Authority
		change func(*x509.Certificate)
		good   bool
		only   bool // refused here only
	}{
		"plain":             {inter, func(*x509.Certificate) {}, true, false},
		"without key usage": {inter, func(c *x509.Certificate) { c.KeyUsage = 0 }, true, false},
		// RFC 5280, section 4.2.1.12, names the key usages that go with OCSPSigning.
		"for key encipherment": {inter, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }, false, true},
		"for commitments":      {inter, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageContentCommitment }, true, false},
		"a CA":                 {inter, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }, true, false},
		"for servers too":      {inter, func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) }, true, false},
		"for servers only":     {inter, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, false, false},
		"of the root":          {root, func(*x509.Certificate) {}, false, false},
		"with a critical extension": {inter, func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}})
		}, false, false},
		"ended a second ago":        {inter, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }, false, false},
		"begins in the next second": {inter, func(c *x509.Certificate) { c.NotBefore = now.Add(time.Second) }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			responder, err := test.by.NewResponder(options("OCSP", test.change))
			if err != nil {
				t.Fatal(err)
			}
			der, err := inter.Staple(leaf.Cert, pki.StapleOptions{ThisUpdate: now, NextUpdate: now.Add(time.Hour), Responder: responder})
			if err != nil {
				t.Fatal(err)
			}
			served := []byte(base64.StdEncoding.EncodeToString(der))
			until, err := proveNotRevoked(leaf.Cert, inter.Cert, decodeStaples([][]byte{served}), clock{now: now})
			if (err == nil) != test.good || (err == nil) != until.Equal(now.Add(time.Hour)) {
				t.Errorf("proveNotRevoked: %v, %v", until, err)
			}
			out, _ := openssl(t, "ocsp", "-respin", tempFile(t, "staple.der", der), "-issuer", tempFile(t, "issuer.pem", toPEM(inter.Cert)), "-cert", tempFile(t, "cert.pem", toPEM(leaf.Cert)),
				"-CAfile", tempFile(t, "root.pem", toPEM(root.Cert)), "-no-CApath", "-no-CAstore", "-attime", attime(now), "-validity_period", "2000000000")
			if strings.Contains(out, "Response verify OK") != (test.good || test.only) {
				t.Errorf("openssl is of another opinion:\n%s", out)
			}
		})
	}
}
