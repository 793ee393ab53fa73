package signer

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/eic-agent/eic-agent/internal/emulator/pki"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// What the vectors do not hold: issuers with RSA keys, as AWS has, and keys of any
// size. Each row is right but for one thing.

var testNow = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func testOptions(name string) pki.Options {
	return pki.Options{Name: name, NotBefore: testNow.AddDate(-1, 0, 0), NotAfter: testNow.AddDate(1, 0, 0)}
}

// hugeKey returns an RSA key of that many bits, whose private half nobody has.
func hugeKey(bits uint) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}
}

func TestStaplesOfRSAIssuer(t *testing.T) {
	t.Parallel()
	must := func(a *pki.Authority, err error) *pki.Authority {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	o := testOptions("Server CA")
	o.Key = key
	issuer := must(pki.NewRoot(o))
	leaf := must(issuer.IssueSigner("us-east-1", "amazonaws.com", testOptions("")))

	signed := func(algorithm x509.SignatureAlgorithm) []byte {
		der, err := ocsp.CreateResponse(issuer.Cert, issuer.Cert, ocsp.Response{
			SerialNumber: leaf.Cert.SerialNumber, SignatureAlgorithm: algorithm, ThisUpdate: testNow, NextUpdate: testNow.Add(time.Hour),
		}, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	delegated := func(responder *pki.Authority) []byte {
		der, err := issuer.Staple(leaf.Cert, pki.StapleOptions{ThisUpdate: testNow, NextUpdate: testNow.Add(time.Hour), Responder: responder})
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	responder := func(change func(*x509.Certificate)) *pki.Authority {
		o := testOptions("OCSP")
		o.Change = change
		return must(issuer.NewResponder(o))
	}
	good := responder(nil)
	broken := *good.Cert
	broken.Raw = []byte{0x30, 0}
	template := *good.Cert
	huge, err := issuer.Issue(&template, hugeKey(maxRSABits+8))
	if err != nil {
		t.Fatal(err)
	}
	template = *good.Cert
	weak, err := issuer.Issue(&template, hugeKey(minRSABits-8))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		der     []byte
		problem string // "" for none
	}{
		"SHA-256":                 {signed(x509.SHA256WithRSA), ""},
		"SHA-1":                   {signed(x509.SHA1WithRSA), "SHA-1"},
		"responder":               {delegated(good), ""},
		"responder by SHA-1":      {delegated(responder(func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA })), "did not authorize"},
		"broken responder":        {delegated(&pki.Authority{Cert: &broken, Key: good.Key}), "malformed certificate"},
		"responder with huge key": {delegated(&pki.Authority{Cert: huge, Key: good.Key}), "more than 8192 bits"},
		"responder with weak key": {delegated(&pki.Authority{Cert: weak, Key: good.Key}), "fewer than 2048 bits"},
	} {
		staples := decodeStaples([][]byte{[]byte(base64.StdEncoding.EncodeToString(test.der))})
		until, err := proveNotRevoked(leaf.Cert, issuer.Cert, staples, clock{now: testNow})
		switch {
		case test.problem == "" && (err != nil || !until.Equal(testNow.Add(time.Hour))):
			t.Errorf("%s: until %v, %v", name, until, err)
		case test.problem != "" && (reason.Of(err) != reason.StapleUntrusted || !strings.Contains(err.Error(), test.problem)):
			t.Errorf("%s: %v, want %q", name, err, test.problem)
		}
	}
}

// TestHugeIntermediate: nothing is checked with a key that costs too much. What is
// served may name any number of them as the issuer.
func TestHugeIntermediate(t *testing.T) {
	t.Parallel()
	root, err := pki.NewRoot(testOptions("Root CA"))
	if err != nil {
		t.Fatal(err)
	}
	inter, err := root.NewIntermediate(testOptions("Server CA"))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := inter.IssueSigner("us-east-1", "amazonaws.com", testOptions(""))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root.Cert)
	for bits, tried := range map[uint]bool{maxRSABits: true, maxRSABits + 1: false} {
		template := *inter.Cert
		other, err := root.Issue(&template, hugeKey(bits))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Verify(pki.EncodePEM(leaf.Cert, other), Trust{Roots: pool}, "us-east-1", "amazonaws.com", testNow)
		// crypto/x509 says so where it has tried one that did not fit.
		if reason.Of(err) != reason.SignerUntrusted || strings.Contains(err.Error(), "while trying to verify") != tried {
			t.Errorf("%d bits: %v, want that it was tried: %v", bits, err, tried)
		}
		if _, err := Verify(pki.EncodePEM(leaf.Cert, other, inter.Cert), Trust{Roots: pool}, "us-east-1", "amazonaws.com", testNow); err != nil {
			t.Errorf("%d bits before the issuer: %v", bits, err)
		}
	}
}

// TestValidUntil: the proof ends with the first thing that it hangs on.
func TestValidUntil(t *testing.T) {
	t.Parallel()
	for first := range 5 {
		ends := slices.Repeat([]time.Duration{2 * time.Hour}, 5)
		ends[first] = time.Hour
		options := func(name string, end time.Duration) pki.Options {
			o := testOptions(name)
			o.NotAfter = testNow.Add(end)
			return o
		}
		root, err := pki.NewRoot(options("Root CA", ends[0]))
		if err != nil {
			t.Fatal(err)
		}
		inter, err := root.NewIntermediate(options("Server CA", ends[1]))
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := inter.IssueSigner("us-east-1", "amazonaws.com", options("", ends[2]))
		if err != nil {
			t.Fatal(err)
		}
		var staples [][]byte
		for i, by := range []*pki.Authority{inter, root} {
			cert := []*x509.Certificate{leaf.Cert, inter.Cert}[i]
			der, err := by.Staple(cert, pki.StapleOptions{ThisUpdate: testNow, NextUpdate: testNow.Add(ends[3+i])})
			if err != nil {
				t.Fatal(err)
			}
			staples = append(staples, []byte(base64.StdEncoding.EncodeToString(der)))
		}
		pool := x509.NewCertPool()
		pool.AddCert(root.Cert)
		chain, err := Verify(pki.EncodePEM(leaf.Cert, inter.Cert), Trust{Roots: pool}, "us-east-1", "amazonaws.com", testNow)
		if err != nil {
			t.Fatal(err)
		}
		by, err := chain.Prove(staples, testNow)
		if err != nil {
			t.Fatal(err)
		}
		if got := by.ValidUntil(); !got.Equal(testNow.Add(time.Hour)) {
			t.Errorf("%d ends first, in an hour, but the proof ends in %v", first, got.Sub(testNow))
		}
	}
}

// TestSignerOfRoot: a private root may certify the signer itself.
func TestSignerOfRoot(t *testing.T) {
	t.Parallel()
	root, err := pki.NewRoot(testOptions("Root CA"))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := root.IssueSigner("us-east-1", "amazonaws.com", testOptions(""))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root.Cert)
	if _, err := Verify(pki.EncodePEM(leaf.Cert, root.Cert), Trust{Roots: pool}, "us-east-1", "amazonaws.com", testNow); err != nil {
		t.Error(err)
	}
	if _, err := Verify(pki.EncodePEM(leaf.Cert), Trust{Roots: pool}, "us-east-1", "amazonaws.com", testNow); err != nil {
		t.Error("alone:", err)
	}
}

// A critical extension refuses the answer that has it, also where it is not the first
// about the certificate.
func TestCriticalAnswer(t *testing.T) {
	t.Parallel()
	for critical, want := range map[bool]reason.Word{false: "", true: reason.StapleUntrusted} {
		a := answer{Good: true, ThisUpdate: testNow, NextUpdate: testNow.Add(time.Hour), Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: critical}}}
		if word, problem := a.check(clock{now: testNow}); word != want {
			t.Errorf("critical %v: %s, %s", critical, word, problem)
		}
	}
}

func TestIsRegion(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 58)
	for s, want := range map[string]bool{
		"us-east-1": true, "us-gov-west-12": true, "us--1": false, "-east-1": false,
		"a-" + long + "-12": true, "a-" + long + "-123": false,
	} {
		if got := IsRegion(s); got != want {
			t.Errorf("IsRegion(%q) = %v", s, got)
		}
	}
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	if got, want := printable(" a~\n\x1b[2J\x7f\u009b"), " a~??[2J??"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
