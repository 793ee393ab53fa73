package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/pki"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

// world holds what the vectors share: a chain like AWS's, and its keys.
type world struct {
	names map[string]bool

	root, legacy *pki.Authority
	inter, leaf  *pki.Authority
	rootCross    *x509.Certificate // root, certified by legacy
	leafKey      *rsa.PrivateKey
	otherKey     *rsa.PrivateKey // signs what it should not
	keys         testKeys

	goodRoots, goodChain string
	goodStaples          []servedStaple
}

func valid(name string) pki.Options {
	return pki.Options{Name: name, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(10, 0, 0)}
}

func newWorld() *world {
	w := &world{names: make(map[string]bool), keys: newTestKeys()}
	w.leafKey = must(rsa.GenerateKey(rand.Reader, 2048))
	w.otherKey = must(rsa.GenerateKey(rand.Reader, 2048))
	w.root = must(pki.NewRoot(valid("Vector Root CA 1")))
	w.legacy = must(pki.NewRoot(valid("Vector Legacy Root CA")))
	w.inter = must(w.root.NewIntermediate(valid("Vector Server CA 1B")))
	w.rootCross = must(w.legacy.CrossSign(w.root, valid("")))
	w.leaf = w.signer(w.inter, region, domain, nil)

	w.goodRoots = w.pem("root", w.root.Cert)
	w.goodChain = w.pem("good", w.leaf.Cert, w.inter.Cert, w.rootCross, w.legacy.Cert)
	w.goodStaples = []servedStaple{
		w.staple("leaf-good", w.leaf.Cert, w.inter, current()),
		w.staple("inter-good", w.inter.Cert, w.root, current()),
	}
	return w
}

// signer issues a signing certificate for the leaf key.
func (w *world) signer(by *pki.Authority, region, domain string, change func(*x509.Certificate)) *pki.Authority {
	o := valid("")
	o.Key = w.leafKey
	o.Change = change
	return must(by.IssueSigner(region, domain, o))
}

// current is a staple that holds now.
func current() pki.StapleOptions {
	return pki.StapleOptions{ThisUpdate: now.Add(-time.Hour), NextUpdate: now.AddDate(0, 0, 7)}
}

// pem writes certificates to a file of that name.
func (w *world) pem(name string, certs ...*x509.Certificate) string {
	return w.file(name+".pem", pki.EncodePEM(certs...))
}

func (w *world) file(name string, content []byte) string {
	name = "pki/" + name
	if _, err := os.Stat(name); err == nil {
		check(fmt.Errorf("%s exists", name))
	}
	check(os.WriteFile(name, content, 0o644))
	return name
}

// staple writes a staple about cert, to be served under its SHA-1 name.
func (w *world) staple(name string, cert *x509.Certificate, by *pki.Authority, o pki.StapleOptions) servedStaple {
	return w.rawStaple(name, cert, []byte(base64.StdEncoding.EncodeToString(must(by.Staple(cert, o)))))
}

// rawStaple writes text to be served under the SHA-1 name of cert.
func (w *world) rawStaple(name string, cert *x509.Certificate, text []byte) servedStaple {
	return servedStaple{must(pki.StapleName(cert, crypto.SHA1)), w.file(name+".ocsp", append(text, '\n'))}
}

// fields of a record, in order.
type fields []string

func standard(expires time.Time) fields {
	return fields{
		fmt.Sprintf("#Timestamp=%d", expires.Unix()),
		"#Instance=" + instanceID,
		"#Caller=arn:aws:sts::123456789012:assumed-role/dba/alice",
		"#Request=b6d4a1f8-3f0c-4d3c-9a5e-2f1f9d6f0a11",
	}
}

// live is the expiry of the usual record.
var live = now.Add(45 * time.Second)

// with returns the fields with the one of that index replaced; "" leaves it out.
func (f fields) with(i int, line string) fields {
	var out fields
	for j, have := range f {
		if j == i {
			have = line
		}
		if have != "" {
			out = append(out, have)
		}
	}
	return out
}

func (f fields) text(key string) []byte {
	return []byte(strings.Join(append(append(fields{}, f...), key), "\n") + "\n")
}

// sign signs as AWS does.
func (w *world) sign(message []byte) []byte { return signPSS(w.leafKey, message, 32) }

func signPSS(key *rsa.PrivateKey, message []byte, salt int) []byte {
	digest := sha256.Sum256(message)
	return must(rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: salt, Hash: crypto.SHA256}))
}

// record returns the signed record of fields and key.
func (w *world) record(f fields, key string) []byte {
	text := f.text(key)
	return keyrecord.Encode(text, w.sign(text))
}

// good returns the usual record of a key.
func (w *world) good(key string) []byte { return w.record(standard(live), key) }
