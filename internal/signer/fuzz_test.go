package signer

import (
	"bytes"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/base64"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/test/vectors"
)

// checkError checks what every error of the package keeps to.
func checkError(t *testing.T, err error) {
	t.Helper()
	if word := reason.Of(err); word == "" || word.RefusesRecord() {
		t.Errorf("the error has the reason %q: %v", word, err)
	}
	if text := err.Error(); text == "" || strings.ContainsFunc(text, unicode.IsControl) || len(text) > 1000 {
		t.Errorf("the error is no short line: %q", text)
	}
}

const granted = "granted"

// TestVerifyAndProve: there is a Signer for the vectors that are granted, and
// none with an error.
func TestVerifyAndProve(t *testing.T) {
	t.Parallel()
	for _, v := range signerVectors(t) {
		if v.Expect == granted || !reason.Word(v.Expect).RefusesRecord() {
			by, err := proved(v, v.chain, v.staples)
			word := string(reason.Of(err))
			if v.Expect == granted && (by == nil || err != nil) || reason.Word(v.Expect).Hint() != "" && word != v.Expect {
				t.Errorf("%s: %v, %v, want %s", v.Name, by, err, v.Expect)
			}
			if (by == nil) != (err != nil) {
				t.Errorf("%s: both or neither of signer and error: %v, %v", v.Name, by, err)
			}
			if err != nil {
				checkError(t, err)
			} else if until := by.ValidUntil(); until.Before(v.Now) || until.After(v.Now.AddDate(0, 0, 7)) {
				t.Errorf("%s: the proof is valid until %v", v.Name, until)
			}
		}
	}
}

func proved(v vector, chain []byte, staples [][]byte) (*Signer, error) {
	c, err := Verify(chain, v.trust, v.Region, v.Domain, v.Now)
	if err != nil {
		if c != nil {
			panic("there is a chain with the error")
		}
		return nil, err
	}
	return c.Prove(staples, v.Now)
}

// The nil and the zero Signer vouch for nothing.
func TestNoSigner(t *testing.T) {
	t.Parallel()
	for _, s := range []*Signer{nil, {}} {
		if s.Signed([]byte("x"), make([]byte, 256)) || s.Signed(nil, nil) {
			t.Error("no signer vouches for a message")
		}
	}
}

// tbs returns the part of an OCSP response that is signed, or nil.
func tbs(der []byte) []byte {
	var outer struct {
		Status asn1.Enumerated
		Body   struct {
			Type  asn1.ObjectIdentifier
			Basic []byte
		} `asn1:"explicit,optional,tag:0"`
	}
	var basic struct{ Data asn1.RawValue }
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		return nil
	}
	if _, err := asn1.Unmarshal(outer.Body.Basic, &basic); err != nil {
		return nil
	}
	return basic.Data.FullBytes
}

func mustGlob(t testing.TB, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("nothing is %s: %v", pattern, err)
	}
	return paths
}

func good(t testing.TB) vector { return newVector(vectors.Read(t, "staple-ok")) }

// FuzzVerify: whatever chain is served, one that is taken has the signing key of
// a vector that is granted, since the root answers for no other; and without
// staples it makes no Signer.
func FuzzVerify(f *testing.F) {
	for _, path := range mustGlob(f, vectorDir+"/pki/*.pem") {
		f.Add(vectors.Open(f, "pki/"+filepath.Base(path)).Data)
	}
	v := good(f)
	var keys []*rsa.PublicKey
	for _, other := range signerVectors(f) {
		if other.Expect == granted {
			chain, err := Verify(other.chain, other.trust, other.Region, other.Domain, other.Now)
			if err != nil {
				f.Fatalf("%s: %v", other.Name, err)
			}
			keys = append(keys, chain.key)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		chain, err := Verify(text, v.trust, v.Region, v.Domain, v.Now)
		if err != nil {
			if chain != nil {
				t.Error("there is a chain with the error")
			}
			checkError(t, err)
			return
		}
		if len(chain.paths) == 0 || len(chain.StapleNames()) != len(chain.paths[0])-1 {
			t.Errorf("%d paths, with the staple names %q", len(chain.paths), chain.StapleNames())
		}
		if !slices.ContainsFunc(keys, func(k *rsa.PublicKey) bool { return k.Equal(chain.key) }) {
			t.Error("a chain is taken with the key of none of the granted vectors")
		}
		by, err := chain.Prove(nil, v.Now)
		if by != nil || reason.Of(err) != reason.StapleMissing {
			t.Errorf("without staples: %v, %v", by, err)
		}
	})
}

// FuzzStaple: a staple in place of the signer's proves it only if it is one that
// the issuer signed: those of the seeds which the vectors take.
func FuzzStaple(f *testing.F) {
	v := good(f)
	signed := make(map[string]bool) // what an issuer signed
	for _, path := range mustGlob(f, vectorDir+"/pki/*.ocsp") {
		text := vectors.Open(f, "pki/"+filepath.Base(path)).Data
		f.Add(text)
		if der, err := base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(text)); err == nil {
			f.Add(der)
			if data := tbs(der); data != nil {
				signed[string(data)] = true
			}
		}
	}
	if len(signed) < 20 {
		f.Fatalf("%d of the seeds are staples", len(signed))
	}
	chain, err := Verify(v.chain, v.trust, v.Region, v.Domain, v.Now)
	if err != nil {
		f.Fatal(err)
	}
	intermediate := v.staples[1]
	f.Fuzz(func(t *testing.T, text []byte) {
		// As served, and as what it decodes to.
		for _, served := range [][]byte{text, []byte(base64.StdEncoding.EncodeToString(text))} {
			by, err := chain.Prove([][]byte{served, intermediate}, v.Now)
			if (by == nil) != (err != nil) {
				t.Fatalf("both or neither of signer and error: %v, %v", by, err)
			}
			if err != nil {
				checkError(t, err)
				continue
			}
			der, decodeErr := base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(served))
			if decodeErr != nil {
				t.Fatalf("a staple that is not base64 is a proof: %q", served)
			}
			if data := tbs(der); data == nil || !signed[string(data)] {
				t.Errorf("a staple that nobody signed is a proof: %x", der)
			}
			if until := by.ValidUntil(); until.Before(v.Now) {
				t.Errorf("the proof ended at %v", until)
			}
		}
	})
}
