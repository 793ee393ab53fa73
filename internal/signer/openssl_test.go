package signer

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/pki"
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/test/need"
)

// openssl runs it and returns what it prints, and whether it is content.
func openssl(t *testing.T, args ...string) (string, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // should it hang
	defer cancel()
	cmd := exec.CommandContext(ctx, "openssl", args...)
	cmd.Env = append(os.Environ(), "OPENSSL_CONF=/dev/null", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

func tempFile(t *testing.T, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func toPEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func attime(now time.Time) string { return strconv.FormatInt(now.Unix(), 10) }

// chainDisagreements are the chains on which openssl has another opinion, and
// why.
func chainDisagreements() map[string]string {
	return map[string]string{
		"signer-is-root-with-others": "a root has nobody who could revoke it",
		"signer-rsa-huge":            "the size of keys is bounded here",
		"chain-too-long":             "the number of certificates is bounded here",
		"signer-ecdsa":               "records are signed with RSA",
		"signer-is-root":             "a root has nobody who could revoke it",
		"intermediate-rsa1024":       "the key is too short; openssl has that in its security level, which does not count for -verify",
		"signer-rsa1024":             "the key is too short; openssl has that in its security level, which does not count for -verify",
	}
}

// TestChainsLikeOpenSSL asks `openssl verify` of every chain whose signer has the
// right name.
func TestChainsLikeOpenSSL(t *testing.T) {
	t.Parallel()
	need.Program(t, "openssl")
	compared := make(map[bool]int)
	known := chainDisagreements()
	for _, v := range signerVectors(t) {
		v.trust.ClockSkew = 0 // openssl has none
		_, err := Verify(v.chain, v.trust, v.Region, v.Domain, v.Now)
		leaf, _ := pem.Decode(v.chain)
		if reason.Of(err) == reason.SignerName || leaf == nil || leaf.Type != "CERTIFICATE" {
			continue
		}
		roots, chain := filepath.Join(vectorDir, v.Roots.Name), filepath.Join(vectorDir, v.Chain.Name)
		out, ok := openssl(t, "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", pki.SignerName(v.Region, v.Domain), "-no-CApath", "-no-CAstore", "-attime", attime(v.Now), "-CAfile", roots, "-untrusted", chain,
			tempFile(t, "leaf.pem", pem.EncodeToMemory(leaf)))
		if ok == (err == nil) {
			compared[ok]++
			continue
		}
		if known[v.Name] == "" {
			t.Errorf("%s: Verify says %v, openssl says:\n%s", v.Name, err, out)
		}
		delete(known, v.Name)
	}
	for name := range known {
		t.Errorf("%s: they agree after all", name)
	}
	if compared[true] < 20 || compared[false] < 10 {
		t.Errorf("they agree on %d good and %d bad chains: too few", compared[true], compared[false])
	}
}

// olderAccept says of a disagreement that only some releases of openssl have it:
// 3.0.19 lets a responder that -issuer names speak for every issuer, and goes by the
// first answer that fits; 3.0.22 and 3.5.9 compare the responder with the issuer in each
// CertID, and refuse a response that names two.
const olderAccept = "a serial that stands there twice is about nothing here; some releases of openssl agree"

// stapleDisagreements are the staples on which openssl has another opinion, and
// why.
func stapleDisagreements() map[string]string {
	const leaf = " managed-ssh-signer.us-east-1.amazonaws.com"
	return map[string]string{
		"responder-sha1 pki/responder-sha1.ocsp" + leaf:                                     "SHA-1 signs nothing here",
		"staple-sha1 pki/staple-sha1.ocsp" + leaf:                                           "SHA-1 signs nothing here",
		"staple-good-then-revoked-in-one pki/staple-good-then-revoked-in-one.ocsp" + leaf:   "a serial that stands there twice is about nothing here",
		"staple-other-issuer-first-in-one pki/staple-other-issuer-first-in-one.ocsp" + leaf: olderAccept,
		"staple-other-issuer-last-in-one pki/staple-other-issuer-last-in-one.ocsp" + leaf:   olderAccept,
		"staple-twice-in-one pki/staple-twice-in-one.ocsp" + leaf:                           "a serial that stands there twice is about nothing here",
		"staple-two-certids-first-revoked pki/staple-two-certids-first-revoked.ocsp" + leaf: "what it says of the certificate by one hash counts by the other",
		"staple-two-certids-last-revoked pki/staple-two-certids-last-revoked.ocsp" + leaf:   "what it says of the certificate by one hash counts by the other",
		"staple-critical-extension pki/staple-critical-extension.ocsp" + leaf:               "openssl does not look at extensions of the response",
		"responder-self pki/responder-self.ocsp" + leaf:                                     "openssl lets a responder vouch for itself",
		"responder-key-usage pki/responder-key-usage.ocsp" + leaf:                           "openssl does not look at the key usage of a responder",
		"staple-trailing-data pki/staple-trailing-data.ocsp" + leaf:                         "openssl does not look at what follows the response",
	}
}

var updates = regexp.MustCompile(`(?m)^\s+(This|Next) Update: (.*)$`)

// goodForOpenSSL asks `openssl ocsp` whether the staple says that cert is good.
// It compares validity with the clock of the host, so that is done here, with
// the times that it read.
func goodForOpenSSL(t *testing.T, v vector, der []byte, cert, issuer *x509.Certificate) (out string, good bool) {
	t.Helper()
	// It looks for a CertID with the hash that it is given.
	for _, hash := range []string{"-sha1", "-sha256"} {
		if out, good = askOpenSSL(t, v, der, cert, issuer, hash); good {
			break
		}
	}
	return out, good
}

func askOpenSSL(t *testing.T, v vector, der []byte, cert, issuer *x509.Certificate, hash string) (string, bool) {
	t.Helper()
	issuerFile := tempFile(t, "issuer.pem", toPEM(issuer))
	chain := filepath.Join(vectorDir, v.Chain.Name)
	out, ok := openssl(t, "ocsp", "-respin", tempFile(t, "staple.der", der), "-issuer", issuerFile, hash, "-cert", tempFile(t, "cert.pem", toPEM(cert)),
		"-CAfile", filepath.Join(vectorDir, v.Roots.Name), "-no-CApath", "-no-CAstore", "-verify_other", chain,
		"-attime", attime(v.Now), "-validity_period", "2000000000", "-no_nonce")
	if !ok || !bytes.Contains([]byte(out), []byte("Response verify OK")) || !regexp.MustCompile(`(?m)^\S+cert\.pem: good$`).MatchString(out) {
		return out, false
	}
	times := make(map[string]time.Time)
	for _, m := range updates.FindAllStringSubmatch(out, -1) {
		at, err := time.Parse("Jan _2 15:04:05 2006 MST", m[2])
		if err != nil {
			t.Fatal(err)
		}
		times[m[1]] = at
	}
	return out, !v.Now.Before(times["This"]) && !v.Now.After(times["Next"])
}

// TestStaplesLikeOpenSSL asks `openssl ocsp` of every staple, for every
// certificate of every path of the chain that it is served with.
func TestStaplesLikeOpenSSL(t *testing.T) {
	t.Parallel()
	need.Program(t, "openssl")
	compared := make(map[bool]int)
	known := stapleDisagreements()
	seen := make(map[string]bool)
	for _, v := range signerVectors(t) {
		chain, err := Verify(v.chain, v.trust, v.Region, v.Domain, v.Now)
		if err != nil {
			continue
		}
		for _, path := range chain.paths {
			for i, cert := range path[:len(path)-1] {
				for n, text := range v.staples {
					key := fmt.Sprintf("%s %x %x", v.Staples[n].File.Name, cert.Raw, path[i+1].Raw)
					decoded := decodeStaples([][]byte{text})
					if seen[key] || len(decoded) == 0 {
						continue
					}
					// Verify tolerates a clock that is behind. openssl does not, and since 3.0.22 and 3.5
					// it looks at the issuer of a response, too.
					if v.Now.Before(path[i+1].NotBefore) {
						continue
					}
					seen[key] = true
					_, err := proveNotRevoked(cert, path[i+1], decoded, clock{now: v.Now})
					out, good := goodForOpenSSL(t, v, decoded[0].der, cert, path[i+1])
					if good == (err == nil) {
						compared[good]++
						continue
					}
					name := v.Name + " " + v.Staples[n].File.Name + " " + cert.Subject.CommonName
					// Whatever openssl's opinion, nothing is accepted that it refuses.
					if known[name] == "" || err == nil {
						t.Errorf("%s: proveNotRevoked says %v, openssl says:\n%s", name, err, out)
					}
					delete(known, name)
				}
			}
		}
	}
	for name, why := range known {
		if why != olderAccept {
			t.Errorf("%s: they agree after all", name)
		}
	}
	if compared[true] < 20 || compared[false] < 40 {
		t.Errorf("they agree on %d good and %d bad staples: too few", compared[true], compared[false])
	}
}
