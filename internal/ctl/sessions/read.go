package sessions

import (
	"context"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/journal"
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
	report.Notes = append(report.Notes, warnings...)
	return report, nil
}
