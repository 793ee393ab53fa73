// Package lean has the tests that keep a program of the agent small: each is about
// the command in the current directory.
package lean

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// forbidden are packages that cost start-up time or size, or have no business in a
// program that decides who gets in.
func forbidden() map[string]string {
	return map[string]string{
		"github.com/aws/aws-sdk-go-v2/config": "it doubles the start-up time",
		"github.com/spf13/cobra":              "two flags need no command tree",
		"text/template":                       "it keeps the linker from dropping unused methods",
		"html/template":                       "it keeps the linker from dropping unused methods",
		"encoding/gob":                        "it is large and has no use here",
		"encoding/xml":                        "it is large and has no use here",
		"testing":                             "tests only",
		"github.com/eic-agent/eic-agent/internal/emulator":        "the agent must not carry the means to sign keys",
		"github.com/eic-agent/eic-agent/internal/emulator/pki":    "the agent must not carry the means to sign keys",
		"github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect": "the agent calls no AWS API",
		"github.com/rogpeppe/go-internal/testscript":              "tests only",
	}
}

// Forbidden fails for what must never be linked, and where needed, a package that
// has to be, is not listed.
func Forbidden(t *testing.T, needed string) {
	t.Helper()
	linked := list(t)
	for _, pkg := range linked {
		if why, bad := forbidden()[pkg]; bad {
			t.Errorf("%s is linked: %s", pkg, why)
		}
	}
	if !slices.Contains(linked, needed) {
		t.Errorf("go list does not list %s", needed)
	}
}

// Linked compares what is linked besides the standard library with
// testdata/linked, which go list -deps . writes anew.
func Linked(t *testing.T) {
	t.Helper()
	got := list(t, "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}")
	text, err := os.ReadFile("testdata/linked")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(string(text))
	for _, pkg := range got {
		if !slices.Contains(want, pkg) {
			t.Errorf("%s is linked now: if that is meant, add it to testdata/linked", pkg)
		}
	}
	for _, pkg := range want {
		if !slices.Contains(got, pkg) {
			t.Errorf("%s is no longer linked: take it out of testdata/linked", pkg)
		}
	}
}

func list(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append(append([]string{"list", "-deps"}, args...), ".")...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

// Size fails where the program has more bytes than limit, or a twentieth more than
// known, what it was last: growth that somebody has to mean.
func Size(t *testing.T, known, limit int64) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	st, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	if size := st.Size(); size > limit || size > known+known/20 {
		t.Errorf("the program has %d bytes: the limit is %d, and it had about %d", size, limit, known)
	}
}
