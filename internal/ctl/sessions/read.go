package sessions

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/ctl/logs"
)

// A Source is the journal that is read.
type Source struct {
	Directory string // "": the journal of this host
	Trust     journal.Trust
}

// Options say what is taken from the journal.
type Options struct {
	Filter
	// Wanted selects the keys that are looked for; nil: all.
	Wanted func(key Key, request string) bool
	// Transcript keeps what sshd said besides.
	Transcript bool
}

// lead is how long before the first session the journal is read from: sshd asks
// for a key before the login, which may take as long as sshd's LoginGraceTime.
const lead = time.Hour

// Join makes the report of records in the order in which journald took them.
func Join(records iter.Seq[journal.Record], trust journal.Trust, o Options, now time.Time) (*Report, error) {
	c := newCollector(trust, o)
	for r := range records {
		if err := c.add(r); err != nil {
			return nil, err
		}
	}
	return c.finish(now), nil
}

// Read reads the journal from an hour before o.Since to its end, since a session
// may end later than o.Until. now stands for an open Until.
func Read(ctx context.Context, source Source, o Options, now time.Time) (*Report, error) {
	c := newCollector(source.Trust, o)
	q := journal.Query{
		Directory: source.Directory,
		Matches: []string{
			"SYSLOG_IDENTIFIER=eic-authkeys", "SYSLOG_IDENTIFIER=eic-serial-getty",
			"SYSLOG_IDENTIFIER=sshd", "SYSLOG_IDENTIFIER=sshd-session", "SYSLOG_IDENTIFIER=sshd-auth",
			"+", "MESSAGE_ID=" + journal.Dropped,
		},
	}
	if !o.Since.IsZero() {
		q.Since = o.Since.Add(-lead)
	}
	warnings, err := journal.Read(ctx, q, c.add)
	if err != nil {
		return nil, err
	}
	report := c.finish(now)
	// A damaged file is one.
	report.Missing = append(report.Missing, warnings...)
	report.spans(ctx, source)
	return report, nil
}

// spans notes since when the journal has records, and, of this host, what keeps
// records out of it.
func (r *Report) spans(ctx context.Context, source Source) {
	starts, complete, err := journal.Starts(ctx, source.Directory)
	switch {
	case err != nil:
		r.Missing = append(r.Missing, "since when the journal has records is not known: "+text(err.Error()))
	case !complete:
		r.Missing = append(r.Missing, fmt.Sprintf("since when the journal has records is known of %d machines only", len(starts)))
	}
	for _, s := range starts {
		r.Spans = append(r.Spans, Span{text(s.Host), text(s.Machine), s.Time})
	}
	if source.Directory != "" {
		return
	}
	for _, gap := range logs.Gaps(ctx, "/") {
		r.Missing = append(r.Missing, fmt.Sprintf("%s: %s", audit.Clean(gap.What, maxMessage), audit.Clean(gap.Fix, maxMessage)))
	}
}
