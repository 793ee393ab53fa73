// Generate writes the test vectors anew, with new keys: run it in test/vectors.
//
// A vector is right but for one thing, which its comment names. See the README
// there for the format.
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// now is the time of every vector.
var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

const (
	instanceID = "i-0123456789abcdef0"
	region     = "us-east-1"
	domain     = "amazonaws.com"
)

// A vector is one file.
type vector struct {
	name, comment string
	expect        string   // granted, none, or a reason word
	refused       []string // reason words of further records
	output        []string // the lines, for granted

	region, domain, user, fingerprint string
	config                            []string
	roots, chain                      string
	staples                           []servedStaple
	body                              []byte
}

// A servedStaple is a file under the name at which it is served.
type servedStaple struct{ name, file string }

func main() {
	log.SetFlags(0)
	old, err := filepath.Glob("*.vector")
	check(err)
	for _, name := range old {
		check(os.Remove(name))
	}
	check(os.RemoveAll("pki"))
	check(os.Mkdir("pki", 0o755))

	w := newWorld()
	w.recordVectors()
	w.policyVectors()
	w.chainVectors()
	w.stapleVectors()
	log.Printf("wrote %d vectors", len(w.names))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

// write writes v with the world's defaults for what it leaves open.
func (w *world) write(v vector) {
	if w.names[v.name] {
		log.Fatalf("two vectors are named %s", v.name)
	}
	w.names[v.name] = true

	var b bytes.Buffer
	header := func(key, value string) { fmt.Fprintf(&b, "%s: %s\n", key, value) }
	header("expect", v.expect)
	for _, r := range v.refused {
		header("refused", r)
	}
	header("comment", v.comment)
	header("now", now.Format(time.RFC3339))
	header("instance", instanceID)
	header("region", or(v.region, region))
	header("domain", or(v.domain, domain))
	header("user", or(v.user, "ec2-user"))
	if v.fingerprint != "" {
		header("fingerprint", v.fingerprint)
	}
	for _, line := range v.config {
		header("config", line)
	}
	header("roots", or(v.roots, w.goodRoots))
	header("chain", or(v.chain, w.goodChain))
	staples := v.staples
	if staples == nil {
		staples = w.goodStaples
	}
	for _, s := range staples {
		header("staple", s.name+" "+s.file)
	}
	for _, line := range v.output {
		header("output", line)
	}
	b.WriteByte('\n')
	b.Write(v.body)
	check(os.WriteFile(v.name+".vector", b.Bytes(), 0o644))
}

func or(s, otherwise string) string {
	if s != "" {
		return strings.TrimSuffix(s, emptyValue)
	}
	return otherwise
}

// emptyValue stands for an empty value where "" stands for the default.
const emptyValue = "<empty>"
