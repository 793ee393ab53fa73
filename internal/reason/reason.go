// Package reason defines the words for the reasons why a pushed key was
// refused or why a run failed. The journal (EIC_REASON), the test
// vectors, the programs' messages and the manual pages all use these words and
// no others.
package reason

import "errors"

// A Word names one reason.
type Word string

// Reasons that refuse one record and leave the others alone.
const (
	BadSignature    Word = "bad-signature"
	Expired         Word = "expired"
	LifetimeTooLong Word = "lifetime-too-long"
	WrongInstance   Word = "wrong-instance"
	Malformed       Word = "malformed"
	KeyType         Word = "key-type"
	KeyTooShort     Word = "key-too-short"
	UserDenied      Word = "user-denied"
	CallerNotMapped Word = "caller-not-mapped"
	OverLimit       Word = "over-limit"
	AlreadyUsed     Word = "already-used" // the serial console only
)

// Reasons that end a run: the pushed keys are unknown.
const (
	BoardUnreadable Word = "board-unreadable"
	IMDSUnreachable Word = "imds-unreachable"
	IMDSError       Word = "imds-error"
	SignerUntrusted Word = "signer-untrusted"
	SignerName      Word = "signer-name"
	SignerRevoked   Word = "signer-revoked"
	SignerSearch    Word = "signer-search"
	StapleMissing   Word = "staple-missing"
	StapleStale     Word = "staple-stale"
	StapleUntrusted Word = "staple-untrusted"
	Deadline        Word = "deadline"
	Config          Word = "config"
	Usage           Word = "usage"
	OutputFailed    Word = "output-failed"
)

// Reasons for which a serial console stays locked, besides those above.
const (
	NotPushed     Word = "not-pushed"
	NotEC2        Word = "not-an-instance"
	NoSuchPort    Word = "no-such-port"
	NotRemembered Word = "not-remembered"
	GettyFailed   Word = "getty-failed"
	LineUnusable  Word = "line-unusable"
)

// ChainFailed is about a command of [chain]; our own answer does not depend on it.
const ChainFailed Word = "chain-failed"

// An entry is the hint for a reason.
type entry struct {
	word   Word
	record bool // refuses a record; otherwise it ends the run
	hint   string
}

// list holds every reason in the order in which the manual page has them.
func list() []entry {
	return []entry{
		{BadSignature, true, "AWS did not sign the record as served: find out what answers as the metadata service on this host"},
		{Expired, true, "push the key again and connect within 60 seconds; if it was just pushed, check this host's clock"},
		{LifetimeTooLong, true, "the record expires later than a pushed key can: check this host's clock"},
		{WrongInstance, true, "the record was signed for another instance: find out what answers as the metadata service on this host"},
		{Malformed, true, "push one plain OpenSSH public key; if that was done, find out what answers as the metadata service on this host"},
		{KeyType, true, "push a key of a type that [keys] types allows"},
		{KeyTooShort, true, "push an Ed25519 key, or an RSA key of at least [keys] min_rsa_bits bits"},
		{UserDenied, true, "push the key for another user, or change [users] allow and deny"},
		{CallerNotMapped, true, "push as a principal that a [[users.map]] row binds to this user, or add such a row"},
		{OverLimit, true, "push fewer keys for this user within a minute; if nobody did, find out what answers as the metadata service on this host"},
		{AlreadyUsed, true, "push the key again: each push opens the serial console once"},
		{BoardUnreadable, false, "let the agent's user read /sys/devices/virtual/dmi/id/board_asset_tag"},
		{IMDSUnreachable, false, "check that the metadata service is enabled for this instance, and that no firewall rule or hop limit blocks the agent's user"},
		{IMDSError, false, "check the instance's metadata options, and try again"},
		{SignerUntrusted, false, "the signing chain does not lead to a trusted root: check [trust] roots, and what answers as the metadata service on this host"},
		{SignerName, false, "the signing certificate is not the one of this region: check [trust] domains, and what answers as the metadata service on this host"},
		{SignerRevoked, false, "AWS has revoked the signing certificate: push the key again, and contact AWS Support if this persists"},
		{SignerSearch, false, "the signing chain has too many cross-signed certificates to verify: find out what answers as the metadata service on this host"},
		{StapleMissing, false, "push the key again; contact AWS Support if this persists"},
		{StapleStale, false, "check this host's clock; if it is right, push the key again"},
		{StapleUntrusted, false, "the OCSP response is not signed by the certificate's issuer: find out what answers as the metadata service on this host"},
		{Deadline, false, "the host may be overloaded; if not, find out what answers as the metadata service on it"},
		{Config, false, "correct the file; sshd's other keys are not affected"},
		{Usage, false, "check AuthorizedKeysCommand in sshd's configuration: its arguments are %u, %u %f, or %u %f %t %k"},
		{OutputFailed, false, "sshd closed the pipe before it read the keys: see sshd's own log"},
		{ChainFailed, false, "run the command by hand as the user that sshd runs the agent as"},
		{NotPushed, false, "push a key for the login name of the serial port, and press Enter within 60 seconds"},
		{NotEC2, false, "eic-serial-getty is for EC2 instances: run eicctl serial disable, or set [instance] attest for an emulated one"},
		{NoSuchPort, false, "EC2 has only serial port 0: correct --port in the getty's unit"},
		{NotRemembered, false, "check that root can write /run/eic-serial-getty and that /run is not full"},
		{GettyFailed, false, "correct the command after -- in the getty's unit: it must be agetty and ask for a name and a password"},
		{LineUnusable, false, "this machine has no such serial port, or it does not work: mask its serial-getty unit, or remove it from the kernel's console= list"},
	}
}

// All returns every word, those about records first.
func All() []Word {
	var words []Word
	for _, e := range list() {
		words = append(words, e.word)
	}
	return words
}

// Hint says, as part of a sentence, what to do about w. It is empty for a word
// that is not on the list.
func (w Word) Hint() string {
	for _, e := range list() {
		if e.word == w {
			return e.hint
		}
	}
	return ""
}

// RefusesRecord reports whether w is about one record; the other words end the
// run.
func (w Word) RefusesRecord() bool {
	for _, e := range list() {
		if e.word == w {
			return e.record
		}
	}
	return false
}

// An Error is a reason together with what was found.
type Error struct {
	Word Word
	// Detail says what was found, as a sentence without capital or final
	// period. It may quote bounded parts of untrusted input, with %q.
	Detail string
}

func (e *Error) Error() string { return e.Detail }

// New returns an error of the given reason.
func New(w Word, detail string) *Error { return &Error{Word: w, Detail: detail} }

// Of returns the reason that err carries, or "" when it carries none.
func Of(err error) Word {
	var e *Error
	if errors.As(err, &e) {
		return e.Word
	}
	return ""
}
