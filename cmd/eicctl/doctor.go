package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/eic-agent/eic-agent/internal/ctl/doctor"
)

func doctorCommand() *cobra.Command {
	var o doctor.Options
	cmd := &cobra.Command{
		Use:   "doctor [USER]",
		Short: "Find out why a pushed key does not log in",
		Long: `Checks everything that a login with a pushed key depends on, from sshd to the
metadata service, and prints each problem with its fix. With USER it also checks the
login of that user. It changes nothing, except that it writes one message to the journal.
Run it as root: other users can check little.
See eicctl-doctor(8), which explains each finding.

Exit status: 0 if everything is ok; 1 if there is a problem; 2 for a usage error; 3 if
there is no problem, but something is unknown.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return errors.New("expected at most one user name")
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if len(args) == 1 {
				if o.User = args[0]; o.User == "" {
					return errors.New("the user name is empty")
				}
			}
			if o.ConfigPath, err = configFile(o.ConfigPath); err != nil {
				return err
			}
			if err := checkAddress(o.From); err != nil {
				return err
			}
			report := doctor.Run(cmd.Context(), o)
			if cmd.Context().Err() != nil {
				return outcome{code: exitUnknown, err: errors.New("interrupted")}
			}
			if err := show(cmd, report); err != nil {
				return err
			}
			switch {
			case report.Problems > 0:
				return outcome{code: exitNo}
			case report.Unknown > 0:
				return outcome{code: exitUnknown}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.ConfigPath, "config", "", "read this `file`, not the one that AuthorizedKeysCommand names")
	cmd.Flags().StringVar(&o.From, "from", "", fromUsage)
	addOutput(cmd)
	return cmd
}

// doctorProbeCommand is what doctor runs as another account.
func doctorProbeCommand() *cobra.Command {
	return &cobra.Command{
		Use:    doctor.ProbeCommand,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return doctor.Probe(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}
