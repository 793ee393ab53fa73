package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/ctl/output"
	"github.com/eic-agent/eic-agent/internal/ctl/sessionlog"
	"github.com/eic-agent/eic-agent/internal/ctl/sessions"
	"github.com/eic-agent/eic-agent/internal/systemctl"
)

// follow prints each session when it opens and when it closes, until it is interrupted.
// With record it tells them in the journal instead.
func (o *auditOptions) follow(cmd *cobra.Command) error {
	format := outputFormat(cmd)
	since := cmd.Flags().Changed("since")
	switch {
	case o.until != "now", len(o.trails) > 0, o.exitCode:
		return errors.New("--follow cannot be combined with --until, --cloudtrail and --exit-code")
	case o.record != "" && (since || o.user != "" || o.caller != "" || o.directory != "" || cmd.Flags().Changed("output")):
		return errors.New("--record goes with --follow and --agent-user alone")
	case format != output.Table && format != output.Lines && format != output.OCSF:
		return fmt.Errorf("--follow prints one line at a time: --output is table, jsonl or ocsf, not %s", format)
	}
	source, err := o.source()
	if err != nil {
		return err
	}
	if o.record != "" {
		if err := sessionlog.Run(cmd.Context(), o.record, source.Trust); err != nil {
			return journalOutcome(unwrapped(err))
		}
		return nil
	}
	now := time.Now()
	filter, err := o.filter(now)
	if err != nil {
		return err
	}
	if !since {
		filter.Since = now
	}
	p := printer{format: format, out: bufio.NewWriter(cmd.OutOrStdout())}
	follower := sessions.NewFollower(source.Trust, filter, func(s *sessions.Session) { p.print(audit.SessionOpened, s) }, func(s *sessions.Session) { p.print(audit.SessionClosed, s) })
	q := journal.Query{Directory: source.Directory, Since: filter.Since.Add(-sessions.Lead), Matches: sessions.Matches()}
	err = journal.Follow(cmd.Context(), q, func(r *journal.Record) error {
		return errors.Join(follower.Add(r), p.err)
	})
	if err != nil {
		return journalOutcome(unwrapped(err))
	}
	return nil
}

// unwrapped makes of every error but one about the command line an outcome.
func unwrapped(err error) error {
	if e := (*journal.Error)(nil); errors.As(err, &e) {
		return e
	}
	if o := (outcome{}); errors.As(err, &o) {
		return o
	}
	return outcome{code: exitUnknown, err: err}
}

// A printer prints what happens to sessions, each in a line.
type printer struct {
	format string
	out    *bufio.Writer
	err    error
}

func (p *printer) print(kind audit.Kind, s *sessions.Session) {
	line, err := p.line(kind, s)
	if err == nil {
		_, _ = p.out.WriteString(line)
		err = unwritten(p.out.Flush())
	}
	p.err = errors.Join(p.err, err)
}

func (p *printer) line(kind audit.Kind, s *sessions.Session) (string, error) {
	switch p.format {
	case output.Lines:
		return output.Line(output.Row{Kind: string(kind), Value: s})
	case output.OCSF:
		return s.OCSF(kind)
	}
	at := s.Start
	if kind == audit.SessionClosed && s.End != nil {
		at = *s.End
	}
	return fmt.Sprintf("%s %s %s\n", at.Format(time.RFC3339), s.Host, s.Event(kind).Message), nil
}

// A switchAnswer is what eicctl audit enable and disable print.
type switchAnswer struct {
	Unit    string `json:"unit"`
	Enabled bool   `json:"enabled"` // and running
}

func (a switchAnswer) Text() string {
	if a.Enabled {
		return a.Unit + " runs: sessions are recorded from now on\n"
	}
	return a.Unit + " is off\n"
}

func (a switchAnswer) Rows() []output.Row { return []output.Row{{Kind: "service", Value: a}} }

func auditEnable() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "enable",
		Short: "Record the beginning and the end of each session in the journal",
		Long: `Enables and starts eic-sessions.service, which writes a record into the journal when a
session opens and when it closes.

Exit status: 0 if the service is enabled and runs; 2 for a usage error; 3 if it does not,
and then nothing is changed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			begun := time.Now()
			_, err := systemctl.Run(ctx, "enable", sessionlog.Unit)
			if err == nil {
				_, err = systemctl.Run(ctx, "restart", sessionlog.Unit)
			}
			if err == nil {
				err = awaitFollower(ctx, begun)
			}
			if err == nil {
				_, err = systemctl.Run(ctx, "is-enabled", sessionlog.Unit)
			}
			if err != nil {
				_, _ = systemctl.Run(ctx, "disable", "--now", sessionlog.Unit)
				return outcome{code: exitUnknown, err: err, hint: "journalctl -u " + sessionlog.Unit + " says more"}
			}
			return show(cmd, switchAnswer{sessionlog.Unit, true})
		},
	}
	addOutput(cmd)
	return cmd
}

// followTime is how long the follower may take to begin.
const followTime = time.Minute

// awaitFollower waits until the follower has read an event of its own in the journal.
func awaitFollower(ctx context.Context, begun time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, followTime)
	defer cancel()
	for {
		state, err := sessionlog.Load(sessionlog.Dir)
		if err == nil && state.Following.After(begun) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not follow the journal", sessionlog.Unit)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func auditDisable() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "disable",
		Short: "Stop recording sessions",
		Long: `Stops and disables eic-sessions.service. Its place in the journal is kept: enabled again,
it also logs the sessions opened in the meantime.

Exit status: 0 if the service neither runs nor is enabled; 2 for a usage error; 3 if it
could not be stopped.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := systemctl.Run(cmd.Context(), "disable", "--now", sessionlog.Unit); err != nil {
				return outcome{code: exitUnknown, err: err}
			}
			if _, err := systemctl.Run(cmd.Context(), "is-active", sessionlog.Unit); err == nil {
				return outcome{code: exitUnknown, err: errors.New(sessionlog.Unit + " still runs")}
			}
			return show(cmd, switchAnswer{sessionlog.Unit, false})
		},
	}
	addOutput(cmd)
	return cmd
}
