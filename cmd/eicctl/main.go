// Command eicctl sets up and diagnoses logins with keys pushed through EC2 Instance
// Connect.
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
	"github.com/eic-agent/eic-agent/internal/version"
)

const program = "eicctl"

// Exit codes.
const (
	exitOK      = 0
	exitNo      = 1 // the answer is no, or an input was bad
	exitUsage   = 2 // nothing was looked at
	exitUnknown = 3 // the answer cannot be determined
)

func main() {
	unix.Umask(0o022) // what is made has the modes that are meant, whatever the caller's
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// An outcome ends a command with an exit code other than 0. Every other error is a usage
// error.
type outcome struct {
	code int
	err  error  // nil where all is said
	hint string // what to do, or ""
}

func (o outcome) Error() string {
	if o.err == nil {
		return fmt.Sprintf("exit %d", o.code)
	}
	return o.err.Error()
}

// newRoot returns the root command with its subcommands, which print to out.
func newRoot(out io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   program,
		Short: "Show and diagnose keys pushed through EC2 Instance Connect",
		Long: `Eicctl sets up and diagnoses logins with keys pushed through EC2 Instance Connect.
See eicctl(8).`,
		Version:       version.String(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		// A variable of the shell that is not set must not widen what is done:
		// to the running system for an image, or to every caller for one.
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range []string{"root", "config", "program", "user", "caller", "directory", "agent-user", "dir", "name", "from", "textfile", "state"} {
				if value, err := cmd.Flags().GetString(name); err == nil && value == "" && cmd.Flags().Changed(name) {
					return fmt.Errorf("--%s is empty", name)
				}
			}
			return checkOutput(cmd)
		},
		RunE: func(*cobra.Command, []string) error {
			return errors.New("expected a command; see eicctl --help")
		},
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.AddCommand(auditCommand(), doctorCommand(), doctorProbeCommand(), explainCommand(), fingerprintCommand(), keysCommand(), metricsCommand(), policyCommand(), serialCommand(), sshdCommand())
	clihelp.RefuseUnknown(root)
	root.SetOut(out)
	root.InitDefaultCompletionCmd() // prints to what is set now
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		completion.RunE = func(*cobra.Command, []string) error {
			return errors.New("expected a shell: bash, fish, powershell or zsh")
		}
	}
	nameManuals(root)
	return root
}

// nameManuals has the help of each command, and of those below it, end with its manual page.
func nameManuals(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		page := program + "-" + cmd.Name()
		if cmd.Name() == "completion" || cmd.Name() == "help" {
			page = program
		}
		cmd.SetHelpTemplate(root.HelpTemplate() + "\nManual page: " + page + "(8)\n")
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	written := &clihelp.Output{Writer: stdout}
	answer := &answer{w: written}
	root := newRoot(answer)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if written.Err != nil {
		err = unwritten(written.Err)
	}
	if err == nil {
		return exitOK
	}
	o := outcome{code: exitUsage, err: err}
	errors.As(err, &o)
	if o.err != nil {
		fmt.Fprintf(stderr, "%s: error: %v\n", program, o.err)
	}
	if o.hint != "" {
		fmt.Fprintf(stderr, "%s: hint: %s\n", program, o.hint)
	}
	if o.err != nil && o.code != exitUsage && !answer.begun {
		showError(answer, cmd, noAnswer{o.err.Error(), o.hint})
	}
	return o.code
}
