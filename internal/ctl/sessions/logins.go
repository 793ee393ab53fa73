package sessions

import (
	"hash/maphash"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/ctl/sshlog"
)

// sshd adds a record of sshd that root wrote.
func (c *collector) sshd(b *boot, s *journal.SSHRecord) {
	if c.options.passes(s.Time, "") {
		c.report.sshds++
	}
	pid := s.Process().PID
	switch s.Meaning {
	case sshlog.Accepted:
		c.accepted(b.process(pid), s)
	case sshlog.Partial:
		p := b.process(pid)
		c.hear(p, s)
		if !certificate(s.KeyType) {
			p.partials = append(p.partials, text(s.Fingerprint))
		}
	case sshlog.Failed:
		p := b.processes[pid]
		if p == nil || len(p.offers) == 0 {
			c.bar(&heard{}, s)
		}
		if p == nil {
			return
		}
		c.hear(p, s)
		if s.Fingerprint != "" {
			p.failed = append(p.failed, text(s.Fingerprint))
		}
	case sshlog.KeyRefused, sshlog.UserRefused, sshlog.CommandFailed:
		p := b.processes[pid]
		if p == nil {
			p = b.process(pid)
			c.rest(p)
		}
		c.hear(p, s)
		c.bar(p.heard, s)
	case sshlog.Dropped:
		c.bar(&heard{}, s)
	case sshlog.GaveUp:
		p := b.process(pid)
		if s.Order < p.offered {
			return // of an earlier process of that pid, in a journal that was shipped twice
		}
		if p.session != nil || p.gone != nil && p.gone.User != "" {
			c.renew(p) // the pid is that of another process now
		}
		p.gone = s
		c.hear(p, s)
		if len(p.offers) > 0 {
			b.later(due{process: p, heard: p.heard})
		}
		c.rest(p)
	case sshlog.Closed:
		p := b.processes[pid]
		switch {
		case p == nil:
		// That of the process is the session's own; root's sessions have it
		// twice.
		case p.session != nil && p.session.User == text(s.User) && s.Order > p.session.id.order:
			c.hear(p, s)
			p.session.End, p.session.EndTold = &s.Time, ToldBySSHD
			if p.session.pushed {
				c.ended(p.session)
			}
		case p.session == nil:
			c.hear(p, s)
			p.within = s
			if len(p.offers) > 0 {
				b.later(due{process: p, heard: p.heard})
			}
		}
	default:
		if p := b.processes[pid]; p != nil {
			c.other(p, s)
		}
	}
}

// pamSession begins what PAM says in sshd's process of a session.
const pamSession = "pam_unix(sshd:session): "

// other takes a record that neither begins nor ends a login.
func (c *collector) other(p *process, s *journal.SSHRecord) {
	if s.Meaning == sshlog.Connected && s.Order > p.offered && (p.session == nil || s.Order > p.session.id.order) {
		c.renew(p) // the pid is that of another process now
		delete(p.boot.processes, p.pid)
		return
	}
	c.hear(p, s)
	switch s.Meaning {
	case sshlog.OptionsRefused:
		p.options = s
	case sshlog.AccountRefused:
		// What sshd says of it counts more than what a PAM module does.
		if p.account == nil || strings.Contains(s.Text, "Access denied") {
			p.account = s
		}
	case sshlog.Opened:
		if p.session == nil {
			p.within = s
		} else if strings.HasPrefix(s.Text, pamSession) {
			p.session.pam = true
		}
	case sshlog.SessionFailed:
		p.broken = s
	}
}

// bar keeps, for an answer, what kept sshd from asking for a key.
func (c *collector) bar(h *heard, s *journal.SSHRecord) {
	switch {
	case c.options.Wanted == nil || !c.options.passes(s.Time, ""):
	case s.Fingerprint != "":
		if c.options.Wanted(Key{Fingerprint: text(s.Fingerprint), FingerprintMD5: text(s.Fingerprint)}, "") {
			c.report.barred = append(c.report.barred, &bar{where: where(s.Origin), record: s, heard: h, exact: true})
		}
	case s.Meaning != sshlog.Failed:
		c.report.barred = append(c.report.barred, &bar{where: where(s.Origin), record: s, heard: h})
	}
	of := func(b *bar) bool { return b.record.Meaning == s.Meaning }
	n := 0
	for _, b := range c.report.barred {
		if of(b) {
			n++
		}
	}
	if n > maxBarred {
		i := slices.IndexFunc(c.report.barred, of)
		c.report.barred = slices.Delete(c.report.barred, i, i+1)
	}
}

// accepted takes it that somebody is in.
func (c *collector) accepted(p *process, s *journal.SSHRecord) {
	id := loginID{s.Process(), s.Order}
	if c.seen.add(maphash.Comparable(c.seen.seed, id)) {
		return // a journal that was shipped twice
	}
	if p.session != nil || p.gone != nil {
		c.renew(p) // the pid is that of another process now
	}
	fingerprint := s.Fingerprint
	if n := len(p.partials); s.Method != "publickey" && n > 0 {
		fingerprint = p.partials[n-1]
	}
	if certificate(s.KeyType) {
		// %f of a certificate is the fingerprint of its key, but a pushed key
		// lets no certificate in.
		fingerprint = ""
	}
	session := &Session{
		Where: where(s.Origin), Start: s.Time, User: text(s.User), Address: text(s.Address), Port: text(s.Port),
		id: id, boot: p.boot, clock: p.boot.clock, heard: p.heard,
	}
	if s.Method != "publickey" {
		session.Method = text(s.Method)
	} else if c.options.passes(session.Start, session.User) {
		session.counted = true
		c.report.OtherLogins++
	}
	session.setFingerprint(text(fingerprint))
	p.in, p.session = s, session
	c.hear(p, s)
	p.boot.connections[connectionOf(session)] = session
	for _, o := range p.offers {
		if fingerprint != "" && spells(session.User, o.User) && o.Key.is(session.Fingerprint, session.FingerprintMD5) {
			o.used, session.account = true, o.User
			c.entries--
			c.attach(session, o.Key, o.Push)
		}
	}
	p.offers = slices.DeleteFunc(p.offers, func(o *Offer) bool { return o.used })
	if session.pushed {
		c.begun(session)
	}
	if len(p.offers) > 0 {
		p.boot.later(due{process: p, heard: p.heard})
	}
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
	c.idle = append(c.idle, idle{p, p.session, p.heard})
	if len(c.idle) <= maxIdle {
		return
	}
	old := c.idle[0]
	c.idle = c.idle[1:]
	if old.session != nil && old.session.pushed {
		return
	}
	now := old.process
	if now.heard == old.heard && now.boot.processes[now.pid] == now && (now.gone != nil || now.session != nil || len(now.offers) == 0) {
		c.endOffers(now)
		delete(now.boot.processes, now.pid)
	}
	if old.session != nil {
		if at := connectionOf(old.session); now.boot.connections[at] == old.session {
			delete(now.boot.connections, at)
		}
	}
}

// attach notes that a push may have opened the session.
func (c *collector) attach(s *Session, key Key, push Push) {
	if known := s.find(push); known != nil {
		if push.WouldRefuse != "" {
			known.WouldRefuse = push.WouldRefuse
		}
		return // sshd asks twice
	}
	if !s.pushed {
		s.ID, s.Key, s.Push, s.pushed = s.id.name(), key, push, true
		c.entries++
		if s.counted {
			c.report.OtherLogins--
		}
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
	if common.WouldRefuse != push.WouldRefuse {
		common.WouldRefuse = ""
	}
	common.Request, common.Expires = "", nil
}

// hearsay records the end of a session as logged by its user's process, which can be
// forged. A record of root overrides it. The last one counts, so that a forged record
// cannot make a session look shorter than it was.
func (c *collector) hearsay(r *journal.SSHRecord) {
	b := c.boots[bootID{r.Machine, r.Boot}]
	if b == nil {
		return
	}
	s := b.connections[connection{text(r.User), text(r.Address), text(r.Port)}]
	if s == nil || s.final || s.EndTold == ToldBySSHD {
		return
	}
	switch {
	case !c.follows:
		s.End, s.EndTold = &r.Time, ToldByProcess
	case !s.pam && s.pushed: // nothing better will come
		s.End, s.EndTold = &r.Time, ToldByProcess
		c.ended(s)
	}
}

// begun takes it that a pushed key opened a session.
func (c *collector) begun(s *Session) {
	if c.begins != nil && c.options.passes(s.Start, s.User, s.callers()...) {
		c.begins(s)
	}
}

// ended takes it that a session that a pushed key opened has an end that stands.
func (c *collector) ended(s *Session) {
	if c.follows {
		c.endSession(s)
	}
	s.boot.later(due{session: s})
}

func (b *boot) process(pid uint64) *process {
	p := b.processes[pid]
	if p == nil {
		p = &process{pid: pid, boot: b, heard: &heard{}}
		b.processes[pid] = p
	}
	return p
}

// hear takes it that sshd said something of the process.
func (c *collector) hear(p *process, s *journal.SSHRecord) {
	p.records++
	if c.options.Transcript && len(p.lines) < maxLines {
		p.lines = append(p.lines, audit.Clean(s.Text, maxMessage))
	}
	if s.Address != "" && p.address == "" {
		p.address, p.port = text(s.Address), text(s.Port)
	}
}

func connectionOf(s *Session) connection {
	return connection{s.User, s.Address, s.Port}
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

// find returns the push of the session that is the same call, or nil.
func (s *Session) find(push Push) *Push {
	if i := slices.IndexFunc(s.Pushes, push.same); i >= 0 {
		return &s.Pushes[i]
	}
	if s.pushed && len(s.Pushes) == 0 && s.Push.same(push) {
		return &s.Push
	}
	return nil
}

func certificate(keyType string) bool { return strings.HasSuffix(keyType, "-CERT") }
