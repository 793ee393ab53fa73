package keyrecord

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// What a record has to meet is tested by the vectors of test/vectors. Here are
// the promises that no served record can show.

const (
	instanceID = "i-0123456789abcdef0"
	edLine     = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINohITzWz6NQDHgCdHYsQt3t+BsQLWjJiasKh09vNjsC"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func terms() Terms {
	return Terms{Now: now, Instance: instanceID, MaxLifetime: time.Minute, ClockSkew: time.Minute, Types: SupportedTypes(), MinRSABits: 2048}
}

func statement(key string) Statement {
	return Statement{Expires: now.Add(30 * time.Second), Instance: instanceID, Key: key}
}

func one(t *testing.T, body []byte) *Record {
	t.Helper()
	var records []*Record
	for r := range Records(body) {
		records = append(records, r)
	}
	if len(records) != 1 {
		t.Fatalf("%d records, want 1", len(records))
	}
	return records[0]
}

func TestNilSignerProvesNothing(t *testing.T) {
	t.Parallel()
	signed := statement(edLine).SignedBytes()
	record := one(t, Encode(signed, make([]byte, 256)))
	if err := record.Check(terms()); err != nil {
		t.Fatalf("Check: %v", err)
	}
	key, err := record.Prove(nil, terms())
	if reason.Of(err) != reason.BadSignature {
		t.Errorf("Prove with no signer: %v, want bad-signature", err)
	}
	if key.Blob() != nil || key.Type() != "" {
		t.Error("Prove with no signer returned a key")
	}
}

func TestZeroTermsAreMetByNothing(t *testing.T) {
	t.Parallel()
	for name, expires := range map[string]time.Time{"now": now, "epoch": time.Unix(1, 0)} {
		s := statement(edLine)
		s.Expires = expires
		s.Instance = "i-0"
		record := one(t, Encode(s.SignedBytes(), make([]byte, 256)))
		if record.Check(Terms{}) == nil {
			t.Errorf("%s: the zero Terms are met", name)
		}
	}
	// Each term that is left out refuses by itself.
	record := one(t, Encode(statement(edLine).SignedBytes(), make([]byte, 256)))
	for name, change := range map[string]func(*Terms){
		"Now":         func(t *Terms) { t.Now = time.Time{} },
		"Instance":    func(t *Terms) { t.Instance = "" },
		"MaxLifetime": func(t *Terms) { t.MaxLifetime, t.ClockSkew = 0, 0 },
		"Types":       func(t *Terms) { t.Types = nil },
	} {
		terms := terms()
		change(&terms)
		if record.Check(terms) == nil {
			t.Errorf("Terms without %s are met", name)
		}
	}
}

func TestTermsCannotAllowWeakKeys(t *testing.T) {
	t.Parallel()
	weak := terms()
	weak.MinRSABits = 0
	weak.Types = append(weak.Types, "ssh-dss", "ssh-ed25519-cert-v01@openssh.com")
	for name, want := range map[string]reason.Word{"key-rsa1024": reason.KeyTooShort, "key-dsa": reason.KeyType, "key-certificate": reason.KeyType} {
		record := one(t, vectorBody(t, name))
		weak.Now = now
		if err := record.Check(weak); reason.Of(err) != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

// vectorBody returns the records of a vector of test/vectors.
func vectorBody(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../test/vectors", name+".vector"))
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := bytes.Cut(text, []byte("\n\n"))
	return body
}

// TestTypeOfAnother names a type as long as the key's own, or as its beginning.
func TestTypeOfAnother(t *testing.T) {
	t.Parallel()
	for name, typ := range map[string]string{"key-dsa": "ssh-rsa", "key-ecdsa384": "ecdsa-sha2-nistp256", "key-certificate": "ssh-ed25519"} {
		other := one(t, vectorBody(t, name))
		if other.KeyType() == typ || other.Blob() == nil {
			t.Fatalf("%s: has a key of type %q", name, other.KeyType())
		}
		line := typ + " " + base64.StdEncoding.EncodeToString(other.Blob())
		record := one(t, Encode(statement(line).SignedBytes(), make([]byte, 256)))
		if err := record.Check(terms()); reason.Of(err) != reason.Malformed || record.Blob() != nil {
			t.Errorf("%s as %s: %v, want malformed", name, typ, err)
		}
	}
}

// TestFilter: only a key that can be read can be another than the one asked for.
func TestFilter(t *testing.T) {
	t.Parallel()
	filtered := terms()
	var err error
	filtered.Fingerprint, err = fingerprint.ParseFilter(fingerprint.SHA256(one(t, Encode(statement(edLine).SignedBytes(), nil)).Blob()))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"record-ok", "key-off-curve", "fingerprint-of-padded-key"} {
		if err := one(t, vectorBody(t, name)).Check(filtered); !errors.Is(err, ErrOtherKey) {
			t.Errorf("%s: %v, want %v", name, err, ErrOtherKey)
		}
	}
	if err := one(t, vectorBody(t, "key-not-a-key")).Check(filtered); reason.Of(err) != reason.Malformed {
		t.Errorf("no key: %v, want malformed", err)
	}
}

func TestLifetimeIsTold(t *testing.T) {
	t.Parallel()
	for expires, want := range map[time.Duration]string{
		-7 * time.Second:  "expired 7 s ago",
		121 * time.Second: "in 121 s, more than the limit of 120 s",
	} {
		s := statement(edLine)
		s.Expires = now.Add(expires)
		if err := one(t, Encode(s.SignedBytes(), make([]byte, 256))).Check(terms()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", expires, err, want)
		}
	}
}

func TestEncodeAndParse(t *testing.T) {
	t.Parallel()
	signer, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := statement(edLine + " a comment")
	s.Caller, s.Request = "arn:aws:iam::123456789012:user/test", "request-1"
	digest := sha256.Sum256(s.SignedBytes())
	signature, err := rsa.SignPSS(rand.Reader, signer, crypto.SHA256, digest[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	r := one(t, Encode(s.SignedBytes(), signature))
	if !bytes.Equal(r.signed, s.SignedBytes()) || !bytes.Equal(r.signature, signature) {
		t.Error("what was encoded is not what is read")
	}
	if r.Caller() != s.Caller || r.Request() != s.Request || r.Expires() != s.Expires.Unix() || r.KeyType() != "ssh-ed25519" {
		t.Errorf("read %+v", r)
	}
}

func TestGoodRecordAfterJunk(t *testing.T) {
	t.Parallel()
	good := Encode(statement(edLine).SignedBytes(), make([]byte, 256))
	for _, junk := range []string{"#x\n\n\x00\xff\n#Timestamp=1\n", "\n", "#\n", "x\n", "x", "\r\n", "ssh-ed25519 \n"} {
		found := 0
		for r := range Records(append(bytes.Repeat([]byte(junk), 10_000), append([]byte("\n\n"), good...)...)) {
			if r.Check(terms()) == nil {
				found++
			}
		}
		if found != 1 {
			t.Errorf("found %d good records after junk of %q, want 1", found, junk)
		}
	}
}

func BenchmarkThousandForeignRecords(b *testing.B) {
	s := statement(edLine)
	s.Instance = "i-0fedcba9876543210"
	body := bytes.Repeat(Encode(s.SignedBytes(), make([]byte, 256)), 1000)
	for b.Loop() {
		for r := range Records(body) {
			if reason.Of(r.Check(terms())) != reason.WrongInstance {
				b.Fatal("not refused")
			}
		}
	}
}

// FuzzRecords: whatever is served, the records cover the text in order, none
// reaches into another, and none is proved without a signer.
func FuzzRecords(f *testing.F) {
	paths, _ := filepath.Glob("../../test/vectors/*.vector")
	if len(paths) == 0 {
		f.Fatal("no seeds")
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		_, body, _ := bytes.Cut(text, []byte("\n\n"))
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		rest := body
		for r := range Records(body) {
			i := bytes.Index(rest, r.signed)
			if i < 0 {
				t.Fatalf("the signed bytes of a record are not what was served: %q", r.signed)
			}
			rest = rest[i+len(r.signed):]
			key, err := r.Prove(nil, terms())
			if err == nil || key.Blob() != nil {
				t.Fatal("a record was proved by nobody")
			}
			if !errors.Is(err, ErrOtherKey) && !reason.Of(err).RefusesRecord() {
				t.Fatalf("refused without a reason word: %v", err)
			}
			if r.fault != nil && r.signature != nil {
				t.Fatal("a malformed record has a signature")
			}
		}
	})
}
