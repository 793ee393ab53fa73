package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/eic-agent/eic-agent/internal/ctl/output"
	"github.com/eic-agent/eic-agent/internal/ctl/sessions"
)

// auditOptions are the flags of eicctl audit.
type auditOptions struct {
	journalOptions
	user, caller string
	trails       []string
	exitCode     bool
	follows      bool
	record       string // a directory
}

func auditCommand() *cobra.Command {
	var o auditOptions
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Who opened which session with a pushed key",
		Long: `Reads the journal and lists the sessions that sshd opened with a pushed key: who
pushed it with which request, for which user, the client's address, and when
the session ended. It also lists keys that sshd was given without a resulting
session, and refused keys.

An end marked "?" was logged by the session's own process, which its user can
forge; see eicctl-audit(8) for the messages that are trusted.

Exit status: 0 if the journal was read, whether or not there is a session; 1 if
there is none and --exit-code was given; 2 for a usage error; 3 if it cannot be
determined.`,
		Example: `  eicctl audit --since today --user postgres
  eicctl audit --since 2026-11-01 --caller 'arn:aws:sts::*:assumed-role/dba/*' --output csv
  eicctl audit --directory /var/log/journal/remote --cloudtrail trail.json.gz --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	flags := cmd.Flags()
	o.add(cmd)
	flags.StringVar(&o.user, "user", "", "only sessions of OS users that match this shell `pattern`")
	flags.StringVar(&o.caller, "caller", "", "only sessions of IAM principals that match this `ARN` pattern, as in [[users.map]]")
	flags.StringArrayVar(&o.trails, "cloudtrail", nil, "add the API caller from this CloudTrail `file`; may be repeated")
	flags.BoolVar(&o.exitCode, "exit-code", false, "exit 1 if there is no session")
	flags.BoolVarP(&o.follows, "follow", "f", false, "print each session when it opens and when it closes, from now on or from --since")
	flags.StringVar(&o.record, "record", "", "with --follow: write them to the journal instead, and keep the position in this `directory`")
	_ = flags.MarkHidden("record")
	addOutput(cmd, output.OCSF)
	cmd.AddCommand(auditEnable(), auditDisable())
	for _, name := range []string{"user", "caller"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	return cmd
}

func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("audit takes no argument, and was given %.64q", args[0])
	}
	return nil
}

func (o *auditOptions) run(cmd *cobra.Command) error {
	if o.follows {
		return o.follow(cmd)
	}
	if o.record != "" {
		return errors.New("--record goes with --follow")
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
	progress := newProgress(cmd.ErrOrStderr(), source, filter, now)
	options := sessions.Options{Filter: filter, Progress: progress.record}
	found := 0
	// What CloudTrail has is found by the requests of a whole report.
	if len(o.trails) == 0 && isStream(outputFormat(cmd)) {
		found, err = o.stream(cmd, source, options, progress, now)
	} else {
		found, err = o.whole(cmd, source, options, progress, now)
	}
	if err != nil {
		return err
	}
	if o.exitCode && found == 0 {
		return outcome{code: exitNo}
	}
	return nil
}

// filter reads the times, the user and the caller.
func (o *auditOptions) filter(now time.Time) (sessions.Filter, error) {
	f, err := o.journalOptions.filter(now)
	if err != nil {
		return f, err
	}
	f.User, f.Caller = o.user, o.caller
	return f, f.Check()
}

// whole prints a report in one piece, and returns how many sessions it has.
func (o *auditOptions) whole(cmd *cobra.Command, source sessions.Source, options sessions.Options, progress *progress, now time.Time) (int, error) {
	report, err := sessions.Read(cmd.Context(), source, options, now)
	progress.done()
	if err != nil {
		return 0, journalOutcome(err)
	}
	for _, trail := range o.trails {
		if _, err := report.AddTrail(trail); err != nil {
			return 0, outcome{code: exitUnknown, err: err}
		}
	}
	if !isStream(outputFormat(cmd)) {
		return len(report.Sessions), show(cmd, report)
	}
	w := newRowWriter(cmd)
	for _, row := range report.Rows() {
		if err := w.write(row); err != nil {
			return 0, err
		}
	}
	return len(report.Sessions), w.finish()
}

// stream prints each row as soon as it is decided, and returns how many sessions there
// were.
func (o *auditOptions) stream(cmd *cobra.Command, source sessions.Source, options sessions.Options, progress *progress, now time.Time) (found int, err error) {
	w := newRowWriter(cmd)
	report, err := sessions.Stream(cmd.Context(), source, options, now, func(row output.Row) error {
		if _, ok := row.Value.(*sessions.Session); ok {
			found++
		}
		return w.write(row)
	})
	progress.done()
	if err != nil {
		_ = w.flush()
		return 0, journalOutcome(err)
	}
	if err := w.write(report.Summary()); err != nil {
		return 0, err
	}
	return found, w.finish()
}
