package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/eic-agent/eic-agent/test/script"

	"github.com/eic-agent/eic-agent/internal/reason"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){program: main})
}

func TestScripts(t *testing.T) {
	script.Run(t, nil)
}

// What the login path must never link: each costs start-up time or size, or has
// no business there.
func TestForbiddenImports(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := strings.Fields(string(out))
	forbidden := map[string]string{
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
	seen := false
	for _, pkg := range linked {
		seen = seen || pkg == "github.com/eic-agent/eic-agent/internal/authkeys"
		if why, bad := forbidden[pkg]; bad {
			t.Errorf("%s is linked: %s", pkg, why)
		}
	}
	if !seen {
		t.Error("go list does not list internal/authkeys")
	}
}

// What is linked besides the standard library, and how large it makes the program,
// changes on purpose only: go list -deps . writes the list anew.
func TestLinkedPackages(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(string(out))
	slices.Sort(got)
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

func TestSize(t *testing.T) {
	t.Parallel()
	const (
		limit = 9_000_000
		// known is what it was last; more than a twentieth above is growth
		// that somebody has to mean.
		known = 7_500_000
	)
	program := filepath.Join(t.TempDir(), program)
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

// The manual page lists every reason, and no other.
func TestManualListsReasons(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../man/eic-authkeys.8")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for line := range strings.Lines(string(text)) {
		if word, ok := strings.CutPrefix(strings.TrimSpace(line), ".It Li "); ok {
			listed = append(listed, word)
		}
	}
	if got, want := fmt.Sprint(listed), fmt.Sprint(reason.All()); got != want {
		t.Errorf("the manual page lists\n%s\nwant\n%s", got, want)
	}
}
