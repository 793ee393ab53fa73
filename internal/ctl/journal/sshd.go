package journal

import (
	"slices"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/sshlog"
)

// An SSHRecord is a record of sshd.
type SSHRecord struct {
	Origin
	Time  time.Time
	Order uint64 // in which the records of a host were sent
	Text  string
	sshlog.Message
}

// sshdPrograms are the programs that write sshd's records: since OpenSSH 9.8
// sshd-session does for a connection.
func sshdPrograms() []string { return sshdNames[:] }

var sshdNames = [...]string{"sshd", "sshd-session", "sshd-auth"}

// Root reports whether root wrote the record. The process that serves a session
// runs as its user, and writes the last records of it: those the user could have
// written, or anybody.
func (s *SSHRecord) Root() bool { return s.UID == 0 }

// Process is the one that the record is about: the one that wrote it, or the one
// that the listener speaks of. That a process of a session has a child for its user
// is still about that process.
func (s *SSHRecord) Process() Process {
	p := s.Origin.Process()
	if pid := s.Message.PID; pid != 0 && s.Meaning != sshlog.Opened {
		p.PID = pid
	}
	return p
}

// SSHD reads a record of sshd, or returns nil for any other.
func (r *Record) SSHD() *SSHRecord {
	if !slices.Contains(sshdPrograms(), r.Identifier()) {
		return nil
	}
	o, ok := r.origin()
	if !ok || !r.ranAs(sshdPrograms()...) {
		return nil
	}
	text := string(r.bytes(fieldMessage))
	return &SSHRecord{Origin: o, Time: r.Time(), Order: r.order(), Text: text, Message: sshlog.Parse(text)}
}
