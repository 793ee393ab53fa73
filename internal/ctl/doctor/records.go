package doctor

import (
	"github.com/eic-agent/eic-agent/internal/ctl/accept"
	"github.com/eic-agent/eic-agent/internal/ctl/keys"
	"github.com/eic-agent/eic-agent/internal/osuser"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// checkRecords reports the keys pushed for the user now, with the verdict on each.
// `eicctl keys` tells more.
func checkRecords(e *exam, f *findings) {
	const id = "record"
	if e.User == "" {
		return
	}
	if !osuser.Valid(e.User) {
		f.unknown(id, "%s", because("the API accepts no key for a user of this name"))
		return
	}
	p := e.probe()
	switch {
	case p.unreached() != "":
		f.unknown(id, "%s", because(p.unreached()))
		return
	case p.Keys == nil:
		f.unknown(id, "%s", because("the metadata service returned no records"))
		return
	case len(p.Keys.Records) == 0 && p.Keys.Error == nil && p.Keys.Signer != nil:
		f.ok(id, "no key is pushed for %s at the moment (a pushed key is valid for 60 s)", e.User)
		return
	case len(p.Keys.Records) == 0:
		f.unknown(id, "%s", because(e.chainFault()))
		return
	}
	cfg := e.config().cfg
	denied := cfg != nil && !cfg.Users.Permits(e.User)
	unmapped := cfg != nil && !cfg.Users.Maps(e.User)
	listed := make(map[reason.Word]bool)
	for _, r := range p.Keys.Records {
		what := r.KeyType + " " + r.Fingerprint
		switch {
		case r.Granted && checkKey(e, r, what, f):
		case r.Granted:
			f.ok(id, "%s, pushed by %s%s, is valid for %d s", what, named(r.Caller), inRequest(r.Request), r.SecondsLeft)
		case r.Refusal == nil:
			f.unknown(id, "%s: %s", what, because(e.chainFault()))
		case untimely(r.Refusal) && e.clock().wrong():
			f.unknown(id, "%s: %s", what, because("this host's clock is wrong, which may be the cause: "+r.Refusal.Detail))
		case r.Refusal.Reason == reason.Expired && p.Keys.Granted > 0:
			f.ok(id, "%s has expired; another key is valid", what)
		case r.Refusal.Reason == reason.UserDenied && denied:
			f.unknown(id, "%s: %s", what, because("[users] denies pushed keys for "+e.User))
		case r.Refusal.Reason == reason.CallerNotMapped && unmapped:
			f.unknown(id, "%s: %s", what, because("no [[users.map]] row has "+e.User))
		case !listed[r.Refusal.Reason]:
			listed[r.Refusal.Reason] = true
			f.problem(entryOf(string(r.Refusal.Reason)), advice("%s", r.Refusal.Hint), "%s is refused: %s", what, r.Refusal.Detail)
		}
	}
}

// checkKey holds a key that the agent grants against sshd's limits, and reports whether
// it found one.
func checkKey(e *exam, r keys.Record, what string, f *findings) (found bool) {
	s := e.server()
	key, err := accept.KeyOf(r.PublicKey)
	if err != nil || s.access == nil {
		return false
	}
	for _, limit := range s.access.Key(e.ctx, key) {
		if limit.ID == "key-type-refused" && !e.acceptsSomeType() {
			f.unknown("record", "%s: %s", what, because("sshd accepts none of the key types that the agent provides"))
			return true
		}
		if limit.ID == accept.UnusableRevokedKeys { // reported by checkRevoked
			f.unknown("record", "%s: %s", what, because("sshd cannot use RevokedKeys"))
			return true
		}
		limit.Text = what + ": " + limit.Text
		f.limit(limit)
		found = true
	}
	return found
}

// untimely reports whether a refusal may come from a wrong clock.
func untimely(fault *keys.Fault) bool {
	return word(fault) == reason.Expired || word(fault) == reason.LifetimeTooLong
}

func named(s string) string {
	if s == "" {
		return "an unknown caller"
	}
	return s
}

// inRequest says in which request a key was pushed, if AWS names one.
func inRequest(id string) string {
	if id == "" {
		return ""
	}
	return " in request " + id
}
