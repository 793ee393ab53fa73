package sessions

import (
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
)

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

func connectionOf(s *Session) connection {
	return connection{s.Machine, s.Boot, s.User, s.Address, s.Port}
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
