// Package clihelp has the help command of a program made with cobra fail for a command
// that does not exist.
package clihelp

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// RefuseUnknown gives root its help command, which is an error for a command that root
// does not have. Cobra's own shows the help of the nearest one, as if that had been asked
// for. The commands have to be added before.
func RefuseUnknown(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	help, _, err := root.Find([]string{"help"})
	if err != nil {
		return // a program without commands has none
	}
	help.Args = func(_ *cobra.Command, args []string) error {
		if _, rest, err := root.Find(args); err != nil || len(rest) > 0 {
			return fmt.Errorf("unknown command %.64q for %q", strings.Join(args, " "), root.Name())
		}
		return nil
	}
}
