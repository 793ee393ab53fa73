package emulator_test

import (
	"bytes"
	"crypto"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/test/need"
)

const keysOfUser = "managed-ssh-keys/active-keys/u/"

// servedChain parses signer-cert.
func servedChain(t *testing.T, c *session) (chain []*x509.Certificate) {
	t.Helper()
	for rest := []byte(c.mustGet("managed-ssh-keys/signer-cert/")); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return chain
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, cert)
	}
}

func TestPushSigned(t *testing.T) {
	t.Parallel()
	var clock clock
	s := newServer(t, emulator.Options{Now: clock.now})
	c := newSession(t, s, emulator.DefaultInstanceID)
	statement, err := s.Push(emulator.DefaultInstanceID, "u", ed25519Line, "arn:aws:iam::1:user/x")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("#Timestamp=%d\n#Instance=%s\n#Caller=arn:aws:iam::1:user/x\n#Request=%s\n%s\n",
		epoch.Unix()+60, emulator.DefaultInstanceID, statement.Request, ed25519Line)
	signed, text, ok := strings.Cut(c.mustGet(keysOfUser), ed25519Line+"\n")
	if signed += ed25519Line + "\n"; !ok || signed != want {
		t.Fatalf("got\n%s\nwant\n%s", signed, want)
	}
	signature, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(text, "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	leaf := servedChain(t, c)[0]
	if err := leaf.CheckSignature(x509.SHA256WithRSAPSS, []byte(signed), signature); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(statement.SignedBytes(), []byte(signed)) {
		t.Errorf("Push returned %+v", statement)
	}
}

func TestPushLives(t *testing.T) {
	t.Parallel()
	var clock clock
	s := newServer(t, emulator.Options{Now: clock.now})
	c := newSession(t, s, emulator.DefaultInstanceID)
	records := func() int {
		_, body := c.get(keysOfUser)
		return strings.Count(body, "#Timestamp=")
	}
	push := func() {
		t.Helper()
		if _, err := s.Push(emulator.DefaultInstanceID, "u", ed25519Line, ""); err != nil {
			t.Fatal(err)
		}
	}
	push()
	clock.move(30 * time.Second)
	push()
	if got := records(); got != 2 {
		t.Errorf("%d records after two pushes", got)
	}
	clock.move(29 * time.Second)
	if got := records(); got != 2 {
		t.Errorf("%d records after 59 s", got)
	}
	clock.move(time.Second)
	if got := records(); got != 1 {
		t.Errorf("%d records after 60 s", got)
	}
	clock.move(30 * time.Second)
	if status, _ := c.get(keysOfUser); status != http.StatusNotFound {
		t.Errorf("an expired key is %d, want 404", status)
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	var clock clock
	s := newServer(t, emulator.Options{Now: clock.now})
	c := newSession(t, s, emulator.DefaultInstanceID)
	raw := []byte("\xff\r\nraw")
	if err := s.Publish(emulator.DefaultInstanceID, "u", raw); err != nil {
		t.Fatal(err)
	}
	clear(raw)
	record, err := s.Sign(emulator.DefaultInstanceID, keyrecord.Statement{Expires: epoch, Instance: "i-other", Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Publish(emulator.DefaultInstanceID, "u", record); err != nil {
		t.Fatal(err)
	}
	clock.move(time.Hour)
	if got := c.mustGet(keysOfUser); got != "\xff\r\nraw"+string(record) {
		t.Errorf("got %q", got)
	}
	if err := s.Withdraw(emulator.DefaultInstanceID, "v"); err != nil {
		t.Fatal(err)
	}
	c.mustGet(keysOfUser)
	if err := s.Withdraw(emulator.DefaultInstanceID, "u"); err != nil {
		t.Fatal(err)
	}
	if status, _ := c.get(keysOfUser); status != http.StatusNotFound {
		t.Errorf("what was withdrawn is %d", status)
	}
}

func TestPushRefuses(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{})
	for _, row := range []struct{ instance, user, key string }{
		{"i-00000000", "u", ed25519Line},
		{emulator.DefaultInstanceID, "", ed25519Line},
		{emulator.DefaultInstanceID, "a/b", ed25519Line},
		{emulator.DefaultInstanceID, "u", ""},
		{emulator.DefaultInstanceID, "u", ed25519Line + "\n"},
		{emulator.DefaultInstanceID, "u", "#" + ed25519Line},
	} {
		if got, err := s.Push(row.instance, row.user, row.key, ""); err == nil || got != (keyrecord.Statement{}) {
			t.Errorf("%v: got %+v, %v, want an error alone", row, got, err)
		}
	}
	if s.Publish("i-00000000", "u", nil) == nil || s.Withdraw("i-00000000", "u") == nil {
		t.Error("an instance that does not exist was written to")
	}
	if record, err := s.Sign("i-00000000", keyrecord.Statement{}); err == nil || record != nil {
		t.Errorf("got %q, %v", record, err)
	}
}

func TestSigners(t *testing.T) {
	t.Parallel()
	s, err := emulator.New(emulator.Options{Instances: []emulator.Instance{
		{ID: "i-00000001", Zone: "us-east-1a"}, {ID: "i-00000002", Zone: "us-east-1b"}, {ID: "i-00000003", Zone: "cn-north-1a"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var leaves []*x509.Certificate
	for _, i := range s.Instances() {
		leaves = append(leaves, servedChain(t, newSession(t, s, i.ID))[0])
	}
	if !leaves[0].Equal(leaves[1]) {
		t.Error("two zones of a region have two signers")
	}
	if got := leaves[2].Subject.CommonName; got != "managed-ssh-signer.cn-north-1.amazonaws.com.cn" {
		t.Errorf("got %q", got)
	}
}

// TestStaples proves each staple, and that the names are the hash asked for.
func TestStaples(t *testing.T) {
	t.Parallel()
	for hash, sum := range map[crypto.Hash]func([]byte) string{
		crypto.Hash(0): func(b []byte) string { h := crypto.SHA1.New(); h.Write(b); return fmt.Sprintf("%X", h.Sum(nil)) },
		crypto.SHA256:  func(b []byte) string { return fmt.Sprintf("%X", sha256.Sum256(b)) },
	} {
		var clock clock
		s := newServer(t, emulator.Options{Now: clock.now, StapleNames: hash})
		c := newSession(t, s, emulator.DefaultInstanceID)
		chain := servedChain(t, c)
		if len(chain) != 4 {
			t.Fatalf("%d certificates, want 4", len(chain))
		}
		for _, age := range []time.Duration{0, 23 * time.Hour, 30 * 24 * time.Hour} {
			clock.move(age)
			c.renew()
			var want []string
			for i, cert := range chain[:3] {
				name := sum(cert.Raw)
				want = append(want, name)
				der, err := base64.StdEncoding.DecodeString(c.mustGet("managed-ssh-keys/signer-ocsp/" + name))
				if err != nil {
					t.Fatal(err)
				}
				staple, err := ocsp.ParseResponseForCert(der, cert, chain[i+1])
				if err != nil {
					t.Fatalf("certificate %d: %v", i, err)
				}
				if now := clock.now(); staple.Status != ocsp.Good || now.Before(staple.ThisUpdate) || !now.Before(staple.NextUpdate) {
					t.Errorf("certificate %d: status %d, from %v to %v, at %v", i, staple.Status, staple.ThisUpdate, staple.NextUpdate, now)
				}
			}
			slices.Sort(want)
			if got := c.mustGet("managed-ssh-keys/signer-ocsp/"); got != strings.Join(want, "\n") {
				t.Errorf("the names are\n%s\nwant\n%s", got, strings.Join(want, "\n"))
			}
		}
	}
}

// TestSignerRenewed moves the clock beyond the end of the signer's certificate, and
// before its beginning: what is served then is valid then, and of the same key.
func TestSignerRenewed(t *testing.T) {
	t.Parallel()
	var clock clock
	s := newServer(t, emulator.Options{Now: clock.now})
	c := newSession(t, s, emulator.DefaultInstanceID)
	first := servedChain(t, c)[0]
	for _, move := range []time.Duration{340 * 24 * time.Hour, 30 * 24 * time.Hour, 5 * 365 * 24 * time.Hour, -8 * 365 * 24 * time.Hour} {
		s.Advance(move)
		c.renew()
		if _, err := s.Push(emulator.DefaultInstanceID, "u", ed25519Line, ""); err != nil {
			t.Fatal(err)
		}
		now, chain := clock.now().Add(offset(t, s)), servedChain(t, c)
		pool, roots := x509.NewCertPool(), x509.NewCertPool()
		pool.AddCert(chain[1])
		roots.AppendCertsFromPEM(s.RootsPEM())
		options := x509.VerifyOptions{DNSName: "managed-ssh-signer.us-east-1.amazonaws.com", CurrentTime: now, Roots: roots, Intermediates: pool}
		if _, err := chain[0].Verify(options); err != nil {
			t.Errorf("at %v: %v", now, err)
		}
		if !bytes.Equal(chain[0].RawSubjectPublicKeyInfo, first.RawSubjectPublicKeyInfo) {
			t.Error("the signer has another key")
		}
		der, err := base64.StdEncoding.DecodeString(c.mustGet("managed-ssh-keys/signer-ocsp/" + fmt.Sprintf("%X", sha1.Sum(chain[0].Raw))))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ocsp.ParseResponseForCert(der, chain[0], chain[1]); err != nil {
			t.Error(err)
		}
	}
}

// offset is how far the emulator's clock is ahead of the test's.
func offset(t *testing.T, s *emulator.Server) time.Duration {
	t.Helper()
	recorder := httptest.NewRecorder()
	s.APIHandler().ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/_emu/clock", strings.NewReader(`{"advance":"0s"}`)))
	var answer struct{ Now time.Time }
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Now.Sub(epoch)
}

func TestStapleNamesRefused(t *testing.T) {
	t.Parallel()
	if s, err := emulator.New(emulator.Options{StapleNames: crypto.SHA512}); err == nil || s != nil {
		t.Errorf("got %v, %v, want an error alone", s, err)
	}
}

// TestServedOpenSSL has openssl verify what is served, the way AWS's own
// agent does and with the root that an agent trusts.
func TestServedOpenSSL(t *testing.T) {
	t.Parallel()
	need.Program(t, "openssl")
	s := newServer(t, emulator.Options{})
	c := newSession(t, s, emulator.DefaultInstanceID)
	chain := servedChain(t, c)
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	encode := func(c *x509.Certificate) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	served := write("served.pem", []byte(c.mustGet("managed-ssh-keys/signer-cert")))
	out, err := exec.Command("openssl", "verify", "-x509_strict", "-no-CApath", "-no-CAstore",
		"-CAfile", write("roots.pem", s.RootsPEM()), "-untrusted", served, served).CombinedOutput()
	if err != nil {
		t.Errorf("openssl: %v\n%s", err, out)
	}
	for i, cert := range chain[:3] {
		issuer := write("issuer.pem", encode(chain[i+1]))
		h := crypto.SHA1.New()
		h.Write(cert.Raw)
		der, err := base64.StdEncoding.DecodeString(c.mustGet(fmt.Sprintf("managed-ssh-keys/signer-ocsp/%X", h.Sum(nil))))
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("openssl", "ocsp", "-no_nonce", "-issuer", issuer, "-cert", write("cert.pem", encode(cert)),
			"-VAfile", issuer, "-respin", write("staple.der", der)).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "cert.pem: good\n") || strings.Contains(string(out), "WARNING") {
			t.Errorf("certificate %d: openssl: %v\n%s", i, err, out)
		}
	}
}
