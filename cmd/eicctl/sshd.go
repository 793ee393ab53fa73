package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/ctl/output"
	"github.com/eic-agent/eic-agent/internal/ctl/sshdsetup"
)

// exitConflict says that another AuthorizedKeysCommand is in the way.
const exitConflict = 4

func sshdCommand() *cobra.Command {
	o := sshdsetup.Options{}
	cmd := &cobra.Command{
		Use:   "sshd",
		Short: "Configure sshd to run eic-authkeys",
		Long: `Configures sshd to run eic-authkeys as its AuthorizedKeysCommand, restores the original
configuration, or shows which command sshd runs. See eicctl-sshd(8).`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("expected a command: status, enable or disable")
		},
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&o.Root, "root", "/", rootUsage)

	verb := func(use, short, long string, run func(context.Context, sshdsetup.Options) (*sshdsetup.Report, error)) *cobra.Command {
		cmd := &cobra.Command{
			Use: use, Short: short, Long: long, Args: cobra.NoArgs,
			PreRunE: func(*cobra.Command, []string) (err error) {
				// These two are written down for sshd.
				for _, path := range []string{o.Program, o.Config} {
					if path != "" && !filepath.IsAbs(path) {
						return errors.New(printable(path) + " is not an absolute path")
					}
				}
				o.Root, err = rootDirectory(o.Root)
				return err
			},
			RunE: func(cmd *cobra.Command, _ []string) error {
				report, err := run(cmd.Context(), o)
				switch {
				case err != nil && outputFormat(cmd) != output.Table:
					report = &sshdsetup.Report{Outcome: sshdsetup.Failed, Problem: err.Error()}
				case err != nil:
					return outcome{code: exitUnknown, err: err}
				}
				return printSetup(cmd, report)
			},
		}
		addOutput(cmd)
		return cmd
	}
	enable := verb("enable", "Configure sshd to run eic-authkeys",
		`Sets AuthorizedKeysCommand and AuthorizedKeysCommandUser, tests the configuration and
reloads sshd; open sessions continue. The lines go into a file in sshd_config.d if
sshd_config includes it, otherwise into a marked block of sshd_config. An existing
AuthorizedKeysCommand is not replaced without --migrate. Nothing changes before the
first checks pass, and everything is rolled back if a later one fails.

Exit status: 0 if sshd runs eic-authkeys; 1 if something is missing, or sshd must be
restarted first; 2 for a usage error; 3 if it failed (rolled back unless it says
otherwise) or the result is unknown; 4 if another AuthorizedKeysCommand is already
configured.`, sshdsetup.Enable)
	enable.Flags().StringVar(&o.Program, "program", "/usr/bin/eic-authkeys", "the `file` that sshd runs")
	enable.Flags().StringVar(&o.Config, "config", config.DefaultPath, "configuration `file` of eic-authkeys")
	enable.Flags().StringVar(&o.User, "user", defaultAgentUser, "the `account` to run it as")
	enable.Flags().BoolVar(&o.Migrate, "migrate", false, "replace the command of AWS's package (disable restores it)")
	disable := verb("disable", "Restore the original configuration of sshd",
		`Restores what eicctl sshd enable changed, byte for byte, and reloads sshd.

Exit status: 0 if it is restored; 1 if something other than enable configured
eic-authkeys; 2 for a usage error; 3 if it failed.`, sshdsetup.Disable)
	status := verb("status", "Show which command sshd runs, and where it is set",
		`Shows which AuthorizedKeysCommand sshd uses, and where it is set: in a file, in a
Match block, or on the command line.

Exit status: 0 if it is eic-authkeys; 1 if there is none; 2 for a usage error; 3 if
it is unknown; 4 if it is another command.`,
		func(ctx context.Context, o sshdsetup.Options) (*sshdsetup.Report, error) {
			return sshdsetup.Status(ctx, o), nil
		})
	cmd.AddCommand(status, enable, disable)
	return cmd
}

func printSetup(cmd *cobra.Command, report *sshdsetup.Report) error {
	err := show(cmd, report)
	if err != nil {
		return err
	}
	stderr := cmd.ErrOrStderr()
	if report.Problem != "" {
		fmt.Fprintf(stderr, "%s: error: %s\n", program, audit.Clean(report.Problem, 2000))
	}
	for i, line := range report.Hint {
		if i == 0 {
			line = program + ": hint: " + line
		}
		fmt.Fprintln(stderr, audit.Clean(line, 2000))
	}
	o := outcome{}
	switch report.Outcome {
	case sshdsetup.Enabled:
		return nil
	case sshdsetup.Disabled:
		if cmd.Name() == "disable" {
			return nil
		}
		o.code = exitNo
	case sshdsetup.Refused, sshdsetup.Pending:
		o.code = exitNo
	case sshdsetup.Conflict:
		o.code = exitConflict
	default:
		o.code = exitUnknown
	}
	return o
}
