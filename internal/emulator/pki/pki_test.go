package pki_test

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/eic-agent/eic-agent/internal/emulator/pki"
	"github.com/eic-agent/eic-agent/test/need"
)

// A world is one hierarchy, valid from an hour before now until an hour after.
type world struct {
	now                              time.Time
	root, legacy, intermediate, leaf *pki.Authority
	cross                            *x509.Certificate
}

func (w *world) options(name string) pki.Options {
	return pki.Options{Name: name, NotBefore: w.now.Add(-time.Hour), NotAfter: w.now.Add(time.Hour)}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{now: time.Now()}
	var err error
	must := func() {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	w.root, err = pki.NewRoot(w.options("Root"))
	must()
	w.legacy, err = pki.NewRoot(w.options("Legacy"))
	must()
	w.cross, err = w.legacy.CrossSign(w.root, w.options(""))
	must()
	w.intermediate, err = w.root.NewIntermediate(w.options("Intermediate"))
	must()
	w.leaf, err = w.intermediate.IssueSigner("us-east-1", "amazonaws.com", w.options(""))
	must()
	return w
}

// openssl runs openssl to success and returns all that it printed.
func openssl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := tryOpenSSL(t, args...)
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func tryOpenSSL(t *testing.T, args ...string) (string, error) {
	t.Helper()
	need.Program(t, "openssl")
	out, err := exec.Command("openssl", args...).CombinedOutput()
	return string(out), err
}

func write(t *testing.T, data []byte) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func TestChainStrict(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	leaf := write(t, pki.EncodePEM(w.leaf.Cert))
	for name, test := range map[string]struct{ roots, between []byte }{
		"self-signed root": {pki.EncodePEM(w.root.Cert), pki.EncodePEM(w.intermediate.Cert)},
		"cross-signed":     {pki.EncodePEM(w.legacy.Cert), pki.EncodePEM(w.intermediate.Cert, w.cross)},
		"all served":       {pki.EncodePEM(w.root.Cert), pki.EncodePEM(w.intermediate.Cert, w.cross, w.legacy.Cert)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			openssl(t, "verify", "-x509_strict", "-no-CApath", "-no-CAstore", "-CAfile", write(t, test.roots),
				"-untrusted", write(t, test.between), "-purpose", "sslserver",
				"-verify_hostname", "managed-ssh-signer.us-east-1.amazonaws.com", leaf)

			roots, between := x509.NewCertPool(), x509.NewCertPool()
			roots.AppendCertsFromPEM(test.roots)
			between.AppendCertsFromPEM(test.between)
			if _, err := w.leaf.Cert.Verify(x509.VerifyOptions{
				Roots: roots, Intermediates: between, CurrentTime: w.now,
				DNSName: "managed-ssh-signer.us-east-1.amazonaws.com",
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLeaf(t *testing.T) {
	t.Parallel()
	leaf := newWorld(t).leaf
	const name = "managed-ssh-signer.us-east-1.amazonaws.com"
	if leaf.Cert.Subject.CommonName != name || len(leaf.Cert.DNSNames) != 1 || leaf.Cert.DNSNames[0] != name {
		t.Errorf("names are %q and %q, want %q", leaf.Cert.Subject.CommonName, leaf.Cert.DNSNames, name)
	}
	if bits := leaf.Cert.PublicKey.(*rsa.PublicKey).N.BitLen(); bits != 2048 {
		t.Errorf("key has %d bits, want 2048", bits)
	}
}

func TestChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options("")
	o.Key = w.leaf.Key
	o.Change = func(c *x509.Certificate) { c.DNSNames = nil }
	leaf, err := w.intermediate.IssueSigner("us-east-1", "amazonaws.com", o)
	if err != nil {
		t.Fatal(err)
	}
	if leaf.Cert.DNSNames != nil {
		t.Errorf("DNS names are %q, want none", leaf.Cert.DNSNames)
	}
	if leaf.Key != w.leaf.Key {
		t.Error("the key given was not used")
	}
}

func TestTimesNeeded(t *testing.T) {
	t.Parallel()
	if a, err := pki.NewRoot(pki.Options{Name: "x"}); err == nil || a != nil {
		t.Errorf("got %v, %v, want an error alone", a, err)
	}
}

func TestStapleOpenSSL(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	responder, err := w.intermediate.NewResponder(w.options("Responder"))
	if err != nil {
		t.Fatal(err)
	}
	fresh := pki.StapleOptions{ThisUpdate: w.now.Add(-time.Minute), NextUpdate: w.now.Add(time.Hour)}
	with := func(change func(*pki.StapleOptions)) pki.StapleOptions {
		o := fresh
		change(&o)
		return o
	}
	for name, test := range map[string]struct {
		options pki.StapleOptions
		want    string
		digest  string // of the certificate's ID; empty: SHA-1
	}{
		"good":        {fresh, ": good", ""},
		"delegated":   {with(func(o *pki.StapleOptions) { o.Responder = responder }), ": good", ""},
		"unknown":     {with(func(o *pki.StapleOptions) { o.Status = ocsp.Unknown }), ": unknown", ""},
		"revoked":     {with(func(o *pki.StapleOptions) { o.Status = ocsp.Revoked; o.Reason = ocsp.KeyCompromise }), ": revoked", ""},
		"no next":     {with(func(o *pki.StapleOptions) { o.NextUpdate = time.Time{} }), ": good", ""},
		"stale":       {with(func(o *pki.StapleOptions) { o.NextUpdate = w.now.Add(-time.Hour) }), "WARNING: Status times invalid", ""},
		"future":      {with(func(o *pki.StapleOptions) { o.ThisUpdate = w.now.Add(time.Hour) }), "WARNING: Status times invalid", ""},
		"SHA-256 ID":  {with(func(o *pki.StapleOptions) { o.Hash = crypto.SHA256 }), ": good", "-sha256"},
		"wrong ID":    {with(func(o *pki.StapleOptions) { o.Hash = crypto.SHA256 }), "No Status found", ""},
		"other names": {with(func(o *pki.StapleOptions) { o.Issuer = w.legacy.Cert }), "No Status found", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			der, err := w.intermediate.Staple(w.leaf.Cert, test.options)
			if err != nil {
				t.Fatal(err)
			}
			issuer := write(t, pki.EncodePEM(w.intermediate.Cert))
			args := []string{"ocsp", "-no_nonce", "-CAfile", write(t, pki.EncodePEM(w.root.Cert)), "-verify_other", issuer,
				"-respin", write(t, der), "-issuer", issuer}
			if test.digest != "" {
				args = append(args, test.digest)
			}
			out, err := tryOpenSSL(t, append(args, "-cert", write(t, pki.EncodePEM(w.leaf.Cert)))...)
			if found := !strings.Contains(out, "No Status found"); found != (err == nil) {
				t.Errorf("openssl ended with %v after\n%s", err, out)
			}
			verified := strings.Contains(out, "Response verify OK")
			if test.options.Issuer != nil {
				// 3.0.19 verifies the signature of a responder that -issuer names, and no
				// more; 3.0.22 and 3.5.9 also compare it with the issuer in the CertID.
				verified = verified || strings.Contains(out, "root ca not trusted")
			}
			if !verified || !strings.Contains(out, test.want) {
				t.Errorf("openssl says\n%s\nwant that the response is verified, and %q", out, test.want)
			}
			// Which issuer it names, whatever openssl makes of that.
			issuerName := cmp.Or(test.options.Issuer, w.intermediate.Cert).RawSubject
			h := cmp.Or(test.options.Hash, crypto.SHA1).New()
			h.Write(issuerName)
			if !bytes.Contains(der, h.Sum(nil)) {
				t.Errorf("the CertID does not name %q", issuerName)
			}
		})
	}
}

// TestStapleReference asks openssl as AWS's own script does: the issuer alone
// is trusted, as a responder.
func TestStapleReference(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, test := range []struct {
		issuer *pki.Authority
		cert   *x509.Certificate
	}{{w.intermediate, w.leaf.Cert}, {w.root, w.intermediate.Cert}, {w.legacy, w.cross}} {
		der, err := test.issuer.Staple(test.cert, pki.StapleOptions{ThisUpdate: w.now.Add(-time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		issuer := write(t, pki.EncodePEM(test.issuer.Cert))
		out := openssl(t, "ocsp", "-no_nonce", "-issuer", issuer, "-cert", write(t, pki.EncodePEM(test.cert)),
			"-VAfile", issuer, "-respin", write(t, der))
		if !strings.Contains(out, ": good") {
			t.Errorf("openssl says\n%s", out)
		}
	}
}

func TestStapleParsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := func(minutes int) time.Time {
		return w.now.Add(time.Duration(minutes) * time.Minute).Truncate(time.Second).UTC()
	}
	der, err := w.root.Staple(w.intermediate.Cert, pki.StapleOptions{
		Status: ocsp.Revoked, Reason: ocsp.Superseded, Hash: crypto.SHA384,
		ThisUpdate: at(-5), NextUpdate: at(5), ProducedAt: at(-4), RevokedAt: at(-10),
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := ocsp.ParseResponseForCert(der, w.intermediate.Cert, w.root.Cert)
	if err != nil {
		t.Fatal(err)
	}
	facts := fmt.Sprint(got.Status, got.RevocationReason, got.IssuerHash, got.ThisUpdate, got.NextUpdate, got.ProducedAt, got.RevokedAt)
	want := fmt.Sprint(ocsp.Revoked, ocsp.Superseded, crypto.SHA384, at(-5), at(5), at(-4), at(-10))
	if facts != want {
		t.Errorf("got  %s\nwant %s", facts, want)
	}

	// An RSA responder, of another family, that encloses its certificate.
	o := pki.StapleOptions{ThisUpdate: at(0), Responder: w.leaf}
	if der, err = w.root.Staple(w.intermediate.Cert, o); err != nil {
		t.Fatal(err)
	}
	if got, err = ocsp.ParseResponse(der, nil); err != nil {
		t.Fatal(err)
	}
	if got.Certificate == nil || !got.Certificate.Equal(w.leaf.Cert) || !got.NextUpdate.IsZero() {
		t.Errorf("got certificate %v and nextUpdate %v, want the leaf's and none", got.Certificate, got.NextUpdate)
	}
}

func TestStapleRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, o := range map[string]pki.StapleOptions{
		"no thisUpdate": {},
		"status":        {ThisUpdate: w.now, Status: 7},
		"hash":          {ThisUpdate: w.now, Hash: crypto.MD5},
	} {
		if der, err := w.root.Staple(w.intermediate.Cert, o); err == nil || der != nil {
			t.Errorf("%s: got %x, %v, want an error alone", name, der, err)
		}
	}
}

func TestStapleName(t *testing.T) {
	t.Parallel()
	cert := newWorld(t).leaf.Cert
	for hash, want := range map[crypto.Hash]string{0: "-sha1", crypto.SHA1: "-sha1", crypto.SHA256: "-sha256"} {
		got, err := pki.StapleName(cert, hash)
		if err != nil {
			t.Fatal(err)
		}
		out := openssl(t, "x509", "-noout", "-fingerprint", want, "-in", write(t, pki.EncodePEM(cert)))
		_, fingerprint, _ := strings.Cut(strings.TrimSpace(out), "=")
		if fingerprint = strings.ReplaceAll(fingerprint, ":", ""); got != fingerprint {
			t.Errorf("%v: got %s, openssl says %s", hash, got, fingerprint)
		}
	}
}

func TestSignPSS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	message := []byte("#Timestamp=1\n")
	signature, err := w.leaf.SignPSS(message)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(message)
	public := w.leaf.Cert.PublicKey.(*rsa.PublicKey)
	if err := rsa.VerifyPSS(public, crypto.SHA256, sum[:], signature, &rsa.PSSOptions{SaltLength: 32}); err != nil {
		t.Error(err)
	}
	if signature, err := w.root.SignPSS(message); err == nil || signature != nil {
		t.Errorf("an ECDSA key signed: %x, %v", signature, err)
	}
}

func TestEncodePEM(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := pki.EncodePEM(w.leaf.Cert, w.root.Cert)
	if n := len(regexp.MustCompile(`(?m)^-----BEGIN CERTIFICATE-----$`).FindAll(got, -1)); n != 2 {
		t.Errorf("%d certificates, want 2", n)
	}
	if !bytes.HasPrefix(got, pki.EncodePEM(w.leaf.Cert)) {
		t.Error("the leaf is not first")
	}
	if got := openssl(t, "x509", "-noout", "-subject", "-in", write(t, got)); !strings.Contains(got, "managed-ssh-signer") {
		t.Errorf("openssl reads %s", got)
	}
}
