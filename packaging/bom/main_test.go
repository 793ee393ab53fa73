package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// agent builds a program to look at.
func agent(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "eic-authkeys")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", file, "../../cmd/eic-authkeys").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

func TestSBOM(t *testing.T) {
	t.Parallel()
	file := agent(t)
	args := []string{"sbom", "--name", "eic-agent", "--version", "1.2.3", "--time", "1790000000", file}
	var once, again bytes.Buffer
	if err := errors.Join(run(args, &once), run(args, &again)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(once.Bytes(), again.Bytes()) {
		t.Error("it is another each time")
	}
	var doc document
	decoder := json.NewDecoder(&once)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if doc.Format != "CycloneDX" || doc.Spec != "1.6" || doc.Version != 1 || doc.Metadata.Timestamp.Unix() != 1790000000 {
		t.Errorf("head: %+v", doc)
	}
	// The pattern is the schema's.
	if !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`).MatchString(doc.Serial) {
		t.Errorf("serialNumber %q", doc.Serial)
	}

	refs := map[string]bool{doc.Metadata.Component.Ref: true}
	for _, c := range doc.Components {
		if refs[c.Ref] {
			t.Errorf("two components are %s", c.Ref)
		}
		refs[c.Ref] = true
		if c.Type == "library" && (c.PURL == "" || c.Version == "") {
			t.Errorf("a library without a version: %+v", c)
		}
	}
	for _, d := range doc.Dependencies {
		for _, ref := range append(d.DependsOn, d.Ref) {
			if !refs[ref] {
				t.Errorf("%s depends on %s, which is no component", d.Ref, ref)
			}
		}
	}
	// What Go itself says is in the program is in the document.
	out, err := exec.Command("go", "version", "-m", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); fields[0] == "dep" {
			found++
			if !refs["pkg:golang/"+fields[1]+"@"+fields[2]] {
				t.Errorf("%s %s is missing", fields[1], fields[2])
			}
		}
	}
	if found == 0 || !strings.HasPrefix(doc.Components[1].Ref, "pkg:golang/std@v1.") || len(doc.Components) != found+2 {
		t.Errorf("%d modules, but %d components, the second %s", found, len(doc.Components), doc.Components[1].Ref)
	}
}

func TestProvenance(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "x.rpm")
	if err := os.WriteFile(file, []byte("abc"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run([]string{"provenance", "--version", "1.2.3~rc1", "--commit", "0123", file}, &out); err != nil {
		t.Fatal(err)
	}
	var s statement
	decoder := json.NewDecoder(&out)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		t.Fatal(err)
	}
	// SHA-256 of "abc": FIPS 180-2, appendix B.1.
	const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if len(s.Subject) != 1 || s.Subject[0].Name != "x.rpm" || s.Subject[0].Digest["sha256"] != abc {
		t.Errorf("the subjects are %v", s.Subject)
	}
	source := s.Predicate.BuildDefinition.ResolvedDependencies[0]
	if source.URI != repository+"@refs/tags/v1.2.3-rc1" || source.Digest["gitCommit"] != "0123" {
		t.Errorf("the source is %v", source)
	}
}

func TestLicenses(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run([]string{"licenses", agent(t)}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"==== the Go standard library: LICENSE\n", "==== go.uber.org/zap v", "==== github.com/aws/aws-sdk-go-v2 v", ": NOTICE", "Permission is hereby granted"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q", want)
		}
	}
}

// Debian's Go has no license in its root.
func TestLicensesOfDistribution(t *testing.T) {
	dir := t.TempDir()
	library := filepath.Join(dir, "root/src/vendor/golang.org/x/crypto")
	command := "#!/bin/sh\n[ \"$*\" != 'env GOROOT' ] || exec echo " + dir + "/root\nexec go \"$@\"\n"
	for _, err := range []error{
		os.MkdirAll(library, 0o755),
		os.WriteFile(filepath.Join(library, "LICENSE"), []byte("the terms of Go\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "go"), []byte(command), 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GO", filepath.Join(dir, "go"))
	var out bytes.Buffer
	if err := run([]string{"licenses", agent(t)}, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "the terms of Go\n") {
		t.Errorf("the terms of the library are missing:\n%.300s", &out)
	}
}

// A module without a license is an error, and so is everything else that is wrong;
// then nothing is printed.
func TestRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := writeFolder(new(bytes.Buffer), "m", dir); err == nil {
		t.Error("a module without a license is taken")
	}
	if err := os.WriteFile(dir+"/NOTICE", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeFolder(new(bytes.Buffer), "m", dir); err == nil {
		t.Error("a notice is taken for a license")
	}
	for _, args := range [][]string{nil, {"sbom"}, {"sbom", "main.go"}, {"licenses", dir + "/none"}, {"licenses", "main.go"}, {"other", os.Args[0]},
		{"sbom", "--name", "n", "--version", "", "--time", "1", os.Args[0]}, {"sbom", "--time", "x", os.Args[0]},
		{"provenance", "--version", "1", os.Args[0]}, {"provenance", "--version", "1", "--commit", "2"}, {"provenance", "--version", "1", "--commit", "2", dir + "/none"}} {
		var out bytes.Buffer
		if err := run(args, &out); err == nil || out.Len() > 0 {
			t.Errorf("bom %q: %v, %d bytes", args, err, out.Len())
		}
	}
}
