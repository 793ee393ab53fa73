package config

import (
	"fmt"
	"slices"
)

// Users say which OS users keys may be pushed for, and by whom.
type Users struct {
	Deny  []string  `toml:"deny"`
	Allow []string  `toml:"allow"`
	Map   []UserMap `toml:"map"`
	// Enforce is whether a key is refused that Permits or PermitsCaller does not let
	// through. Without it the key is granted and recorded (audit.WouldRefuse). It has no
	// effect on other checks.
	Enforce bool `toml:"enforce"`
}

// A UserMap binds the IAM principals that Caller matches to OS users.
type UserMap struct {
	Caller string   `toml:"caller"`
	Users  []string `toml:"users"`
}

// Permits reports whether keys may be pushed for user at all: no pattern of Deny
// matches, and one of Allow does where there are any. Patterns are those of the
// shell (see pattern.Path).
func (u *Users) Permits(user string) bool {
	return !matchAny(u.Deny, user, true) && (len(u.Allow) == 0 || matchAny(u.Allow, user, false))
}

// Maps reports whether there is an IAM principal that may push keys for user, as far
// as the rows tell.
func (u *Users) Maps(user string) bool {
	has := func(row UserMap) bool { return matchAny(row.Users, user, false) }
	return len(u.Map) == 0 || slices.ContainsFunc(u.Map, has)
}

// PermitsCaller reports whether the IAM principal caller may push keys for user:
// always where there is no row, otherwise where a row has both. caller has to be
// proved. An empty one matches no row.
func (u *Users) PermitsCaller(caller, user string) bool {
	if len(u.Map) == 0 {
		return true
	}
	for _, row := range u.Map {
		if MatchCaller(row.Caller, caller) && matchAny(row.Users, user, false) {
			return true
		}
	}
	return false
}

func (u *Users) check() error {
	lists := map[string][]string{"users.deny": u.Deny, "users.allow": u.Allow}
	for i, row := range u.Map {
		key := fmt.Sprintf("users.map row %d", i+1)
		if len(row.Users) == 0 {
			return fmt.Errorf("%s: users must not be empty", key)
		}
		if err := CheckCaller(row.Caller); err != nil {
			return fmt.Errorf("%s: %v", key, err)
		}
		lists[key+": users"] = row.Users
	}
	for key, patterns := range lists {
		for _, p := range patterns {
			if err := CheckUser(p); err != nil {
				return fmt.Errorf("%s: %v", key, err)
			}
		}
	}
	return nil
}

// matchAny reports whether one of the patterns matches name. It reports invalid,
// which check does not let pass, for one that is not a pattern.
func matchAny(patterns []string, name string, invalid bool) bool {
	for _, p := range patterns {
		ok, err := MatchUser(p, name)
		if ok || err != nil && invalid {
			return true
		}
	}
	return false
}
