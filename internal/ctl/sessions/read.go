package sessions

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/ctl/logs"
	"github.com/eic-agent/eic-agent/internal/ctl/output"
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
	// Progress is called with the time of each record, unless it is nil.
	Progress func(time.Time)
}

// Lead is how long before the first session the journal is read from: sshd asks
// for a key before the login, which may take as long as sshd's LoginGraceTime.
const Lead = time.Hour

// Join makes the report of records in the order in which journald took them.
func Join(records iter.Seq[*journal.Record], trust journal.Trust, o Options, now time.Time) (*Report, error) {
	var k keeper
	c := k.collector(trust, o, now)
	for r := range records {
		if err := c.add(r); err != nil {
			return nil, err
		}
	}
	return k.report(c.finish())
}

// Read reads the journal from an hour before o.Since to its end, since a session
// may end later than o.Until. now stands for an open Until.
func Read(ctx context.Context, source Source, o Options, now time.Time) (*Report, error) {
	var k keeper
	return k.report(read(ctx, source, o, k.collector(source.Trust, o, now)))
}

// Stream reads the journal as Read does, and hands over each session, offer and refusal
// as a row, as soon as no further record is expected to change it: a session two minutes
// after it ended, by the clock of its host. It returns what is left of the report. What
// it keeps in memory are the sessions that are open at a time.
func Stream(ctx context.Context, source Source, o Options, now time.Time, emit func(output.Row) error) (*Report, error) {
	return read(ctx, source, o, newCollector(source.Trust, o, now, emit))
}

// Matches are journalctl's for the records that are joined.
func Matches() []string {
	return []string{
		"SYSLOG_IDENTIFIER=eic-authkeys", "SYSLOG_IDENTIFIER=eic-serial-getty",
		"SYSLOG_IDENTIFIER=sshd", "SYSLOG_IDENTIFIER=sshd-session", "SYSLOG_IDENTIFIER=sshd-auth",
		"+", "MESSAGE_ID=" + journal.Dropped,
	}
}

// starts are what journal.Starts returns.
type starts struct {
	list     []journal.Start
	complete bool
	err      error
}

// errDone ends the reading where nothing that follows is asked for.
var errDone = errors.New("done")

func read(ctx context.Context, source Source, o Options, c *collector) (*Report, error) {
	q := journal.Query{
		Directory: source.Directory,
		Matches:   Matches(),
	}
	if !o.Since.IsZero() {
		q.Since = o.Since.Add(-Lead)
	}
	found, err := narrow(ctx, &q, source.Trust, o.Filter)
	if err != nil {
		return nil, err
	}
	// Beside the reading: in a directory of many hosts it takes a journalctl a while.
	ctx, cancel := context.WithCancel(ctx)
	begun := make(chan starts, 1)
	go func() {
		list, complete, err := journal.Starts(ctx, source.Directory)
		begun <- starts{list, complete, err}
		close(begun)
	}()
	defer func() {
		cancel()
		<-begun
	}()
	var warnings []string
	if found {
		c.ordered = source.Directory == ""
		warnings, err = journal.Read(ctx, q, c.step)
		if err != nil && !errors.Is(err, errDone) {
			return nil, err
		}
	}
	report, err := c.finish()
	if err != nil {
		return nil, err
	}
	if o.narrows() {
		report.OtherLogins = 0
		report.Notes = append(report.Notes, "logins with other keys were not counted: with --user NAME and --caller only hosts and periods with messages of eic-agent about them are read")
	}
	// A damaged file is one.
	report.Missing = append(report.Missing, warnings...)
	report.spans(ctx, source, <-begun)
	return report, nil
}

// step takes the next record of a journal.
func (c *collector) step(r *journal.Record) error {
	if c.options.Progress != nil {
		c.options.Progress(r.Time())
	}
	if c.records++; c.ordered && c.records%1024 == 0 && !c.options.Until.IsZero() && r.Time().After(c.options.Until.Add(Lead)) && !c.isOpen() {
		return errDone
	}
	return c.add(r)
}

// isOpen reports whether something has begun before Until that a further record may
// change.
func (c *collector) isOpen() bool {
	for _, b := range c.boots {
		for _, p := range b.processes {
			if s := p.session; s != nil && s.pushed && !s.final && s.Start.Before(c.options.Until) ||
				slices.ContainsFunc(p.offers, func(o *Offer) bool { return o.Time.Before(c.options.Until) }) {
				return true
			}
		}
		for _, s := range b.consoles {
			if !s.final && s.Start.Before(c.options.Until) {
				return true
			}
		}
	}
	return false
}

// A keeper keeps for a report what a collector emits.
type keeper struct {
	sessions        []*Session
	unused, unknown []*Offer
	refusals        []*Refusal
}

func (k *keeper) collector(trust journal.Trust, o Options, now time.Time) *collector {
	c := newCollector(trust, o, now, func(row output.Row) error {
		switch value := row.Value.(type) {
		case *Session:
			k.sessions = append(k.sessions, value)
		case *Refusal:
			k.refusals = append(k.refusals, value)
		case *Offer:
			if row.Kind == kindUnused {
				k.unused = append(k.unused, value)
			} else {
				k.unknown = append(k.unknown, value)
			}
		}
		return nil
	})
	c.keeps = true
	return c
}

// report adds to a report what was kept, in the order of time.
func (k *keeper) report(r *Report, err error) (*Report, error) {
	if err != nil {
		return nil, err
	}
	byTime := func(a, b *Offer) int { return a.Time.Compare(b.Time) }
	r.Sessions = append([]*Session{}, k.sessions...)
	r.Unused = append([]*Offer{}, k.unused...)
	r.Unknown = append([]*Offer{}, k.unknown...)
	r.Refusals = append([]*Refusal{}, k.refusals...)
	slices.SortStableFunc(r.Sessions, func(a, b *Session) int { return a.Start.Compare(b.Start) })
	slices.SortStableFunc(r.Unused, byTime)
	slices.SortStableFunc(r.Unknown, byTime)
	slices.SortStableFunc(r.Refusals, func(a, b *Refusal) int { return a.Time.Compare(b.Time) })
	return r, nil
}

// spans notes since when the journal has records, and, of this host, what keeps
// records out of it.
func (r *Report) spans(ctx context.Context, source Source, begun starts) {
	switch {
	case begun.err != nil:
		r.Missing = append(r.Missing, "the start of the journal is unknown: "+text(begun.err.Error()))
	case !begun.complete:
		r.Missing = append(r.Missing, fmt.Sprintf("the start of the journal is known for %d machines only", len(begun.list)))
	}
	for _, s := range begun.list {
		r.Spans = append(r.Spans, Span{text(s.Host), text(s.Machine), s.Time})
	}
	if source.Directory != "" {
		return
	}
	for _, gap := range logs.Gaps(ctx, "/") {
		r.Missing = append(r.Missing, fmt.Sprintf("%s: %s", audit.Clean(gap.What, maxMessage), audit.Clean(gap.Fix, maxMessage)))
	}
}
