package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/test/golden"
	"github.com/eic-agent/eic-agent/test/lean"
	"github.com/eic-agent/eic-agent/test/script"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){program: main})
}

func TestScripts(t *testing.T) {
	script.Run(t, map[string]func(*testscript.TestScript, bool, []string){"fault": fault})
}

// fault [FAULT] orders a fault from the emulator, or takes all back.
func fault(ts *testscript.TestScript, neg bool, args []string) {
	switch {
	case neg || len(args) > 1:
		ts.Fatalf("usage: fault [fault]")
	case len(args) == 0:
		script.Server(ts).ClearFaults("")
	default:
		ts.Check(script.Server(ts).InjectFault(args[0]))
	}
}

// What the login path must never link: each costs start-up time or size, or has
// no business there.
func TestForbiddenImports(t *testing.T) {
	t.Parallel()
	lean.Forbidden(t, "github.com/eic-agent/eic-agent/internal/authkeys")
}

// What is linked changes on purpose only.
func TestLinkedPackages(t *testing.T) {
	t.Parallel()
	lean.Linked(t)
}

func TestSize(t *testing.T) {
	t.Parallel()
	lean.Size(t, 7_500_000, 9_000_000)
}

// What internal/startup does saves nothing after the libraries are initialized.
func TestStartupComesFirst(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Args = []string{program, "--version"}
	cmd.Env = []string{"GODEBUG=inittrace=1"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	first := bytes.Index(out, []byte("/internal/startup @"))
	if first < 0 {
		t.Fatalf("internal/startup is not initialized:\n%s", out)
	}
	for _, library := range []string{"os", "net", "net/http", "golang.org/x/crypto/ssh", "go.uber.org/zap"} {
		if i := bytes.Index(out, []byte("init "+library+" @")); i < first {
			t.Errorf("%s is initialized before internal/startup, or not at all:\n%s", library, out)
		}
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

// What --help prints.
func TestHelp(t *testing.T) {
	t.Parallel()
	golden.Compare(t, "help", usage)
}
