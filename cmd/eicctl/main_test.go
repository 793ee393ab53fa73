package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/eic-agent/eic-agent/test/journalfile"
	"github.com/eic-agent/eic-agent/test/need"
	"github.com/eic-agent/eic-agent/test/script"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){program: main})
}

func TestScripts(t *testing.T) {
	if need.All() {
		journalfile.Need(t)
	}
	script.Run(t, map[string]func(*testscript.TestScript, bool, []string){"fault": fault, "append": appendFile, "journal": journalFile})
}

// fault TEXT orders a fault of the emulator; without TEXT all faults end.
func fault(ts *testscript.TestScript, neg bool, args []string) {
	server := script.Server(ts)
	switch {
	case neg || len(args) > 1:
		ts.Fatalf("usage: fault [text]")
	case len(args) == 1:
		ts.Check(server.InjectFault(args[0]))
	default:
		server.ClearFaults("")
	}
}

// append FILE OTHER appends the file OTHER to FILE.
func appendFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: append file other")
	}
	text := ts.ReadFile(args[0]) + ts.ReadFile(args[1])
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

// journal FILE EXPORT makes a journal file of EXPORT, in the journal's export
// format.
func journalFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: journal file export")
	}
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[0])), 0o755))
	ts.Check(ts.Exec(journalfile.Program, "--output="+ts.MkAbs(args[0]), ts.MkAbs(args[1])))
}
