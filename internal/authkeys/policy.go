package authkeys

import (
	"cmp"
	"fmt"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// permit says why no key may be pushed for user.
func (a *Agent) permit(user string) error {
	if !a.Config.Users.Permits(user) {
		return reason.New(reason.UserDenied, fmt.Sprintf("[users] does not allow user %q", user))
	}
	return nil
}

// permitCaller says why caller may not push keys for user.
func (a *Agent) permitCaller(caller, user string) error {
	if !a.Config.Users.PermitsCaller(caller, user) {
		return reason.New(reason.CallerNotMapped, fmt.Sprintf("no [[users.map]] row allows %.128q to push keys for user %q", caller, user))
	}
	return nil
}

// enforced returns what permit and permitCaller say where that is enforced.
func (a *Agent) enforced(err error) error {
	if a.Config.Users.Enforce {
		return err
	}
	return nil
}

// WouldRefuse returns the event of a key that is granted to user only because
// [users] is not enforced. ok is false for any other key.
func (a *Agent) WouldRefuse(user string, key keyrecord.Key) (e audit.Event, ok bool) {
	if a.Config.Users.Enforce {
		return audit.Event{}, false
	}
	err := cmp.Or(a.permit(user), a.permitCaller(key.Caller(), user))
	if err == nil {
		return audit.Event{}, false
	}
	e = KeyEvent(key)
	e.Kind, e.Reason, e.User, e.SSHDPID = audit.WouldRefuse, reason.Of(err), user, a.SSHDPID
	e.Message = fmt.Sprintf("would refuse the key %s for user %q (%s) if [users] were enforced: %v; %s", e.Fingerprint, user, e.Reason, err, e.Reason.Hint())
	return e, true
}

// A Push is the journal's entry of a pushed key that was well formed, valid and
// meant for this instance.
type Push struct {
	keyrecord.Facts
	User, Caller string
	Decided      time.Time // when it was decided on
}

// Decide says what Run would have decided at p.Decided about a record that is proved:
// nil where it grants the key, otherwise a *reason.Error. wouldRefuse is the reason of
// WouldRefuse for a key that is granted, or "".
func (a *Agent) Decide(p Push) (wouldRefuse reason.Word, err error) {
	terms := a.terms("", fingerprint.Filter{})
	terms.Now = p.Decided
	if err := keyrecord.CheckFacts(p.Facts, terms); err != nil {
		return "", err
	}
	err = cmp.Or(a.permit(p.User), a.permitCaller(p.Caller, p.User))
	if a.enforced(err) != nil {
		return "", err
	}
	return reason.Of(err), nil
}
