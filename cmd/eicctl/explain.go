package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/eic-agent/eic-agent/internal/ctl/sessions"
)

func explainCommand() *cobra.Command {
	var o journalOptions
	cmd := &cobra.Command{
		Use:   "explain FINGERPRINT|REQUEST-ID",
		Short: "What was decided about a pushed key, and what to do",
		Long: `Searches the journal for what eic-agent decided about a key or an API request, and what
sshd did afterwards, and prints what to do. The fingerprint may be SHA-256
or MD5, as ssh-keygen and sshd's log show it. The request ID is the one that the
API returned.

Exit status: 0 if there is a decision; 1 if there is none; 2 for a
usage error; 3 if it cannot be determined.`,
		Example: `  eicctl explain SHA256:PqiDne3jtq8gOHvvFS5pep5ZjdvyeO5jVfnX7/h5u8E
  eicctl explain --since 7d 8a1f4b2c-0000-4000-8000-000000000001`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("expected one fingerprint or request ID")
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			subject, err := sessions.ParseSubject(args[0])
			if err != nil {
				return err
			}
			now := time.Now()
			filter, err := o.filter(now)
			if err != nil {
				return err
			}
			source, err := o.source()
			if err != nil {
				return err
			}
			report, err := sessions.Read(cmd.Context(), source, sessions.Options{Filter: filter, Wanted: subject.Wanted, Transcript: true}, now)
			if err != nil {
				return journalOutcome(err)
			}
			answer := report.Explain(subject)
			if source.Directory == "" {
				answer.HoldAgainst(cmd.Context())
			}
			err = show(cmd, answer)
			if err == nil && len(answer.Decisions) == 0 {
				return outcome{code: exitNo}
			}
			return err
		},
	}
	o.add(cmd)
	addOutput(cmd)
	return cmd
}
