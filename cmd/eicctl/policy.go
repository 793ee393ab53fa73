package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/ctl/policy"
)

func policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Try a policy before it counts",
		Long:  `Tries a policy on recorded pushes before it counts. See eicctl-policy(8).`,
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("expected a command: test")
		},
	}
	cmd.AddCommand(policyTestCommand())
	return cmd
}

func policyTestCommand() *cobra.Command {
	var o journalOptions
	cmd := &cobra.Command{
		Use:   "test FILE",
		Short: "What another configuration would have refused and granted",
		Long: `Repeats the decisions on the pushes in the journal with the configuration in FILE and
the code of eic-authkeys, and lists by principal and user what would newly be refused or
granted: [users], [[users.map]], and types, sizes and lifetimes in [keys]. The
configuration of this host is neither read nor changed.

Exit status: 0 if no recorded decision would change; 1 if one would; 2 for a usage
error; 3 if some or all of them cannot be determined.`,
		Example: `  eicctl policy test new.toml
  eicctl policy test new.toml --since 7d --directory /var/log/journal/remote -o csv`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return errors.New("give one configuration file")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return testPolicy(cmd, &o, args[0]) },
	}
	o.add(cmd)
	since := cmd.Flags().Lookup("since")
	since.DefValue = "30d"
	_ = since.Value.Set(since.DefValue)
	addOutput(cmd)
	return cmd
}

func testPolicy(cmd *cobra.Command, o *journalOptions, path string) error {
	now := time.Now()
	filter, err := o.filter(now)
	if err != nil {
		return err
	}
	source, err := o.source()
	if err != nil {
		return err
	}
	cfg, err := config.LoadDraft(path)
	if err != nil {
		return outcome{code: exitUnknown, err: err}
	}
	options := policy.Options{Config: cfg, Path: path, Directory: source.Directory, Trust: source.Trust, Since: filter.Since, Until: filter.Until}
	if options.Until.IsZero() {
		options.Until = now
	}
	report, err := policy.Test(cmd.Context(), options)
	if err != nil {
		return journalOutcome(err)
	}
	if err := show(cmd, report); err != nil {
		return err
	}
	switch {
	case report.Changed():
		return outcome{code: exitNo}
	case report.Err() != nil:
		return outcome{code: exitUnknown, err: report.Err()}
	}
	return nil
}
