package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command that prints an answer has --output, -o and --json.
func TestEveryCommandHasOutput(t *testing.T) {
	t.Parallel()
	checked := 0
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		if cmd.Hidden || cmd.Name() == "completion" || cmd.Name() == "help" {
			return
		}
		for _, sub := range cmd.Commands() {
			check(sub)
		}
		if cmd.HasSubCommands() {
			return
		}
		checked++
		output, asJSON := cmd.Flags().Lookup("output"), cmd.Flags().Lookup("json")
		if output == nil || output.Shorthand != "o" || output.DefValue != "table" || !strings.Contains(output.Usage, "table, json, jsonl, csv") || asJSON == nil {
			t.Errorf("%s has no --output", cmd.CommandPath())
		}
	}
	check(newRoot(io.Discard))
	if checked < 10 {
		t.Errorf("only %d commands", checked)
	}
}

// What cobra itself prints fails as an answer does.
func TestOutputFails(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"--version", "--help", "doctor --help", "help audit", "completion bash"} {
		var stderr bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), strings.NewReader(""), fullDisk{}, &stderr); code != exitUnknown || !strings.Contains(stderr.String(), "cannot write the output: no space") {
			t.Errorf("%s: got %d, %s", args, code, &stderr)
		}
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space") }
