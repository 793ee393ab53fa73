package sessions

import (
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// Bounds of what is kept. The journal may hold what a stranger had written to it.
const (
	maxEntries  = 200_000 // of a report
	maxIdle     = 4096    // processes without a pushed key that are remembered, for one whose record is late
	maxLines    = 20      // of sshd, for one entry
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
	idle        []process            // without a pushed key, or over, oldest first
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
	offers  []*Offer           // that opened no session yet
	offered uint64             // the order of the last of them
	session *Session           // of which there is one at most
	gone    *journal.SSHRecord // where the connection ended without one
	partial string             // fingerprint of a key that was one of several methods
	lines   []string
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
		report:      Report{Sessions: []*Session{}, Unused: []*Offer{}, Refusals: []*Refusal{}},
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
	if r.Text("MESSAGE_ID") == dropped && r.Text("_TRANSPORT") == "driver" {
		c.lost++
		c.lostLast = fmt.Sprintf("%s on %s: %s", r.Time().Format(time.RFC3339), text(r.Text("_HOSTNAME")), text(r.Text("MESSAGE")))
		return nil
	}
	if e, claimed := r.Agent(c.trust); e != nil {
		c.boots[text(e.Machine)] = text(e.Boot)
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
		} else if s.Phase == journal.Closed {
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

func (c *collector) event(e *journal.Event) {
	hash := maphash.Comparable(c.seed, *e)
	if c.seen[hash] {
		return // a journal that was shipped twice
	}
	c.seen[hash] = true
	c.report.agents++
	key := Key{text(e.Fingerprint), text(e.FingerprintMD5), text(e.KeyType)}
	push := Push{Caller: audit.Clean(e.Caller, maxCaller), Request: text(e.Request), Instance: text(e.Instance)}
	if !e.Expires.IsZero() {
		push.Expires = &e.Expires
	}
	switch e.Kind {
	case string(audit.KeyProvided):
		if e.Fingerprint != "" && e.SSHDPID != 0 {
			c.provided(e, key, push)
		}
	case string(audit.RecordRefused):
		c.refused(e, key, push)
	case string(audit.RunFailed):
		c.failed(&c.report.Failed, e)
	case string(audit.GateOpened), string(audit.GateBrokenGlass):
		c.opened(e, key, push)
	case string(audit.GateClosed):
		if s := c.consoles[consoleOf(e)]; s != nil && s.End == nil {
			s.End, s.EndTold = &e.Time, ToldByGate
		}
	case string(audit.GateRefused):
		c.refused(e, key, push)
	case string(audit.GateFailed):
		c.failed(&c.report.FailedGates, e)
	}
}

// failed counts what could not be done, by reason.
func (c *collector) failed(counts *map[string]int, e *journal.Event) {
	if !c.options.passes(e.Time, e.User, "") {
		return
	}
	word := "other"
	if slices.Contains(reason.All(), reason.Word(e.Reason)) {
		word = e.Reason
	}
	if *counts == nil {
		*counts = make(map[string]int)
	}
	(*counts)[word]++
}

// A console is a serial port of a host.
type console struct{ machine, boot, port string }

func consoleOf(e *journal.Event) console { return console{e.Machine, e.Boot, e.Port} }

// opened takes it that a serial console was opened.
func (c *collector) opened(e *journal.Event, key Key, push Push) {
	s := &Session{Where: where(e.Origin), Start: e.Time, User: text(e.User), Port: text(e.Port), Console: true, Key: key, Push: push}
	if e.Kind == string(audit.GateBrokenGlass) {
		s.Method, s.Reason = breakGlass, text(e.Reason)
	}
	c.entries++
	c.report.Sessions = append(c.report.Sessions, s)
	c.consoles[consoleOf(e)] = s
}

// provided takes it that sshd was given a key.
func (c *collector) provided(e *journal.Event, key Key, push Push) {
	p := c.process(e.SSHD())
	s := p.session
	switch {
	case s != nil && e.Order > s.id.order, p.gone != nil && e.Order > p.gone.Order:
		*p = process{id: p.id} // the pid is that of another process now
	case s != nil:
		if s.User == text(e.User) && key.is(s.Fingerprint, s.FingerprintMD5) {
			c.attach(s, key, push)
		} else {
			c.offer(p, e, key, push).end(s.Address, s.Port, "")
		}
		return
	}
	p.offered = max(p.offered, e.Order)
	for _, o := range p.offers {
		if o.User == text(e.User) && o.Fingerprint == key.Fingerprint && o.Push.same(push) {
			return
		}
	}
	p.offers = append(p.offers, c.offer(p, e, key, push))
	if p.gone != nil {
		p.end()
	}
}

// end notes with the offers how the connection ended.
func (p *process) end() {
	for _, o := range p.offers {
		if p.gone.User == "" || o.User == text(p.gone.User) {
			o.end(text(p.gone.Address), text(p.gone.Port), audit.Clean(p.gone.Message, maxMessage))
			o.lines = p.lines
		}
	}
}

func (o *Offer) end(address, port, outcome string) {
	o.Address, o.Port, o.Outcome = address, port, outcome
}

func (c *collector) offer(p *process, e *journal.Event, key Key, push Push) *Offer {
	w := where(e.Origin)
	w.PID = p.id.PID
	o := &Offer{Where: w, Time: e.Time, User: text(e.User), Key: key, Push: push}
	c.entries++
	c.report.Unused = append(c.report.Unused, o)
	return o
}

func (c *collector) refused(e *journal.Event, key Key, push Push) {
	w := where(e.Origin)
	w.PID = e.SSHDPID
	n := len(c.report.Refusals)
	for _, r := range c.report.Refusals[max(0, n-maxLines):] {
		if r.Where == w && r.Reason == text(e.Reason) && r.User == text(e.User) && r.Fingerprint == key.Fingerprint && key.Fingerprint != "" && r.Push.same(push) {
			return // sshd asks twice
		}
	}
	c.entries++
	c.report.Refusals = append(c.report.Refusals, &Refusal{
		Where: w, Time: e.Time, Reason: text(e.Reason), User: text(e.User), Message: audit.Clean(e.Message, maxMessage), Key: key, Push: push,
	})
}

// sshd takes a record that root wrote.
func (c *collector) sshd(s *journal.SSHRecord) {
	switch s.Phase {
	case journal.Accepted:
		c.accepted(s)
	case journal.Partial:
		p := c.process(s.Process())
		c.hear(p, s.Message)
		if !certificate(s.KeyType) {
			p.partial = s.Fingerprint
		}
	case journal.GaveUp:
		p := c.process(s.Process())
		if s.Order < p.offered {
			return // of an earlier process of that pid, in a journal that was shipped twice
		}
		if p.session != nil || p.gone != nil {
			*p = process{id: p.id} // the pid is that of another process now
		}
		p.gone = s
		c.hear(p, s.Message)
		p.end()
		c.rest(p)
	case journal.Closed:
		// That of the process is the session's own; root's sessions have it
		// twice.
		if p := c.processes[s.Process()]; p != nil && p.session != nil && p.session.User == text(s.User) && s.Order > p.session.id.order {
			c.hear(p, s.Message)
			p.session.End, p.session.EndTold = &s.Time, ToldBySSHD
		}
	default:
		p := c.processes[s.Process()]
		switch {
		case p == nil:
		case strings.HasPrefix(s.Message, "Connection from ") && s.Order > p.offered:
			delete(c.processes, p.id) // the pid is that of another process now
		default:
			c.hear(p, s.Message)
		}
	}
}

// accepted takes it that somebody is in.
func (c *collector) accepted(s *journal.SSHRecord) {
	p := c.process(s.Process())
	switch {
	case p.session != nil && p.session.id.order == s.Order:
		return // a journal that was shipped twice
	case c.known[loginID{p.id, s.Order}] != nil:
		*p = process{id: p.id, session: c.known[loginID{p.id, s.Order}]} // likewise, and the pid was used again since
		return
	case p.session != nil, p.gone != nil:
		*p = process{id: p.id} // the pid is that of another process now
	}
	fingerprint := s.Fingerprint
	if s.Method != "publickey" {
		fingerprint = p.partial
	}
	if certificate(s.KeyType) {
		// %f of a certificate is the fingerprint of its key, but a pushed key
		// lets no certificate in.
		fingerprint = ""
	}
	session := &Session{
		Where: where(s.Origin), Start: s.Time, User: text(s.User), Address: text(s.Address), Port: text(s.Port),
		id: loginID{p.id, s.Order},
	}
	if s.Method != "publickey" {
		session.Method = text(s.Method)
	}
	session.setFingerprint(text(fingerprint))
	for _, o := range p.offers {
		if fingerprint != "" && o.User == session.User && o.Key.is(session.Fingerprint, session.FingerprintMD5) {
			o.used = true
			c.attach(session, o.Key, o.Push)
			continue
		}
		o.end(session.Address, session.Port, audit.Clean(s.Message, maxMessage))
	}
	p.session, p.partial = session, ""
	c.hear(p, s.Message)
	p.offers = nil
	c.connections[connectionOf(session)] = session
	if !session.pushed {
		c.rest(p)
	}
	if c.options.Wanted != nil && !session.pushed && s.Fingerprint != "" && len(c.report.logins) < maxLines && c.options.passes(session.Start, session.User) &&
		c.options.Wanted(Key{Fingerprint: s.Fingerprint, FingerprintMD5: s.Fingerprint}, "") {
		c.report.logins = append(c.report.logins, &login{session.Where, session.Start, session.User, session.Address, text(s.Fingerprint), certificate(s.KeyType)})
	}
}

// rest forgets, in the end, a process that no pushed key let in.
func (c *collector) rest(p *process) {
	c.idle = append(c.idle, process{id: p.id, session: p.session, gone: p.gone})
	if len(c.idle) <= maxIdle {
		return
	}
	old := c.idle[0]
	c.idle = c.idle[1:]
	if old.session != nil && old.session.pushed {
		return
	}
	if now := c.processes[old.id]; now != nil && now.session == old.session && now.gone == old.gone {
		delete(c.processes, old.id)
	}
	if old.session == nil {
		return
	}
	if at := connectionOf(old.session); c.connections[at] == old.session {
		delete(c.connections, at)
	}
}

// attach notes that a push may be what the session is owed to.
func (c *collector) attach(s *Session, key Key, push Push) {
	if s.has(push) {
		return // sshd asks twice
	}
	if !s.pushed {
		s.Key, s.Push, s.pushed = key, push, true
		c.entries++
		c.report.Sessions = append(c.report.Sessions, s)
		c.known[s.id] = s
		return
	}
	if len(s.Pushes) == 0 {
		s.Pushes = []Push{s.Push}
	}
	s.Pushes = append(s.Pushes, push)
	common := &s.Push
	if common.Caller != push.Caller {
		common.Caller = ""
	}
	common.Request, common.Expires = "", nil
}

// hearsay takes it that a session has ended from the process of its user, or from
// whoever poses as one. What root says stands above it. The last word counts, so
// that nobody can have a session seem shorter than it was by a record beforehand.
func (c *collector) hearsay(r *journal.SSHRecord) {
	s := c.connections[connection{text(r.Machine), text(r.Boot), text(r.User), text(r.Address), text(r.Port)}]
	if s != nil && s.EndTold != ToldBySSHD {
		s.End, s.EndTold = &r.Time, ToldByProcess
	}
}

func (c *collector) process(id journal.Process) *process {
	p := c.processes[id]
	if p == nil {
		p = &process{id: id}
		c.processes[id] = p
	}
	return p
}

// hear keeps what sshd says for whatever the process is about.
func (c *collector) hear(p *process, message string) {
	if !c.options.Transcript || len(p.lines) >= maxLines {
		return
	}
	p.lines = append(p.lines, audit.Clean(message, maxMessage))
	for _, o := range p.offers {
		o.lines = p.lines
	}
	if p.session != nil {
		p.session.lines = p.lines
	}
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
		return !f.passes(s.Start, s.User, s.callers()...) || !wanted(s.Key, append(s.Pushes, s.Push)...)
	})
	r.Unused = slices.DeleteFunc(r.Unused, func(o *Offer) bool {
		return o.used || !f.passes(o.Time, o.User, o.Caller) || !wanted(o.Key, o.Push)
	})
	r.Refusals = slices.DeleteFunc(r.Refusals, func(o *Refusal) bool {
		return !f.passes(o.Time, o.User, o.Caller) || !wanted(o.Key, o.Push)
	})
	slices.SortStableFunc(r.Sessions, func(a, b *Session) int { return a.Start.Compare(b.Start) })
	r.Notes = append(r.Notes, c.unbelievedNotes()...)
	if c.lost > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("journald left records out, so that something may be missing: it said so %s, last at %s", count(c.lost, "time"), c.lostLast))
	}
	return r
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

func connectionOf(s *Session) connection {
	return connection{s.Machine, s.Boot, s.User, s.Address, s.Port}
}

func where(o journal.Origin) Where {
	return Where{text(o.Host), text(o.Machine), text(o.Boot), o.PID}
}

func (s *Session) setFingerprint(f string) {
	if strings.HasPrefix(f, "MD5:") {
		s.FingerprintMD5 = f
	} else {
		s.Fingerprint = f
	}
}

// is reports whether one of the fingerprints is the key's.
func (k Key) is(sha256, md5 string) bool {
	return (sha256 != "" && sha256 == k.Fingerprint) || (md5 != "" && md5 == k.FingerprintMD5)
}

// same reports whether both are one call of the API.
func (p Push) same(other Push) bool {
	if p.Request != "" || other.Request != "" {
		return p.Request == other.Request
	}
	return p.Caller == other.Caller && (p.Expires == nil) == (other.Expires == nil) && (p.Expires == nil || p.Expires.Equal(*other.Expires))
}

func (s *Session) has(push Push) bool {
	if len(s.Pushes) > 0 {
		return slices.ContainsFunc(s.Pushes, push.same)
	}
	return s.pushed && s.Push.same(push)
}

func certificate(keyType string) bool { return strings.HasSuffix(keyType, "-CERT") }

func text(s string) string { return audit.Clean(s, maxText) }

// count writes n of what has a plural in s.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
