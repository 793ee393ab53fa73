package sessions

import (
	"hash/maphash"
	"slices"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// event takes a record of eic-agent.
func (c *collector) event(b *boot, e *journal.Event) {
	if c.seen.add(maphash.Comparable(c.seen.seed, *e)) {
		return // a journal that was shipped twice
	}
	c.report.agents++
	key := Key{text(e.Fingerprint), text(e.FingerprintMD5), text(e.KeyType), e.KeyBits}
	push := Push{Caller: audit.Clean(e.Caller, maxCaller), Request: text(e.Request), Instance: text(e.Instance)}
	if !e.Expires.IsZero() {
		push.Expires = &e.Expires
	}
	switch e.Kind {
	case audit.KeyProvided:
		if e.Fingerprint != "" && e.SSHDPID != 0 {
			c.provided(b, e, key, push)
		}
	case audit.WouldRefuse:
		push.WouldRefuse = text(string(e.Reason))
		switch {
		case e.Fingerprint != "" && e.SSHDPID != 0:
			c.provided(b, e, key, push)
		case e.Port != "":
			b.trials[text(e.Port)] = push
		}
	case audit.RecordRefused:
		c.refused(e, key, push)
	case audit.RunFailed:
		c.failed(&c.report.Failed, e)
	case audit.GateOpened, audit.GateBrokenGlass:
		c.opened(b, e, key, push)
	case audit.GateClosed:
		c.closed(b, e)
	case audit.GateRefused:
		c.refused(e, key, push)
	case audit.GateFailed:
		// The getty that was to follow did not.
		if e.Reason == reason.GettyFailed {
			c.closed(b, e)
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

// opened takes it that a serial console was opened.
func (c *collector) opened(b *boot, e *journal.Event, key Key, push Push) {
	s := &Session{Where: where(e.Origin), Start: e.Time, User: text(e.User), Port: text(e.Port), Console: true, Key: key, Push: push, boot: b, pushed: true}
	s.id = loginID{e.Origin.Process(), e.Order}
	s.ID = s.id.name()
	if e.Kind == audit.GateBrokenGlass {
		s.Method, s.Reason = breakGlass, text(string(e.Reason))
	}
	if trial := b.trials[s.Port]; e.Kind == audit.GateOpened && trial.same(push) {
		s.WouldRefuse = trial.WouldRefuse
	}
	delete(b.trials, s.Port)
	c.entries++
	if earlier := b.consoles[s.Port]; earlier != nil {
		c.replaced(earlier)
	}
	b.consoles[s.Port] = s
	c.begun(s)
}

// closed takes it that the gate shut a serial console.
func (c *collector) closed(b *boot, e *journal.Event) {
	if s := b.consoles[text(e.Port)]; s != nil && s.End == nil {
		s.End, s.EndTold = &e.Time, ToldByGate
		c.ended(s)
	}
}

// provided takes it that sshd was given a key.
func (c *collector) provided(b *boot, e *journal.Event, key Key, push Push) {
	p := b.process(uint64(e.SSHDPID))
	s := p.session
	switch {
	case s != nil && e.Order > s.id.order, p.gone != nil && e.Order > p.gone.Order:
		c.renew(p) // the pid is that of another process now
	case s != nil:
		if spells(s.User, text(e.User)) && key.is(s.Fingerprint, s.FingerprintMD5) {
			late := !s.pushed
			s.account = text(e.User)
			c.attach(s, key, push)
			if late {
				c.begun(s)
			}
			if late && s.EndTold == ToldBySSHD {
				c.ended(s)
			}
			return
		}
	}
	p.offered = max(p.offered, e.Order)
	for _, o := range p.offers {
		if o.User == text(e.User) && o.Fingerprint == key.Fingerprint && o.Push.same(push) {
			if push.WouldRefuse != "" { // the second event of a grant
				o.WouldRefuse = push.WouldRefuse
			} else {
				o.asked++
			}
			return
		}
	}
	p.offers = append(p.offers, c.offer(p, e, key, push))
}

func (c *collector) offer(p *process, e *journal.Event, key Key, push Push) *Offer {
	w := where(e.Origin)
	w.PID = p.pid
	o := &Offer{Where: w, Time: e.Time, User: text(e.User), Key: key, Push: push, asked: 1, heard: p.heard}
	c.entries++
	p.lastOffer = p.boot.clock
	if p.gone != nil || p.session != nil { // the record is late
		p.boot.later(due{process: p, heard: p.heard})
	}
	return o
}

func (c *collector) refused(e *journal.Event, key Key, push Push) {
	w := where(e.Origin)
	w.PID = uint64(e.SSHDPID)
	r := &Refusal{
		Where: w, Time: e.Time, Reason: text(string(e.Reason)), User: text(e.User), Message: audit.Clean(e.Message, maxMessage), Key: key, Push: push,
	}
	if slices.ContainsFunc(c.refusals, r.same) {
		return // sshd asks twice
	}
	if len(c.refusals) == maxLines {
		c.refusals = c.refusals[1:]
	}
	c.refusals = append(c.refusals, r)
	if c.options.passes(r.Time, r.User, r.Caller) && c.wanted(r.Key, r.Push) {
		c.entries++
		c.put(kindRefusal, r)
	}
}

// same reports whether both are of one record, for one process of sshd.
func (r *Refusal) same(other *Refusal) bool {
	return r.Where == other.Where && r.Reason == other.Reason && r.User == other.User && r.Fingerprint == other.Fingerprint && r.Fingerprint != "" && r.Push.same(other.Push)
}
