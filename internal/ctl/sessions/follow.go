package sessions

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/ctl/output"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// A Follower joins records as they are written, and tells of each session when it begins
// and when it ends.
type Follower struct{ c *collector }

// NewFollower returns a Follower that tells of what passes the filter. It calls opened and
// closed for each session once.
//
// Where sshd does without PAM, the first record of a session's own process ends it, which
// its user can write.
func NewFollower(trust journal.Trust, f Filter, opened, closed func(*Session)) *Follower {
	c := newCollector(trust, Options{Filter: f}, time.Now(), func(row output.Row) error {
		if s, ok := row.Value.(*Session); ok {
			closed(s)
		}
		return nil
	})
	c.follows, c.begins = true, opened
	return &Follower{c}
}

// Add takes the next record. The error says that more is open than can be kept.
func (f *Follower) Add(r *journal.Record) error {
	// A follower's own records are no events of the agent, but they show a new boot.
	if o, ok := r.OriginOf(audit.FollowerProgram); ok {
		f.c.boot(o, r.Clock())
		return nil
	}
	return f.c.add(r)
}

// A Snapshot is what a Follower knows at a place of the journal.
type Snapshot struct {
	Boots []bootSnapshot `json:"boots,omitempty"`
}

type bootSnapshot struct {
	Machine   string            `json:"machine"`
	Boot      string            `json:"boot"`
	Clock     time.Duration     `json:"clock"`
	Latest    bool              `json:"latest,omitempty"`
	Processes []processSnapshot `json:"processes,omitempty"`
	Consoles  []sessionSnapshot `json:"consoles,omitempty"`
}

type processSnapshot struct {
	PID       uint64           `json:"pid"`
	Offered   uint64           `json:"offered,omitempty"`
	LastOffer time.Duration    `json:"last_offer,omitempty"`
	Offers    []*Offer         `json:"offers,omitempty"`
	Session   *sessionSnapshot `json:"session,omitempty"`
}

type sessionSnapshot struct {
	*Session
	Order   uint64        `json:"order"`
	Clock   time.Duration `json:"clock"`
	Account string        `json:"account,omitempty"`
	PAM     bool          `json:"pam,omitempty"`
	Pushed  bool          `json:"pushed,omitempty"`
}

// maxKeyless is how many sessions without a pushed key a Snapshot has, the latest ones.
const maxKeyless = 256

// Snapshot returns what is open: sessions, offers, and the latest sessions without a
// pushed key, for an offer whose record is late.
func (f *Follower) Snapshot() Snapshot {
	var s Snapshot
	for _, b := range f.c.boots {
		boot := bootSnapshot{Machine: b.id.machine, Boot: b.id.boot, Clock: b.clock, Latest: f.c.latest[b.id.machine] == b}
		var keyless []processSnapshot
		for _, p := range b.processes {
			saved := processSnapshot{PID: p.pid, Offered: p.offered, LastOffer: p.lastOffer, Offers: p.offers}
			switch session := p.session; {
			case session == nil && (len(p.offers) == 0 || p.gone != nil), session != nil && session.final:
				continue
			case session != nil:
				saved.Offers, saved.Session = nil, session.snapshot()
				if !session.pushed && (b.clock-session.clock > settleTime || session.End != nil) {
					continue
				}
			}
			if saved.Session != nil && !saved.Session.Pushed {
				keyless = append(keyless, saved)
			} else {
				boot.Processes = append(boot.Processes, saved)
			}
		}
		slices.SortFunc(keyless, func(x, y processSnapshot) int { return cmp.Compare(y.Session.Clock, x.Session.Clock) })
		boot.Processes = append(boot.Processes, keyless[:min(len(keyless), maxKeyless)]...)
		slices.SortFunc(boot.Processes, func(x, y processSnapshot) int { return cmp.Compare(x.PID, y.PID) })
		for _, port := range slices.Sorted(maps.Keys(b.consoles)) {
			if session := b.consoles[port]; !session.final {
				boot.Consoles = append(boot.Consoles, *session.snapshot())
			}
		}
		s.Boots = append(s.Boots, boot)
	}
	slices.SortFunc(s.Boots, func(x, y bootSnapshot) int {
		return cmp.Or(cmp.Compare(x.Machine, y.Machine), cmp.Compare(x.Boot, y.Boot))
	})
	return s
}

func (s *Session) snapshot() *sessionSnapshot {
	return &sessionSnapshot{Session: s, Order: s.id.order, Clock: s.clock, Account: s.account, PAM: s.pam, Pushed: s.pushed}
}

// Restore has the Follower know what another one knew.
func (f *Follower) Restore(s Snapshot) {
	for _, saved := range s.Boots {
		b := f.c.newBoot(bootID{saved.Machine, saved.Boot})
		b.clock, b.swept = saved.Clock, saved.Clock
		if saved.Latest {
			f.c.latest[b.id.machine] = b
		}
		for _, p := range saved.Processes {
			process := b.process(p.PID)
			process.offered, process.lastOffer, process.offers = p.Offered, p.LastOffer, p.Offers
			for _, o := range p.Offers {
				o.heard, o.asked = process.heard, 1
				f.c.entries++
			}
			if p.Session != nil && p.Session.Session != nil {
				session := p.Session.restore(b)
				session.heard, process.session = process.heard, session
				b.connections[connectionOf(session)] = session
				if session.pushed {
					f.c.entries++
				} else {
					f.c.rest(process)
				}
			}
		}
		for _, console := range saved.Consoles {
			if console.Session != nil {
				session := console.restore(b)
				b.consoles[session.Port] = session
				f.c.entries++
			}
		}
	}
}

func (s *sessionSnapshot) restore(b *boot) *Session {
	session := s.Session
	session.boot, session.clock, session.account, session.pam, session.pushed = b, s.Clock, s.Account, s.PAM, s.Pushed
	session.id = loginID{journal.Process{Machine: b.id.machine, Boot: b.id.boot, PID: session.PID}, s.Order}
	return session
}

// reason returns the word for why a serial console was opened without a key, or why [users]
// would refuse one of the pushes.
func (s *Session) reason() string {
	word := cmp.Or(s.Reason, s.WouldRefuse)
	for _, p := range s.Pushes {
		word = cmp.Or(word, p.WouldRefuse)
	}
	return word
}

// Event returns what the follower tells of a session: kind is audit.SessionOpened or
// audit.SessionClosed. Where several pushes may have opened the session, caller and request
// have all of them, with " or " between them.
func (s *Session) Event(kind audit.Kind) audit.Event {
	e := audit.Event{
		Kind: kind, User: s.User, Fingerprint: s.Fingerprint, FingerprintMD5: s.FingerprintMD5, KeyType: s.Type, KeyBits: s.Bits, Reason: reason.Word(s.reason()),
		Caller: bare(either(s.Caller, s.Pushes, func(p Push) string { return p.Caller })), Request: bare(s.requestText()), Instance: s.Instance,
		Session: s.ID, HostName: s.Host, MachineID: s.Machine, BootID: s.Boot, Method: s.Method, Started: s.Start, Pushes: len(s.Pushes),
	}
	if s.Expires != nil {
		e.Expires = *s.Expires
	}
	who := e.Caller
	if who == "" {
		who = "an unnamed caller"
	}
	if s.Console {
		e.Port = s.Port
		e.Message = fmt.Sprintf("serial port %s opened with a key pushed by %s", s.Port, who)
		if s.Method == breakGlass {
			e.Message = fmt.Sprintf("serial port %s opened without a key (%s)", s.Port, s.Reason)
		}
	} else {
		e.SSHDPID, e.Address, e.AddressPort = int(s.PID), s.Address, s.Port
		e.Message = fmt.Sprintf("session of user %q from %s opened with a key pushed by %s", s.User, s.from(), who)
	}
	if kind == audit.SessionClosed {
		e.EndToldBy = s.EndTold
		if s.End != nil {
			e.Ended = *s.End
		}
		e.Message = strings.Replace(e.Message, " opened,", " closed, opened", 1)
		if s.Console {
			e.Message = fmt.Sprintf("serial port %s was closed, opened by %s", s.Port, who)
		}
	}
	return e
}
