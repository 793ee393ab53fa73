// Package audit logs what the agent granted or refused, and why: to the
// journal, to syslog where there is no journal, and to the person at a
// terminal. It owns the schema of these records: Encode writes them and Decode reads
// them; package sessions of eicctl joins them with sshd's. Logging never fails a
// login. A daemon that hangs delays one by a few milliseconds; one that is slow is
// waited for, within the login's deadline.
package audit

import (
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/eic-agent/eic-agent/internal/reason"
)

// A Kind is one kind of event. EIC_EVENT holds its name.
type Kind string

const (
	// KeyProvided: a verified key was given to sshd. It does not mean that
	// anybody logged in with it.
	KeyProvided Kind = "key-provided"
	// RecordRefused: one record yielded no key; others may have.
	RecordRefused Kind = "record-refused"
	// WouldRefuse: a key was granted that [users] would refuse, because
	// [users] enforce is false. The event of the grant is another.
	WouldRefuse Kind = "would-refuse"
	// RunFailed: the run cannot determine which keys were pushed.
	RunFailed Kind = "run-failed"
	// GateOpened: a verified key opened a serial console, where the getty now
	// asks for name and password. It does not mean that anybody logged in.
	GateOpened Kind = "gate-opened"
	// GateRefused: Enter was pressed on a serial console, and it stays locked.
	GateRefused Kind = "gate-refused"
	// GateFailed: it is unknown whether a serial console may be
	// opened, or opening it failed; it stays locked.
	GateFailed Kind = "gate-failed"
	// GateBrokenGlass: a serial console was opened without a key, because the
	// metadata service is unavailable and the configuration allows that.
	GateBrokenGlass Kind = "gate-broken-glass"
	// GateClosed: an open serial console was hung up.
	GateClosed Kind = "gate-closed"
	// ChainFailed: the keys of a command of [chain] were not used. Our own do
	// not depend on it.
	ChainFailed Kind = "chain-failed"
	// SessionOpened: a pushed key opened a session of sshd, or a serial console was
	// opened. The follower of eicctl logs it, as it does the next two.
	SessionOpened Kind = "session-opened"
	// SessionClosed: a session with a SessionOpened event has ended.
	SessionClosed Kind = "session-closed"
	// SessionsFollowed: the follower has started; Session is a token of this start.
	SessionsFollowed Kind = "sessions-followed"
	// NothingToSay: there is no key. It is shown on a terminal
	// and not logged.
	NothingToSay Kind = "nothing-provided"
)

// messageID returns the MESSAGE_ID under which systemd/eic-agent.catalog
// explains k, or "" for a kind that is never recorded. The ids never change.
func (k Kind) messageID() string {
	switch k {
	case KeyProvided:
		return "2ea351bf60cd4858a07618f84059970c"
	case RecordRefused:
		return "d3f3e9e3267641ce8988f1b110a99273"
	case WouldRefuse:
		return "f20c60705c7e47b680d5ba0ea4292e0f"
	case RunFailed:
		return "921cf56ca6714e04adb10d1bc6e7eda9"
	case GateOpened:
		return "341d997e394d4ebc8709b1527729d34f"
	case GateRefused:
		return "11b97cc2ca9c46e68aa738378d5640a5"
	case GateFailed:
		return "a0f2aed3871f4b32afd0a0c9cfa43f94"
	case GateBrokenGlass:
		return "c1069f665ce24b72a5317e1aee5a1243"
	case GateClosed:
		return "94b6830ff44344cea9471df3c744e5f0"
	case ChainFailed:
		return "2e1b85c3734c4b60a1cf3d35e23c5618"
	case SessionOpened:
		return "5b7d0b6f3a3f4b0c8d2ae3a6b1c94e71"
	case SessionClosed:
		return "c1f0c9a4d7a94b51a3e8605f2b7d1e36"
	case SessionsFollowed:
		return "8e4a2d93f6b14c7fb05d9a17c3e2608b"
	}
	return ""
}

// level returns the severity of k. A kind that is not on the list is an error,
// so that it is seen.
func (k Kind) level() zapcore.Level {
	switch k {
	case KeyProvided, GateOpened, GateClosed, SessionOpened, SessionClosed, SessionsFollowed:
		return zapcore.InfoLevel
	case RecordRefused, WouldRefuse, GateRefused, ChainFailed:
		return zapcore.WarnLevel
	case GateBrokenGlass:
		return zapcore.DPanicLevel // crit
	case NothingToSay:
		return zapcore.DebugLevel
	}
	return zapcore.ErrorLevel
}

// An Event is one log entry. Every string may be untrusted: it is
// bounded and sanitized before it is sent. Empty fields are omitted.
type Event struct {
	Kind    Kind
	Message string // one sentence, without the program's name
	Reason  reason.Word

	User           string
	Fingerprint    string // SHA-256
	FingerprintMD5 string
	KeyType        string
	KeyBits        int    // of an RSA key
	Caller         string // the signed IAM principal
	Request        string // the signed API request id
	Instance       string
	Port           string
	Expires        time.Time
	SSHDPID        int // the pid of sshd's own record of the login

	// These are of sessions alone.
	Session     string    // its ID, which stays the same
	HostName    string    // on which it is
	MachineID   string    // machine ID of the host
	BootID      string    // boot ID of the host then
	Address     string    // of the client
	AddressPort string    // of the client
	Method      string    // the last one, where the key was one of several; or break-glass
	Started     time.Time // with microseconds
	Ended       time.Time // with microseconds; zero: unknown
	EndToldBy   string    // source of Ended, see package sessions of eicctl
	Pushes      int       // number of pushes that the session may belong to, if several

	// Lost counts earlier events that neither journald nor syslog took. Log
	// sets it.
	Lost int
}

// Bounds in bytes. Together they keep a record far below what one datagram
// carries: a record that does not fit would go through a file in /dev/shm.
const (
	maxMessage = 1024 // a sentence that quotes part of the input
	maxCaller  = 1024 // an ARN has at most about 700: 512 of path, 64 of name, 64 of session
	maxValue   = 256  // everything else: ids, fingerprints, user names
)
