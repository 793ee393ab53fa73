package main

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// The help of every command ends with the name of a manual page, which there is and which
// shows the command in its synopsis.
func TestHelpNamesManual(t *testing.T) {
	t.Parallel()
	var look func(*cobra.Command)
	look = func(cmd *cobra.Command) {
		if cmd.Hidden {
			return
		}
		path := strings.Fields(cmd.CommandPath())
		var out bytes.Buffer
		if code := run(t.Context(), append(path[1:], "--help"), nil, &out, &out); code != exitOK {
			t.Errorf("%s --help: exit %d", cmd.CommandPath(), code)
		}
		names := regexp.MustCompile(`\nManual page: (eicctl[a-z-]*)\(8\)\n$`).FindStringSubmatch(out.String())
		if names == nil {
			t.Errorf("%s --help names no manual page:\n%s", cmd.CommandPath(), &out)
			return
		}
		page, err := os.ReadFile("../../man/" + names[1] + ".8")
		if err != nil {
			t.Error(err)
		}
		synopsis, _, _ := strings.Cut(string(page), ".Sh DESCRIPTION")
		for _, word := range path[1:] {
			if path[1] != "completion" && path[1] != "help" && !regexp.MustCompile(`\b`+word+`\b`).MatchString(synopsis) {
				t.Errorf("%s(8) has no %s in its synopsis", names[1], word)
			}
		}
		for _, below := range cmd.Commands() {
			look(below)
		}
	}
	for _, cmd := range newRoot(io.Discard).Commands() {
		look(cmd)
	}
}
