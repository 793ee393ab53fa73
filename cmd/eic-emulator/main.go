// Command eic-emulator is the AWS side of EC2 Instance Connect on one machine.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/clihelp"
	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/internal/version"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1 // cannot listen or write a file, or serving failed
	exitUsage   = 2 // nothing was started
)

func main() {
	unix.Umask(0o022) // what is made has the modes that are meant, whatever the caller's
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// A failure is an error of something that was started. Every other error is
// about the command line.
type failure struct{ error }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:           "eic-emulator",
		Short:         "The AWS side of EC2 Instance Connect on one machine, for tests and demonstrations",
		Version:       version.String(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("expected a command, such as serve; see --help")
		},
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.AddCommand(serveCommand(), faultsCommand(), readyCommand())
	clihelp.RefuseUnknown(root)
	root.SetArgs(args)
	written := &clihelp.Output{Writer: stdout}
	root.SetOut(written)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if written.Err != nil {
		err = failure{fmt.Errorf("cannot write the output: %w", written.Err)}
	}
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "eic-emulator: error: %v\n", err)
	if errors.Is(err, emulator.ErrNotLoopback) {
		fmt.Fprintln(stderr, "eic-emulator: hint: --allow-remote allows it")
	}
	if errors.As(err, new(failure)) {
		return exitFailure
	}
	return exitUsage
}
