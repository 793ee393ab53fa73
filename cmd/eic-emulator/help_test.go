package main

import (
	"bytes"
	"testing"

	"github.com/eic-agent/eic-agent/test/golden"
)

// What --help prints, of every command.
func TestHelp(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"help": {"--help"}, "help-serve": {"serve", "--help"}, "help-faults": {"faults", "--help"}, "help-ready": {"ready", "--help"}, "faults": {"faults"},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), args, &out, &out); code != exitOK {
			t.Errorf("%v: exit %d", args, code)
		}
		golden.Compare(t, name, out.String())
	}
}
