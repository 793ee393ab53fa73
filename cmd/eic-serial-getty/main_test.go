package main

import (
	"os"
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
	script.Run(t, nil)
}

func TestForbiddenImports(t *testing.T) {
	t.Parallel()
	lean.Forbidden(t, "github.com/eic-agent/eic-agent/internal/serialgate")
}

// What is linked changes on purpose only.
func TestLinkedPackages(t *testing.T) {
	t.Parallel()
	lean.Linked(t)
}

func TestSize(t *testing.T) {
	t.Parallel()
	lean.Size(t, 7_830_000, 9_000_000)
}

// The manual page explains the reasons that are the gate's alone.
func TestManualListsReasons(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../man/eic-serial-getty.8")
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []reason.Word{reason.AlreadyUsed, reason.NotPushed, reason.NotEC2, reason.NoSuchPort, reason.NotRemembered, reason.GettyFailed, reason.LineUnusable} {
		if word.Hint() == "" || !strings.Contains(string(text), "\n.It Li "+string(word)+"\n") {
			t.Errorf("the manual page does not explain %s", word)
		}
	}
}

// What --help prints.
func TestHelp(t *testing.T) {
	t.Parallel()
	golden.Compare(t, "help", usage)
}
