package journal

import (
	"slices"
	"strings"
	"time"
)

// A Phase is what a record of sshd is about.
type Phase int

const (
	// Other is everything that is not one of the others.
	Other Phase = iota
	// Partial: the client passed one of several methods.
	Partial
	// Accepted: the client is in.
	Accepted
	// GaveUp: the connection ended before anybody was in.
	GaveUp
	// Closed: a session has ended.
	Closed
)

// An SSHRecord is a record of sshd.
type SSHRecord struct {
	Origin
	Time    time.Time
	Order   uint64 // in which the records of a host were sent
	Message string

	Phase       Phase
	Method      string // publickey, password, ...
	User        string
	Address     string
	Port        string
	KeyType     string // ED25519, RSA, ..., with -CERT for a certificate
	Fingerprint string
}

// sshdPrograms are the programs that write sshd's records: since OpenSSH 9.8
// sshd-session does for a connection.
func sshdPrograms() []string { return []string{"sshd", "sshd-session", "sshd-auth"} }

// Root reports whether root wrote the record. The process that serves a session
// runs as its user, and writes the last records of it: those the user could have
// written, or anybody.
func (s *SSHRecord) Root() bool { return s.UID == 0 }

// SSHD reads a record of sshd, or returns nil for any other.
func (r Record) SSHD() *SSHRecord {
	if !slices.Contains(sshdPrograms(), r.Text("SYSLOG_IDENTIFIER")) {
		return nil
	}
	o, ok := r.origin()
	if !ok || !r.ranAs(sshdPrograms()...) {
		return nil
	}
	s := &SSHRecord{Origin: o, Time: r.Time(), Order: r.order(), Message: r.Text("MESSAGE")}
	s.parse()
	return s
}

// parse takes the message apart. The forms are those of auth.c, packet.c and
// monitor.c of OpenSSH 7.4 to 10, and of pam_unix.
func (s *SSHRecord) parse() {
	message := s.Message
	first, rest, _ := strings.Cut(message, " ")
	switch {
	case first == "Accepted":
		s.parseLogin(Accepted, rest)
	case first == "Partial":
		s.parseLogin(Partial, rest)
	case strings.HasPrefix(message, "pam_"):
		if _, user, ok := strings.Cut(message, "(sshd:session): session closed for user "); ok {
			s.Phase, s.User = Closed, user
		}
	default:
		for _, prefix := range []string{"Connection closed by ", "Connection reset by ", "Disconnected from ", "Disconnecting ", "Timeout, client not responding from "} {
			if rest, ok := strings.CutPrefix(message, prefix); ok {
				s.parseEnd(rest)
				return
			}
		}
	}
}

// parseLogin reads `METHOD for USER from ADDRESS port PORT ssh2[: TYPE
// FINGERPRINT[ ID ...]]`.
func (s *SSHRecord) parseLogin(phase Phase, rest string) {
	method, rest, ok1 := strings.Cut(rest, " for ")
	user, rest, ok2 := strings.Cut(rest, " from ")
	address, rest, ok3 := strings.Cut(rest, " port ")
	port, rest, ok4 := strings.Cut(rest, " ssh2")
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return
	}
	s.Phase, s.Method, s.User, s.Address, s.Port = phase, method, user, address, port
	if method == "publickey" {
		key := strings.Fields(strings.TrimPrefix(rest, ":"))
		if len(key) >= 2 {
			s.KeyType, s.Fingerprint = key[0], key[1]
		}
	}
}

// parseEnd reads `[authenticating |invalid ]user USER ADDRESS port PORT[: why][
// [preauth]]`, and `ADDRESS port PORT [preauth]` without a user, as it is before
// OpenSSH 7.5 and before a client has named one.
func (s *SSHRecord) parseEnd(rest string) {
	phase := Closed
	if after, ok := strings.CutPrefix(rest, "authenticating "); ok {
		phase, rest = GaveUp, after
	}
	words := strings.Fields(rest)
	if len(words) == 4 && words[1] == "port" && words[3] == "[preauth]" {
		s.Phase, s.Address, s.Port = GaveUp, words[0], words[2]
		return
	}
	if len(words) < 5 || words[0] != "user" || words[3] != "port" {
		return
	}
	s.Phase, s.User, s.Address, s.Port = phase, words[1], words[2], strings.TrimSuffix(words[4], ":")
}
