package config

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Users say which OS users keys may be pushed for, and by whom.
type Users struct {
	Deny  []string  `toml:"deny"`
	Allow []string  `toml:"allow"`
	Map   []UserMap `toml:"map"`
}

// A UserMap binds the IAM principals that Caller matches to OS users.
type UserMap struct {
	Caller string   `toml:"caller"`
	Users  []string `toml:"users"`
}

// Permits reports whether keys may be pushed for user at all: no pattern of Deny
// matches, and one of Allow does where there are any. Patterns are those of the
// shell: *, ?, [...].
func (u *Users) Permits(user string) bool {
	return !matchAny(u.Deny, user) && (len(u.Allow) == 0 || matchAny(u.Allow, user))
}

// Maps reports whether there is an IAM principal that may push keys for user, as far
// as the rows tell.
func (u *Users) Maps(user string) bool {
	has := func(row UserMap) bool { return matchAny(row.Users, user) }
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
		if MatchCaller(row.Caller, caller) && matchAny(row.Users, user) {
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
			return fmt.Errorf("%s: it names no users", key)
		}
		if err := CheckCaller(row.Caller); err != nil {
			return fmt.Errorf("%s: %v", key, err)
		}
		lists[key+": users"] = row.Users
	}
	for key, patterns := range lists {
		for _, p := range patterns {
			if p == "" {
				return fmt.Errorf("%s: a pattern is empty", key)
			}
			if err := CheckUser(p); err != nil {
				return fmt.Errorf("%s: %v", key, err)
			}
		}
	}
	return nil
}

func matchAny(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(p, name); err == nil && ok {
			return true
		}
	}
	return false
}

// arnParts is the number of parts of an ARN: arn, partition, service, region,
// account, resource.
const arnParts = 6

// MatchCaller reports whether the ARN of an IAM principal matches a pattern as in
// [[users.map]]. It matches as IAM's ArnLike does: each part by itself, so that no
// wildcard reaches over a colon into the next, while within the resource *
// matches slashes too.
func MatchCaller(pattern, arn string) bool {
	want := strings.SplitN(pattern, ":", arnParts)
	have := strings.SplitN(arn, ":", arnParts)
	if len(want) != len(have) {
		return false
	}
	// path.Match keeps * from matching a slash, and nothing else from
	// matching a NUL.
	noSlash := strings.NewReplacer("/", "\x00")
	for i := range want {
		ok, err := path.Match(noSlash.Replace(want[i]), noSlash.Replace(have[i]))
		if err != nil || !ok {
			return false
		}
	}
	return true
}
