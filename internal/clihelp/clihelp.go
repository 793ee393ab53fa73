// Package clihelp has what cobra itself shows of a program fail where it has to: the help
// of a command that does not exist, and a text that cannot be written.
package clihelp

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// RefuseUnknown gives root a help command that fails for a command that root does not
// have. Cobra's own shows the help of the nearest one, as if that had been asked for. Call
// it after the commands are added.
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

// An Output remembers why it could not be written, which cobra does not say of a help
// text.
type Output struct {
	io.Writer
	Err error
}

// Write writes, and keeps the first error.
func (o *Output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if o.Err == nil {
		o.Err = err
	}
	return n, err
}
