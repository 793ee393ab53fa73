package sessions

import (
	"hash/maphash"
	"slices"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// event takes a record of eic-agent.
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
	case audit.KeyProvided:
		if e.Fingerprint != "" && e.SSHDPID != 0 {
			c.provided(e, key, push)
		}
	case audit.RecordRefused:
		c.refused(e, key, push)
	case audit.RunFailed:
		c.failed(&c.report.Failed, e)
	case audit.GateOpened, audit.GateBrokenGlass:
		c.opened(e, key, push)
	case audit.GateClosed:
		if s := c.consoles[consoleOf(e)]; s != nil && s.End == nil {
			s.End, s.EndTold = &e.Time, ToldByGate
		}
	case audit.GateRefused:
		c.refused(e, key, push)
	case audit.GateFailed:
		// The getty that was to follow did not.
		if s := c.consoles[consoleOf(e)]; s != nil && s.End == nil && e.Reason == reason.GettyFailed {
			s.End, s.EndTold = &e.Time, ToldByGate
		}
		c.failed(&c.report.FailedGates, e)
	}
}

// failed counts what could not be done, by reason.
func (c *collector) failed(counts *map[string]int, e *journal.Event) {
	if !c.options.passes(e.Time, e.User, "") {
		return
	}
	word := "other"
	if slices.Contains(reason.All(), e.Reason) {
		word = string(e.Reason)
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
	if e.Kind == audit.GateBrokenGlass {
		s.Method, s.Reason = breakGlass, text(string(e.Reason))
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
		p.renew() // the pid is that of another process now
	case s != nil:
		if spells(s.User, text(e.User)) && key.is(s.Fingerprint, s.FingerprintMD5) {
			s.account = text(e.User)
			c.attach(s, key, push)
			return
		}
	}
	p.offered = max(p.offered, e.Order)
	for _, o := range p.offers {
		if o.User == text(e.User) && o.Fingerprint == key.Fingerprint && o.Push.same(push) {
			o.asked++
			return
		}
	}
	p.offers = append(p.offers, c.offer(p, e, key, push))
}

func (c *collector) offer(p *process, e *journal.Event, key Key, push Push) *Offer {
	w := where(e.Origin)
	w.PID = p.id.PID
	o := &Offer{Where: w, Time: e.Time, User: text(e.User), Key: key, Push: push, asked: 1, heard: p.heard}
	c.entries++
	c.report.Unused = append(c.report.Unused, o)
	return o
}

func (c *collector) refused(e *journal.Event, key Key, push Push) {
	w := where(e.Origin)
	w.PID = uint64(e.SSHDPID)
	n := len(c.report.Refusals)
	for _, r := range c.report.Refusals[max(0, n-maxLines):] {
		if r.Where == w && r.Reason == text(string(e.Reason)) && r.User == text(e.User) && r.Fingerprint == key.Fingerprint && key.Fingerprint != "" && r.Push.same(push) {
			return // sshd asks twice
		}
	}
	c.entries++
	c.report.Refusals = append(c.report.Refusals, &Refusal{
		Where: w, Time: e.Time, Reason: text(string(e.Reason)), User: text(e.User), Message: audit.Clean(e.Message, maxMessage), Key: key, Push: push,
	})
}
