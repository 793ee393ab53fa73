package clihelp

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestRefuseUnknown(t *testing.T) {
	t.Parallel()
	run := func(*cobra.Command, []string) {}
	for args, want := range map[string]string{
		"help":             "long of tool",
		"help sub":         "long of sub",
		"help sub verb":    "long of verb",
		"help nonsense":    `unknown command "nonsense" for "tool"`,
		"help sub no":      `unknown command "sub no" for "tool"`,
		"help sub verb no": `unknown command "sub verb no" for "tool"`,
	} {
		root := &cobra.Command{Use: "tool", Long: "long of tool", Args: cobra.NoArgs, SilenceErrors: true, SilenceUsage: true, Run: run}
		sub := &cobra.Command{Use: "sub", Long: "long of sub", Args: cobra.NoArgs, Run: run}
		sub.AddCommand(&cobra.Command{Use: "verb", Long: "long of verb", Args: cobra.NoArgs, Run: run})
		root.AddCommand(sub)
		RefuseUnknown(root)
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetArgs(strings.Fields(args))
		err := root.Execute()
		got, _, _ := strings.Cut(out.String(), "\n")
		if err != nil {
			got = err.Error()
		}
		if got != want || err != nil && out.Len() > 0 {
			t.Errorf("%s: got %q, printed %q, want %q", args, got, out.String(), want)
		}
	}
}
