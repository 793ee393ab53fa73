// Package sessions answers `eicctl audit`: which sessions of sshd were opened with
// a pushed key, and who pushed it; which offers came to nothing; what was refused.
// Nothing is concluded from a record that is not there: what came of an offer is
// unknown unless a record tells.
package sessions

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
)

// A Report is what the journal tells. No text in it has control characters.
type Report struct {
	Since    time.Time  `json:"since"`
	Until    time.Time  `json:"until"`
	Sessions []*Session `json:"sessions"`
	// Unused are offers of which a record says that they opened no session, Unknown
	// those whose outcome no record tells.
	Unused   []*Offer   `json:"unused"`
	Unknown  []*Offer   `json:"unknown"`
	Refusals []*Refusal `json:"refusals"`
	// Failed counts the runs of eic-authkeys that could not determine what was
	// pushed, by reason.
	Failed map[string]int `json:"failed_runs,omitempty"`
	// FailedGates counts how often a serial console stayed locked because of a
	// fault, by reason.
	FailedGates map[string]int `json:"failed_gates,omitempty"`
	// OtherLogins counts logins by a key of which no record says that eic-agent gave
	// it. They are not counted where the filter narrows what is read.
	OtherLogins int `json:"other_logins"`
	// Spans say from when on the journal of each host has records.
	Spans []Span `json:"spans,omitempty"`
	// Missing says which records are missing or may be, and why.
	Missing []string `json:"missing,omitempty"`
	// Notes say what else there is to know.
	Notes []string `json:"notes,omitempty"`

	logins []*login
	barred []*bar
	agents int // records of eic-agent
	sshds  int // records of sshd
}

// A Span is the time that the journal of a host can tell of: it may go back less far
// than what was asked for.
type Span struct {
	Host    string    `json:"host"`
	Machine string    `json:"machine"`
	From    time.Time `json:"from"`
}

// A bar is what kept sshd from asking eic-agent for a key.
type bar struct {
	where  Where
	record *journal.SSHRecord
	heard  *heard
	exact  bool // it is about the key that is asked about
}

// Where is the host of a record.
type Where struct {
	Host    string `json:"host"`
	Machine string `json:"machine"`
	Boot    string `json:"boot"`
	PID     uint64 `json:"pid"` // of sshd
}

// A Key is an SSH public key.
type Key struct {
	Fingerprint    string `json:"fingerprint,omitempty"`
	FingerprintMD5 string `json:"fingerprint_md5,omitempty"`
	Type           string `json:"key_type,omitempty"`
	Bits           int    `json:"key_bits,omitempty"` // of an RSA key
}

// A Push is one call of the API, as AWS signed it.
type Push struct {
	Caller   string     `json:"caller,omitempty"`
	Request  string     `json:"request,omitempty"`
	Instance string     `json:"instance,omitempty"`
	Expires  *time.Time `json:"expires,omitempty"`
	// WouldRefuse is the reason for which [users] would have refused the key: it was
	// granted because enforce is false.
	WouldRefuse string `json:"would_refuse,omitempty"`
	// Trail is what CloudTrail has of the call.
	Trail *Trail `json:"cloudtrail,omitempty"`
}

// How the end of a session is known.
const (
	ToldBySSHD    = "sshd"    // root's process, which can be believed
	ToldByProcess = "process" // a process of the user, who could have made it up
	ToldByBoot    = "boot"    // the host was started again, at an unknown time after
	ToldByGate    = "gate"    // which hung the serial console up
	// Only a follower tells of this end: the process ID or the serial port was used
	// again, so that the session ended at an unknown time before.
	ToldByReuse = "reuse"
)

// breakGlass is the method of a serial console that was opened without a key.
const breakGlass = "break-glass"

// A Session is one login with a pushed key that sshd accepted, or a serial console
// that the gate opened: with a pushed key, or without one as configured while the
// metadata service cannot be reached.
type Session struct {
	// ID names the session: it is the same each time the journal is read.
	ID string `json:"id"`
	Where
	Start   time.Time  `json:"start"`
	End     *time.Time `json:"end,omitempty"`
	EndTold string     `json:"end_told_by,omitempty"` // "": no end is recorded
	User    string     `json:"user"`
	Address string     `json:"address,omitempty"`
	Port    string     `json:"port,omitempty"`
	Console bool       `json:"console,omitempty"` // on the serial port of that number
	Method  string     `json:"method,omitempty"`  // the last, where the key was one of several, or break-glass
	Reason  string     `json:"reason,omitempty"`  // of break-glass
	Key
	// Push is the only one that there was, or what all have in common.
	Push
	// Pushes has all of them where the same key was pushed more than once:
	// nothing says which of them opened the session.
	Pushes []Push `json:"pushes,omitempty"`

	id      loginID
	account string // for which sshd asked for keys, where the login was by another spelling
	boot    *boot
	clock   time.Duration // of the boot, when it began
	pam     bool          // root's process has recorded its beginning, and will its end
	pushed  bool          // a pushed key opened it, or it is a console
	final   bool          // emitted
	counted bool          // among the other logins, while it is not pushed
	heard   *heard
}

// An Offer is a pushed key that sshd was given, and that no record says opened a
// session.
type Offer struct {
	Where
	Time    time.Time `json:"time"`
	User    string    `json:"user"`
	Address string    `json:"address,omitempty"`
	Port    string    `json:"port,omitempty"`
	// Outcome is what sshd logged of the end of the connection.
	Outcome string `json:"outcome,omitempty"`
	// Causes are what may have become of it: one of them, and only one where the
	// records leave no other.
	Causes []Cause `json:"causes"`
	Key
	Push

	asked int // how often sshd asked for it, as far as there are records
	used  bool
	final bool // emitted
	heard *heard
}

// A Refusal is a record that yielded no key. Its key, caller and request are
// unverified claims, except with the reason caller-not-mapped.
type Refusal struct {
	Where
	Time    time.Time `json:"time"`
	Reason  string    `json:"reason"`
	User    string    `json:"user"`
	Message string    `json:"message"`
	Key
	Push
}

// A login is one with the key that is looked for, and that the agent had no part in.
type login struct {
	Where
	Time        time.Time
	User        string
	Address     string
	Fingerprint string
	Certificate bool
}

// A loginID names what sshd tells once, in a journal that was shipped twice as well.
type loginID struct {
	process journal.Process
	order   uint64
}

// name returns an ID of 32 hexadecimal digits.
func (id loginID) name() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "eic-session %s %s %d %d", id.process.Machine, id.process.Boot, id.process.PID, id.order))
	return hex.EncodeToString(sum[:16])
}

// A Filter selects what is reported. The zero Filter selects everything.
type Filter struct {
	Since, Until time.Time // zero: open. A session counts by its start.
	User         string    // a pattern of the shell, "" for all
	Caller       string    // a pattern as in [[users.map]], "" for all
}

// Check says what is wrong with a pattern.
func (f Filter) Check() error {
	if f.Caller != "" {
		if err := config.CheckCaller(f.Caller); err != nil {
			return err
		}
	}
	if f.User != "" {
		return config.CheckUser(f.User)
	}
	return nil
}

func (f Filter) passes(t time.Time, user string, callers ...string) bool {
	if t.Before(f.Since) || (!f.Until.IsZero() && !t.Before(f.Until)) {
		return false
	}
	if f.User != "" {
		if ok, err := config.MatchUser(f.User, user); err != nil || !ok {
			return false
		}
	}
	for _, caller := range callers {
		if f.Caller == "" || config.MatchCaller(f.Caller, caller) {
			return true
		}
	}
	return f.Caller == ""
}

func (s *Session) callers() []string {
	callers := []string{s.Caller}
	for _, p := range s.Pushes {
		callers = append(callers, p.Caller)
	}
	return callers
}
