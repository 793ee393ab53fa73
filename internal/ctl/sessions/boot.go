package sessions

import (
	"cmp"
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/journal"
)

const (
	// settleTime is how long, by the host's own clock, a record may be late: journald
	// reads from several sockets, and eic-authkeys waits for one that is slow.
	settleTime = 2 * time.Minute
	// offerTime is how long an offer waits for a record of what came of it.
	offerTime = 24 * time.Hour
	// sweepTime is how often it is looked for offers that have waited.
	sweepTime = time.Hour
)

// A bootID names the time between two starts of a machine.
type bootID struct{ machine, boot string }

// A boot is what is kept of a machine between two starts.
type boot struct {
	id          bootID
	clock       time.Duration // of the last record
	processes   map[uint64]*process
	connections map[connection]*Session
	consoles    map[string]*Session // the latest of each port
	trials      map[string]Push     // of each port, a push that [users] would refuse, which opens it next
	due         []due               // the oldest first
	swept       time.Duration       // when offers were looked through, by clock
}

// A connection is one between two hosts, while it is open.
type connection struct{ user, address, port string }

// A due is what has to be done at a time: emit a session, emit the offers of a process
// and forget it, or end an earlier boot.
type due struct {
	at      time.Duration
	session *Session
	process *process
	heard   *heard // the process's then
	earlier *boot
}

// boot returns that of a record, after what is due by its clock was done.
func (c *collector) boot(o journal.Origin, clock time.Duration) *boot {
	id := bootID{o.Machine, o.Boot}
	b := c.boots[id]
	if b == nil {
		b = c.newBoot(id)
	}
	b.clock = max(b.clock, clock)
	if earlier := c.latest[id.machine]; earlier != b {
		c.latest[id.machine] = b
		switch {
		case earlier == nil:
		case c.follows:
			c.end(earlier)
		default:
			b.later(due{earlier: earlier})
		}
	}
	for len(b.due) > 0 && b.due[0].at <= b.clock {
		d := b.due[0]
		b.due = b.due[1:]
		c.settle(b, d)
	}
	if b.clock-b.swept > sweepTime {
		b.swept = b.clock
		for _, p := range b.processes {
			if len(p.offers) > 0 && p.session == nil && b.clock-p.lastOffer > offerTime {
				c.settle(b, due{process: p, heard: p.heard})
			}
		}
	}
	return b
}

func (c *collector) newBoot(id bootID) *boot {
	b := &boot{
		id: id, processes: make(map[uint64]*process),
		connections: make(map[connection]*Session), consoles: make(map[string]*Session), trials: make(map[string]Push),
	}
	c.boots[id] = b
	return b
}

func (b *boot) later(d due) {
	d.at = b.clock + settleTime
	b.due = append(b.due, d)
}

// settle does what is due.
func (c *collector) settle(b *boot, d due) {
	switch {
	case d.earlier != nil:
		if c.latest[b.id.machine] != d.earlier {
			c.end(d.earlier)
		}
	case d.session != nil:
		c.endSession(d.session)
		c.forget(d.session)
	case d.process.heard == d.heard:
		c.endOffers(d.process)
		if d.process.session == nil && b.processes[d.process.pid] == d.process {
			delete(b.processes, d.process.pid)
		}
	}
}

// forget forgets the process of a session, and its connection or console.
func (c *collector) forget(s *Session) {
	b := s.boot
	if p := b.processes[s.PID]; !s.Console && p != nil && p.session == s {
		c.endOffers(p)
		delete(b.processes, s.PID)
	}
	if at := connectionOf(s); b.connections[at] == s {
		delete(b.connections, at)
	}
	if b.consoles[s.Port] == s {
		delete(b.consoles, s.Port)
	}
}

func (c *collector) endOffers(p *process) {
	for _, o := range p.offers {
		c.endOffer(o)
	}
	p.offers = nil
}

// renew is for a pid that is another process's now.
func (c *collector) renew(p *process) {
	if s := p.session; s != nil {
		c.replaced(s)
	}
	c.endOffers(p)
	*p = process{pid: p.pid, boot: p.boot, heard: &heard{}}
}

// replaced emits a session whose pid or port is another session's now.
func (c *collector) replaced(s *Session) {
	if s.End == nil && c.follows {
		s.EndTold = ToldByReuse
	}
	c.endSession(s)
}

// end emits what is left of a boot, and forgets it.
func (c *collector) end(b *boot) {
	var sessions []*Session
	for _, p := range b.processes {
		c.endOffers(p)
		if p.session != nil {
			sessions = append(sessions, p.session)
		}
	}
	for _, d := range b.due {
		if d.session != nil {
			sessions = append(sessions, d.session)
		}
		if d.process != nil {
			c.endOffers(d.process)
		}
	}
	sessions = slices.AppendSeq(sessions, maps.Values(b.consoles))
	slices.SortStableFunc(sessions, func(x, y *Session) int { return x.Start.Compare(y.Start) })
	for _, s := range sessions {
		if s.End == nil && !s.final && c.latest[b.id.machine] != b {
			s.EndTold = ToldByBoot
		}
		c.endSession(s)
	}
	delete(c.boots, b.id)
}

// endAll emits what is left.
func (c *collector) endAll() {
	boots := slices.Collect(maps.Values(c.boots))
	slices.SortFunc(boots, func(x, y *boot) int {
		return cmp.Or(cmp.Compare(x.id.machine, y.id.machine), cmp.Compare(x.id.boot, y.id.boot))
	})
	for _, b := range boots {
		c.end(b)
	}
}

// recent remembers what was seen lately, by a hash: the last 65,536 for certain, and
// up to twice as many.
type recent struct {
	seed         maphash.Seed
	young, older map[uint64]struct{}
}

const maxRecent = 1 << 16

// add reports whether a value was seen before.
func (r *recent) add(hash uint64) (seen bool) {
	_, young := r.young[hash]
	_, older := r.older[hash]
	if young || older {
		return true
	}
	if len(r.young) >= maxRecent {
		r.older, r.young = r.young, nil
	}
	if r.young == nil {
		r.young = make(map[uint64]struct{})
	}
	r.young[hash] = struct{}{}
	return false
}
