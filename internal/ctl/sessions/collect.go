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
	"github.com/eic-agent/eic-agent/internal/ctl/sshlog"
)

// Bounds of what is kept. The journal may hold what a stranger had written to it.
const (
	maxEntries  = 200_000 // of a report
	maxIdle     = 4096    // processes without a pushed key that are remembered, for one whose record is late
	maxLines    = 20      // of sshd, for one entry
	maxBarred   = 5       // of each kind, the latest
	maxAccounts = 10      // that are noted one by one
	maxText     = 256
	maxCaller   = 1024
	maxMessage  = 1200
)

// A collector joins the records of eic-agent and sshd while they are read.
//
// The join is the process of sshd: the parent of eic-authkeys is the process that
// writes "Accepted publickey". A pid is used again, so that within one pid the
// key, the user and the order count too. Time only tells the order of two records
// of one process, which journald may have taken the wrong way round.
type collector struct {
	trust   journal.Trust
	options Options
	report  Report

	processes   map[journal.Process]*process
	connections map[connection]*Session
	consoles    map[console]*Session // the latest of each
	known       map[loginID]*Session // sessions with a pushed key
	seen        map[uint64]bool      // records of eic-agent, by a hash
	seed        maphash.Seed         // of it
	idle        []idle               // oldest first
	boots       map[string]string    // the latest of each machine
	entries     int
	most        int // entries

	unbelieved map[string]int // records that claim to be eic-agent's, by who wrote them
	lost       int            // notes of journald that it left records out
	lostLast   string
}

// A process is what is known of one of sshd's.
type process struct {
	id      journal.Process
	offers  []*Offer // that opened no session yet
	offered uint64   // the order of the last of them
	session *Session // of which there is one at most
	*heard
}

// renew is for a pid that is another process's now.
func (p *process) renew() { *p = process{id: p.id, heard: &heard{}} }

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
	id      journal.Process
	session *Session
	heard   *heard
}

// A connection is one between two hosts, while it is open.
type connection struct{ machine, boot, user, address, port string }

// A loginID names what sshd tells once, in a journal that was shipped twice as well.
type loginID struct {
	process journal.Process
	order   uint64
}

func newCollector(trust journal.Trust, o Options) *collector {
	return &collector{
		trust: trust, options: o, most: maxEntries,
		report:      Report{Sessions: []*Session{}, Unused: []*Offer{}, Unknown: []*Offer{}, Refusals: []*Refusal{}},
		processes:   make(map[journal.Process]*process),
		connections: make(map[connection]*Session),
		consoles:    make(map[console]*Session),
		known:       make(map[loginID]*Session),
		seen:        make(map[uint64]bool),
		seed:        maphash.MakeSeed(),
		boots:       make(map[string]string),
		unbelieved:  make(map[string]int),
	}
}

// add takes the next record.
func (c *collector) add(r journal.Record) error {
	if r.Text("MESSAGE_ID") == journal.Dropped && r.Text("_TRANSPORT") == "driver" {
		c.lost++
		c.lostLast = fmt.Sprintf("%s on %s: %s", r.Time().Format(time.RFC3339), text(r.Text("_HOSTNAME")), text(r.Text("MESSAGE")))
		return nil
	}
	if e, claimed := r.Agent(c.trust); e != nil {
		c.boots[text(e.Machine)] = text(e.Boot)
		if e.Lost > 0 {
			c.missing(fmt.Sprintf("%s on %s: neither journald nor syslog took %s of %s before that", e.Time.Format(time.RFC3339), text(e.Host), count(e.Lost, "record"), r.Text("SYSLOG_IDENTIFIER")))
		}
		c.event(e)
	} else if claimed {
		who := "an unknown uid"
		if uid, ok := r.Number("_UID"); ok {
			who = fmt.Sprintf("uid %d", uid)
		}
		c.unbelieved[who]++
	} else if s := r.SSHD(); s != nil {
		if s.Root() {
			c.boots[text(s.Machine)] = text(s.Boot)
			c.sshd(s)
		} else if s.Meaning == sshlog.Closed {
			c.hearsay(s)
		}
	}
	if c.entries > c.most {
		return &journal.Error{
			Sentence: fmt.Sprintf("there are more than %d sessions, offers and refusals", c.most),
			Hint:     "look at less of the journal, with --since, or at one host's",
		}
	}
	return nil
}

// finish returns the report. now stands for an open Until.
func (c *collector) finish(now time.Time) *Report {
	r, f := &c.report, c.options.Filter
	r.Since, r.Until = f.Since.UTC(), f.Until.UTC()
	if f.Until.IsZero() {
		r.Until = now.UTC()
	}
	for _, s := range r.Sessions {
		if s.End == nil && c.boots[s.Machine] != s.Boot {
			s.EndTold = ToldByBoot
		}
	}
	wanted := func(key Key, pushes ...Push) bool {
		return c.options.Wanted == nil || slices.ContainsFunc(pushes, func(p Push) bool { return c.options.Wanted(key, p.Request) })
	}
	r.Sessions = slices.DeleteFunc(r.Sessions, func(s *Session) bool {
		return !f.passes(s.Start, s.User, s.callers()...) && !f.passes(s.Start, cmp.Or(s.account, s.User), s.callers()...) || !wanted(s.Key, append(s.Pushes, s.Push)...)
	})
	r.Unused = slices.DeleteFunc(r.Unused, func(o *Offer) bool {
		return o.used || !f.passes(o.Time, o.User, o.Caller) || !wanted(o.Key, o.Push)
	})
	var unused []*Offer
	for _, o := range r.Unused {
		if o.judge(now) {
			unused = append(unused, o)
		} else {
			r.Unknown = append(r.Unknown, o)
		}
	}
	r.Unused = append([]*Offer{}, unused...)
	r.Refusals = slices.DeleteFunc(r.Refusals, func(o *Refusal) bool {
		return !f.passes(o.Time, o.User, o.Caller) || !wanted(o.Key, o.Push)
	})
	slices.SortStableFunc(r.Sessions, func(a, b *Session) int { return a.Start.Compare(b.Start) })
	r.Notes = append(r.Notes, c.unbelievedNotes()...)
	if c.lost > 0 {
		r.Missing = append(r.Missing, fmt.Sprintf("journald left records out: it said so %s, last at %s", count(c.lost, "time"), c.lostLast))
	}
	return r
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
	all := 0
	for _, who := range slices.Sorted(maps.Keys(c.unbelieved)) {
		n := c.unbelieved[who]
		all += n
		notes = append(notes, fmt.Sprintf("%s claiming to be eic-agent's not believed: %s wrote it", count(n, "record"), who))
	}
	if len(notes) > maxAccounts {
		return []string{fmt.Sprintf("%s claiming to be eic-agent's not believed: %s wrote them", count(all, "record"), count(len(notes), "account"))}
	}
	return notes
}

func where(o journal.Origin) Where {
	return Where{text(o.Host), text(o.Machine), text(o.Boot), o.PID}
}

func text(s string) string { return audit.Clean(s, maxText) }

// count writes n of what has a plural in s.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
