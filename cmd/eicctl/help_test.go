package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/eic-agent/eic-agent/test/golden"
)

// What --help prints, of every command.
func TestHelp(t *testing.T) {
	t.Parallel()
	var visit func(path []string, cmd *cobra.Command)
	visit = func(path []string, cmd *cobra.Command) {
		root := newRoot(io.Discard)
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetErr(&out)
		root.SetArgs(append(path, "--help"))
		if err := root.Execute(); err != nil {
			t.Errorf("%v --help: %v", path, err)
		}
		golden.Compare(t, "help-"+strings.Join(append([]string{program}, path...), "-"), out.String())
		for _, sub := range cmd.Commands() {
			if !sub.Hidden {
				visit(append(path[:len(path):len(path)], sub.Name()), sub)
			}
		}
	}
	visit(nil, newRoot(io.Discard))
}
