package signer

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const vectorDir = "../../test/vectors"

// A vector is what a file of test/vectors says of the signer. What the records
// in it come to is tested with the pipeline.
type vector struct {
	name, expect         string
	now                  time.Time
	region, domain       string
	rootsFile, chainFile string
	roots                *x509.CertPool
	chain                []byte
	stapleFiles          []string
	staples              [][]byte
	trust                Trust
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(vectorDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// vectors returns those that differ in what concerns the signer.
func vectors(t testing.TB) []vector {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(vectorDir, "*.vector"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	var all []vector
	seen := make(map[string]bool)
	for _, path := range paths {
		v := readVector(t, filepath.Base(path))
		key := strings.Join(append([]string{v.region, v.domain, v.rootsFile, v.chainFile, strings.Join(v.trust.Domains, " ")}, v.stapleFiles...), "\n")
		if !seen[key] {
			all = append(all, v)
		}
		seen[key] = true
	}
	if len(all) < 100 {
		t.Fatalf("only %d vectors are about the signer", len(all))
	}
	return all
}

func readVector(t testing.TB, name string) vector {
	t.Helper()
	header, _, _ := bytes.Cut(readFile(t, name), []byte("\n\n"))
	v := vector{name: strings.TrimSuffix(name, ".vector"), roots: x509.NewCertPool()}
	for line := range strings.SplitSeq(string(header), "\n") {
		key, value, _ := strings.Cut(line, ": ")
		switch key {
		case "expect":
			v.expect = value
		case "now":
			now, err := time.Parse(time.RFC3339, value)
			if err != nil {
				t.Fatal(err)
			}
			v.now = now
		case "region":
			v.region = value
		case "domain":
			v.domain = value
		case "roots":
			v.rootsFile = value
			v.roots.AppendCertsFromPEM(readFile(t, value))
		case "chain":
			v.chainFile = value
			v.chain = readFile(t, value)
		case "staple":
			_, file, _ := strings.Cut(value, " ")
			v.stapleFiles = append(v.stapleFiles, file)
			v.staples = append(v.staples, readFile(t, file))
		case "config":
			if list, ok := strings.CutPrefix(value, `domains = ["`); ok {
				v.trust.Domains = []string{strings.TrimSuffix(list, `"]`)}
			}
		}
	}
	v.trust.Roots = v.roots
	return v
}
