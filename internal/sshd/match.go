package sshd

import (
	"bufio"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/pattern"
	"github.com/eic-agent/eic-agent/internal/sysroot"
)

// A Connection is what Match blocks look at.
type Connection struct {
	User string
	Host string // of the client
	Addr string // of the client
}

// For returns the setting of a keyword that counts for a connection; known is
// false where that hangs on a Match block whose criteria cannot be told here. root
// is where accounts are looked up for Match Group.
func (c *Config) For(root, keyword string, conn Connection) (s Setting, known bool) {
	known = true
	for _, s := range c.Settings {
		if s.Keyword != keyword || len(s.Match) == 0 {
			continue
		}
		applies, told := true, true
		for _, criteria := range s.Match {
			a, t := conn.matches(root, criteria)
			applies, told = applies && a, told && (t || !a)
		}
		switch {
		case applies && told:
			return s, known
		case applies:
			known = false
		}
	}
	return c.Global(keyword), known
}

// matches reports whether the criteria of a Match line hold; told is false, and
// applies true, where that cannot be told: criteria other than user, group, host,
// address and all, or an address that is not known.
func (conn Connection) matches(root, criteria string) (applies, told bool) {
	told = true
	list := words(strings.ReplaceAll(criteria, "=", " "))
	for i := 0; i < len(list); i++ {
		name := strings.ToLower(list[i])
		if name == "all" {
			continue
		}
		if i++; i == len(list) {
			return false, false
		}
		patterns := strings.Split(list[i], ",")
		switch name {
		case "user":
			if conn.User == "" || !MatchList(patterns, conn.User) {
				return false, true
			}
		case "group":
			in := slices.ContainsFunc(groupsOf(root, conn.User), func(g string) bool { return MatchList(patterns, g) })
			if conn.User == "" || !in {
				return false, true
			}
		case "host":
			if conn.Host == "" {
				told = false
			} else if !MatchList(patterns, strings.ToLower(conn.Host)) {
				return false, true
			}
		case "address":
			if conn.Addr == "" {
				told = false
			} else if !matchAddress(patterns, conn.Addr) {
				return false, true
			}
		default:
			told = false
		}
	}
	return true, told
}

// MatchList is match_pattern_list of openssh-portable, as in Match User and
// AllowUsers: * and ?, and ! to deny.
func MatchList(patterns []string, s string) bool {
	found := false
	for _, p := range patterns {
		negated := strings.HasPrefix(p, "!")
		if matchPattern(strings.TrimPrefix(p, "!"), s) {
			if negated {
				return false
			}
			found = true
		}
	}
	return found
}

func matchPattern(text, s string) bool {
	p, err := pattern.Compile(pattern.Wildcard, text)
	return err == nil && p.Match(s)
}

func matchAddress(patterns []string, addr string) bool {
	address, err := netip.ParseAddr(addr)
	found := false
	for _, p := range patterns {
		negated := strings.HasPrefix(p, "!")
		p = strings.TrimPrefix(p, "!")
		prefix, prefixErr := netip.ParsePrefix(p)
		if err == nil && prefixErr == nil && prefix.Contains(address.Unmap()) || matchPattern(p, addr) {
			if negated {
				return false
			}
			found = true
		}
	}
	return found
}

// groupsOf returns the groups of a user by /etc/passwd and /etc/group.
func groupsOf(root, user string) []string {
	gid := ""
	forFields(sysroot.Path(root, "/etc/passwd"), func(f []string) {
		if len(f) > 3 && f[0] == user {
			gid = f[3]
		}
	})
	var groups []string
	forFields(sysroot.Path(root, "/etc/group"), func(f []string) {
		if len(f) > 3 && (f[2] == gid || slices.Contains(strings.Split(f[3], ","), user)) {
			groups = append(groups, f[0])
		}
	})
	return groups
}

// forFields calls do for each line of a file like /etc/passwd. A file that cannot
// be read has none.
func forFields(path string, do func(fields []string)) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		do(strings.Split(lines.Text(), ":"))
	}
}
