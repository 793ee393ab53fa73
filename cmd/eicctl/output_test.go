package main

import (
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
	check(newRoot())
	if checked < 10 {
		t.Errorf("only %d commands", checked)
	}
}
