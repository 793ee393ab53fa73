package sessions

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/ctl/output"
	"github.com/eic-agent/eic-agent/internal/ctl/sshlog"
)

// Bounds of what is kept. The journal may hold what a stranger had written to it.
const (
	maxEntries  = 200_000 // sessions, offers and refusals that are kept at a time
	maxIdle     = 4096    // processes without a pushed key that are remembered, for one whose record is late
	maxLines    = 20      // of sshd, for one entry
	maxBarred   = 5       // of each kind, the latest
	maxAccounts = 10      // that are noted one by one
	maxUIDs     = 4096    // that are distinguished
	maxText     = 256
	maxCaller   = 1024
	maxMessage  = 1200
)

// The kinds of rows that a collector emits.
const (
	kindSession = "session" // a *Session
	kindConsole = "console" // a *Session
	kindUnused  = "unused"  // an *Offer
	kindUnknown = "unknown" // an *Offer
	kindRefusal = "refusal" // a *Refusal
)

// A collector joins the records of eic-agent and sshd while they are read, and emits each
// session, offer and refusal as soon as no further record is expected to change it.
//
// The join is the process of sshd: the parent of eic-authkeys is the process that
// writes "Accepted publickey". A pid is used again, so that within one pid the
// key, the user and the order count too. Time only tells the order of two records
// of one process, which journald may have stored in the wrong order.
type collector struct {
	trust   journal.Trust
	options Options
	now     time.Time
	emit    func(output.Row) error
	err     error // the first of emit
	// keeps says that what is emitted is kept.
	keeps bool
	// follows says that the beginning and the end of a session are reported at once.
	follows bool
	begins  func(*Session) // called where a session begins, unless it is nil
	report  Report         // but for what is emitted

	boots    map[bootID]*boot
	latest   map[string]*boot // of each machine
	seen     recent           // records that came twice in a journal that was shipped twice
	refusals []*Refusal       // the latest
	idle     []idle           // oldest first
	ordered  bool             // the records come in the order of time, which is certain for one machine only
	records  int              // that were read
	entries  int              // that are kept
	most     int              // entries

	unbelieved map[uint64]int // records that claim to be eic-agent's, by the uid that wrote them
	unowned    int            // those of an unknown uid
	lost       int            // notes of journald that it left records out
	lostLast   string         // the latest of them
	lostAt     time.Time
}

// A process is what is known of one of sshd's.
type process struct {
	pid     uint64
	boot    *boot
	offers  []*Offer // that opened no session yet
	offered uint64   // the order of the last of them
	// lastOffer is when it was made, by the boot's clock.
	lastOffer time.Duration
	session   *Session // of which there is one at most
	*heard
}

// heard is what sshd said of one connection.
type heard struct {
	records int
	lines   []string // for an answer

	address, port string
	gone          *journal.SSHRecord // the connection ended without a login
	in            *journal.SSHRecord // somebody came in
	within        *journal.SSHRecord // a session without a record of how it was opened
	account       *journal.SSHRecord // the account was refused
	options       *journal.SSHRecord // a key was refused by its options
	broken        *journal.SSHRecord // a session could not begin
	partials      []string           // fingerprints of keys that were one of several methods
	failed        []string           // fingerprints of keys that an attempt failed with
}

// An idle process has no pushed key, or is over.
type idle struct {
	process *process
	session *Session
	heard   *heard
}

func newCollector(trust journal.Trust, o Options, now time.Time, emit func(output.Row) error) *collector {
	return &collector{
		trust: trust, options: o, now: now, emit: emit, most: maxEntries,
		boots:      make(map[bootID]*boot),
		latest:     make(map[string]*boot),
		seen:       recent{seed: maphash.MakeSeed()},
		unbelieved: make(map[uint64]int),
	}
}

// add takes the next record.
func (c *collector) add(r *journal.Record) error {
	if r.Text("MESSAGE_ID") == journal.Dropped {
		if r.Text("_TRANSPORT") == "driver" {
			c.lost++
			if r.Time().Before(c.lostAt) {
				return nil
			}
			c.lostAt = r.Time()
			c.lostLast = fmt.Sprintf("%s on %s: %s", r.Time().Format(time.RFC3339), text(r.Text("_HOSTNAME")), text(r.Text("MESSAGE")))
		}
		return nil
	}
	if e, claimed := r.Agent(c.trust); e != nil {
		b := c.boot(e.Origin, r.Clock())
		if e.Lost > 0 {
			c.missing(fmt.Sprintf("%s on %s: neither journald nor syslog accepted %s of %s before that", e.Time.Format(time.RFC3339), text(e.Host), output.Count(e.Lost, "record"), r.Identifier()))
		}
		c.event(b, e)
	} else if claimed {
		c.disbelieve(r)
	} else if s := r.SSHD(); s != nil {
		if s.Root() {
			c.sshd(c.boot(s.Origin, r.Clock()), s)
		} else if s.Meaning == sshlog.Closed {
			c.hearsay(s)
		}
	}
	if c.entries > c.most && c.err == nil {
		c.err = &journal.Error{
			Sentence: fmt.Sprintf("more than %d sessions, offers and refusals", c.most),
			Hint:     "limit the report with --since, --until or to one host; --output jsonl and csv need less memory",
		}
	}
	return c.err
}

// disbelieve counts a record that somebody else than eic-agent wrote in its name.
func (c *collector) disbelieve(r *journal.Record) {
	uid, ok := r.Number("_UID")
	if _, known := c.unbelieved[uid]; !ok || !known && len(c.unbelieved) >= maxUIDs {
		c.unowned++
		return
	}
	c.unbelieved[uid]++
}

// finish emits what is left, and returns the report without what was emitted.
func (c *collector) finish() (*Report, error) {
	c.endAll()
	r, f := &c.report, c.options.Filter
	r.Since, r.Until = f.Since.UTC(), f.Until.UTC()
	if f.Until.IsZero() {
		r.Until = c.now.UTC()
	}
	r.Notes = append(r.Notes, c.unbelievedNotes()...)
	if c.lost > 0 {
		r.Missing = append(r.Missing, fmt.Sprintf("journald suppressed messages: logged %s, last at %s", output.Count(c.lost, "time"), c.lostLast))
	}
	return r, c.err
}

// put emits a row.
func (c *collector) put(kind string, value any) {
	if !c.keeps {
		c.entries--
	}
	if c.err == nil && c.emit != nil {
		c.err = c.emit(output.Row{Kind: kind, Value: value})
	}
}

// endSession emits a session that no further record changes.
func (c *collector) endSession(s *Session) {
	if s.final || !s.pushed {
		return
	}
	s.final = true
	f := c.options.Filter
	if !f.passes(s.Start, s.User, s.callers()...) && !f.passes(s.Start, cmp.Or(s.account, s.User), s.callers()...) || !c.wanted(s.Key, append(s.Pushes, s.Push)...) {
		c.entries--
		return
	}
	if s.Console {
		c.put(kindConsole, s)
	} else {
		c.put(kindSession, s)
	}
}

// endOffer emits an offer that opened no session, and that no further record changes.
func (c *collector) endOffer(o *Offer) {
	if o.used || o.final {
		return
	}
	o.final = true
	switch {
	case !c.options.passes(o.Time, o.User, o.Caller) || !c.wanted(o.Key, o.Push):
		c.entries--
	case o.judge(c.now):
		c.put(kindUnused, o)
	default:
		c.put(kindUnknown, o)
	}
}

func (c *collector) wanted(key Key, pushes ...Push) bool {
	return c.options.Wanted == nil || slices.ContainsFunc(pushes, func(p Push) bool { return c.options.Wanted(key, p.Request) })
}

// missing notes that records are missing.
func (c *collector) missing(what string) {
	if len(c.report.Missing) < maxLines {
		c.report.Missing = append(c.report.Missing, what)
	}
}

// unbelievedNotes has a note for each account that wrote such records, or one for
// all: a person may have thousands of uids.
func (c *collector) unbelievedNotes() (notes []string) {
	note := func(n int, who string) {
		notes = append(notes, fmt.Sprintf("%s claiming to be eic-agent's ignored: %s", output.Count(n, "record"), who))
	}
	all := c.unowned
	for _, uid := range slices.Sorted(maps.Keys(c.unbelieved)) {
		n := c.unbelieved[uid]
		all += n
		note(n, fmt.Sprintf("uid %d wrote it", uid))
	}
	if c.unowned > 0 {
		note(c.unowned, "an unknown uid wrote it")
	}
	if len(notes) > maxAccounts {
		accounts := len(notes)
		notes = nil
		note(all, output.Count(accounts, "account")+" wrote them")
	}
	return notes
}

func where(o journal.Origin) Where {
	return Where{text(o.Host), text(o.Machine), text(o.Boot), o.PID}
}

func text(s string) string { return audit.Clean(s, maxText) }
