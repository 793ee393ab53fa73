package sessions

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/ctl/sshlog"
)

// A Cause is what became of a key that was pushed.
type Cause string

const (
	CauseNotSigned        Cause = "not-signed"
	CauseSignatureRefused Cause = "signature-refused"
	CauseFurtherMethod    Cause = "further-method"
	CauseKeyOptions       Cause = "key-options"
	CauseAccount          Cause = "account-refused"
	CauseOtherWay         Cause = "other-way"
	CauseOneOfSeveral     Cause = "one-of-several"
	CauseLetIn            Cause = "let-in"
	CauseUnderWay         Cause = "under-way"
	CauseSessionFailed    Cause = "session-failed"
	CauseEndedAtOnce      Cause = "ended-at-once"
	CauseRefused          Cause = "refused-by-agent"
	// These are of a key without a decision.
	CauseNotOffered    Cause = "not-offered"
	CauseNotAsked      Cause = "not-asked"
	CauseRecordMissing Cause = "record-missing"
)

// says is the sentence about a cause, and what to do about it.
func (c Cause) says() (what, do string) {
	switch c {
	case CauseNotSigned:
		return "the client did not sign (it has no private key, or gave up)", "run the client with ssh -v, and push the .pub file of the key that ssh uses"
	case CauseSignatureRefused:
		return "sshd refused the signature", "run the client with ssh -v, and push the .pub file of the key that ssh uses; LogLevel VERBOSE makes sshd log more"
	case CauseFurtherMethod:
		return "another method was missing (AuthenticationMethods)", "see AuthenticationMethods in sshd's configuration: the client must complete every method of one list"
	case CauseKeyOptions:
		return "sshd refused the options on the key's line", ""
	case CauseAccount:
		return "the client authenticated, with this key or another method, and sshd or PAM refused the account", ""
	case CauseOtherWay:
		return "the client logged in with another key or method", "nothing: the client logged in with another key or method"
	case CauseOneOfSeveral:
		return "the key was one of several methods of the login", "nothing, if the push was expected"
	case CauseLetIn:
		return "the key opened a session", ""
	case CauseNotOffered:
		return "no client offered the key while it was valid", ""
	case CauseNotAsked:
		return "sshd did not run eic-authkeys: it refused the key or user before, found the key in authorized_keys, or is not configured to", ""
	case CauseRecordMissing:
		return "the message is missing", ""
	case CauseUnderWay:
		return "the login is still in progress", "run this again later"
	}
	return "", ""
}

// spells reports whether a name that somebody logs in by, as sshd records it, is a spelling of
// the account's name, for which sshd asks for keys: Alice, EXAMPLE\alice and
// alice@example.com are of alice, where a directory service says so.
func spells(login, account string) bool {
	if login == account {
		return true
	}
	if i := strings.LastIndexByte(login, '\\'); i >= 0 {
		login = login[i+1:]
	} else if !strings.Contains(account, "@") {
		login, _, _ = strings.Cut(login, "@")
	}
	return strings.EqualFold(login, account)
}

// graceTime is sshd's default LoginGraceTime, which a login may take.
const graceTime = 2 * time.Minute

// judge finds out what became of the offer, and reports whether a record proves that
// it opened no session. A record that is not there proves nothing.
func (o *Offer) judge(now time.Time) (unused bool) {
	h := o.heard
	// Another user's record is another process's, with the same pid.
	mine := func(s *journal.SSHRecord) *journal.SSHRecord {
		if s == nil || s.User != "" && !spells(text(s.User), o.User) {
			return nil
		}
		return s
	}
	in, gone, account, options, within := mine(h.in), mine(h.gone), mine(h.account), mine(h.options), mine(h.within)
	if (h.in == nil || in != nil) && (h.gone == nil || gone != nil) {
		o.Address, o.Port = h.address, h.port
	}
	partial := slices.ContainsFunc(h.partials, func(f string) bool { return o.Key.is(f, f) })
	failed := slices.ContainsFunc(h.failed, func(f string) bool { return o.Key.is(f, f) })
	switch {
	case in != nil && partial:
		o.end(in, CauseOneOfSeveral)
	case in != nil:
		o.end(in, CauseOtherWay, CauseOneOfSeveral)
	case within != nil:
		o.end(within, CauseLetIn, CauseOtherWay, CauseOneOfSeveral)
	case account != nil && (gone != nil || strings.Contains(account.Text, accessDenied)):
		o.end(account, CauseAccount)
		return true
	case account != nil:
		o.end(account, CauseAccount, CauseLetIn, CauseOtherWay)
	case gone == nil:
		o.Causes = []Cause{CauseLetIn, CauseNotSigned, CauseSignatureRefused, CauseFurtherMethod, CauseKeyOptions, CauseAccount, CauseOtherWay, CauseOneOfSeveral}
		o.underWay(now)
	case partial:
		o.end(gone, CauseFurtherMethod)
		return true
	case options != nil:
		o.end(gone, CauseKeyOptions)
		return true
	case failed:
		o.end(gone, CauseSignatureRefused, CauseAccount, CauseKeyOptions)
		return true
	case o.asked > 1:
		o.end(gone, CauseSignatureRefused, CauseFurtherMethod, CauseAccount, CauseKeyOptions)
		return true
	default:
		o.end(gone, CauseNotSigned, CauseSignatureRefused, CauseFurtherMethod, CauseAccount, CauseKeyOptions)
		return true
	}
	return false
}

// accessDenied is what sshd says as it ends a login by PAM's account stage.
const accessDenied = "Access denied for user "

func (o *Offer) end(s *journal.SSHRecord, causes ...Cause) {
	o.Outcome, o.Causes = audit.Clean(s.Text, maxMessage), causes
	if s.Address != "" {
		o.Address, o.Port = text(s.Address), text(s.Port)
	}
}

// underWay adds that the login may not be over.
func (o *Offer) underWay(now time.Time) {
	if now.Sub(o.Time) < graceTime {
		o.Causes = append([]Cause{CauseUnderWay}, o.Causes...)
	}
}

// why says what is known of an offer whose outcome is unknown.
func (o *Offer) why() string {
	switch {
	case o.Outcome != "":
		return o.Outcome
	case o.heard.records == 0:
		return fmt.Sprintf("no message of sshd's process %d", o.PID)
	}
	return fmt.Sprintf("no message of sshd's process %d about the end of the login", o.PID)
}

// advice is that of the last record that sshd's table has some for.
func (h *heard) advice() string {
	for _, line := range slices.Backward(h.lines) {
		if m := sshlog.Parse(line); m.Advice != "" {
			return m.Advice
		}
	}
	return ""
}
