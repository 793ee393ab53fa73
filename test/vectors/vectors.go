// Package vectors reads the test vectors of this directory, for tests.
package vectors

import (
	"bytes"
	"crypto/x509"
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/reason"
)

//go:embed *.vector pki
var files embed.FS

// fewest is how many vectors there are at least, so that none is lost unseen.
const fewest = 355

// A File is one of the directory.
type File struct {
	Name string // from the directory on
	Data []byte
}

// A Staple is served under Name, which is not that of its file.
type Staple struct {
	Name string
	File File
}

// A Vector is one file; README.md has the format.
type Vector struct {
	Name, Expect, Comment       string
	Refused, Output             []string
	Now                         time.Time
	Instance, User, Fingerprint string
	Region, Domain              string
	Config                      string // a whole file
	Roots, Chain                File
	Staples                     []Staple
	Body                        []byte
}

// All returns all vectors, by name.
func All(t testing.TB) []Vector {
	t.Helper()
	entries, err := files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var all []Vector
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".vector"); ok {
			all = append(all, Read(t, name))
		}
	}
	if len(all) < fewest {
		t.Fatalf("there are %d vectors, want %d", len(all), fewest)
	}
	return all
}

// Read returns the vector of a name.
func Read(t testing.TB, name string) Vector {
	t.Helper()
	v, err := parse(name, Open(t, name+".vector").Data)
	if err != nil {
		t.Fatalf("%s.vector: %v", name, err)
	}
	return v
}

// Open returns a file of the directory.
func Open(t testing.TB, name string) File {
	t.Helper()
	f, err := open(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func open(name string) (File, error) {
	data, err := files.ReadFile(name)
	return File{name, data}, err
}

func parse(name string, text []byte) (Vector, error) {
	header, body, ok := bytes.Cut(text, []byte("\n\n"))
	if !ok {
		return Vector{}, fmt.Errorf("no blank line after the header")
	}
	v := Vector{Name: name, Body: body}
	for line := range strings.SplitSeq(string(header), "\n") {
		key, value, ok := strings.Cut(line, ": ")
		if !ok {
			return Vector{}, fmt.Errorf("%q is no header line", line)
		}
		if err := v.set(key, value); err != nil {
			return Vector{}, fmt.Errorf("%s: %w", key, err)
		}
	}
	known := v.Expect == "granted" || v.Expect == "none" || slices.Contains(reason.All(), reason.Word(v.Expect))
	if !known || v.Comment == "" || (v.Expect == "granted") != (len(v.Output) > 0) {
		return Vector{}, fmt.Errorf("expect, comment and output do not go together")
	}
	return v, nil
}

func (v *Vector) set(key, value string) (err error) {
	switch key {
	case "expect":
		v.Expect = value
	case "comment":
		v.Comment = value
	case "refused":
		v.Refused = append(v.Refused, value)
	case "output":
		v.Output = append(v.Output, value)
	case "now":
		v.Now, err = time.Parse(time.RFC3339, value)
	case "instance":
		v.Instance = value
	case "user":
		v.User = value
	case "fingerprint":
		v.Fingerprint = value
	case "region":
		v.Region = value
	case "domain":
		v.Domain = value
	case "config":
		v.Config += value + "\n"
	case "roots":
		v.Roots, err = open(value)
	case "chain":
		v.Chain, err = open(value)
	case "staple":
		name, file, _ := strings.Cut(value, " ")
		s := Staple{Name: name}
		s.File, err = open(file)
		v.Staples = append(v.Staples, s)
	default:
		err = fmt.Errorf("unknown key")
	}
	return err
}

// Served returns what the metadata service has, by paths below latest/meta-data/.
func (v Vector) Served() map[string][]byte {
	const staples = "managed-ssh-keys/signer-ocsp/"
	served := map[string][]byte{
		"managed-ssh-keys/active-keys/" + v.User + "/": v.Body,
		"managed-ssh-keys/signer-cert/":                v.Chain.Data,
		"placement/region":                             []byte(v.Region),
		"services/domain":                              []byte(v.Domain),
		"instance-id":                                  []byte(v.Instance),
	}
	var listing strings.Builder
	for _, s := range v.Staples {
		listing.WriteString(s.Name + "\n")
		served[path.Join(staples, s.Name)] = s.File.Data
	}
	served[staples] = []byte(listing.String())
	return served
}

// Pool returns the roots that are trusted.
func (v Vector) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(v.Roots.Data)
	return pool
}
