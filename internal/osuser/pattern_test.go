package osuser

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/internal/pattern"
)

func TestCompile(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"root": "", "*": "", "a?c": "", "[!r]*": "", "[[:lower:]]*": "", "1?": "", "*$": "", "root$": "", "*.port0": "",
		"i-0123456789abcdef0.port[0-9]": "", `ec2\-user`: "", "a@b": "", "*@example.com": "", "1000*": "",

		"":           "it is empty",
		"%wheel":     "groups are not supported, list the users",
		"@admins":    "groups are not supported, list the users",
		"+wheel":     "groups are not supported, list the users",
		"!root":      "write the users to leave out into users.deny",
		"a b":        `write one pattern for each user, as in ["alice", "bob"]`,
		"alice,bob":  `write one pattern for each user, as in ["alice", "bob"]`,
		"root ":      `write one pattern for each user, as in ["alice", "bob"]`,
		"{a,b}":      "braces are not supported",
		"^root$":     "not a regular expression",
		".*":         "not a regular expression",
		"1000":       "write the name of the user, not its ID",
		"[0-9]":      "user names consist of letters",
		"jürgen":     "user names are ASCII",
		"/root":      "user names consist of letters",
		"a$b":        "user names consist of letters",
		"*$$":        "not a regular expression",
		"-*":         "user names consist of letters",
		".hidden":    "user names consist of letters",
		"[!a-zA-Z]%": "user names consist of letters",
		"[":          "[ has no closing ]",

		strings.Repeat("?", 32): "", strings.Repeat("?", 33): "at most 32 characters",
		strings.Repeat("a", 31) + "@": "user names consist of letters", strings.Repeat("1", 31) + "@": "",
	} {
		p, err := Compile(text)
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case want != "" && (err == nil || p != nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// reaches looks for a name that p matches and Valid takes, by trying every
// character: names that are alike for the rest of the search are tried once.
func reaches(p pattern.Pattern) bool {
	type state struct {
		i, length           int
		digits, number, end bool
	}
	seen := make(map[state]bool)
	var try func(i int, name string) bool
	try = func(i int, name string) bool {
		digits := strings.Trim(name, "0123456789") == ""
		s := state{i, len(name), digits, name != "" && isDigit(name[0]), strings.HasSuffix(name, "$")}
		if seen[s] || len(name) > maxLen || !Valid(name) && !digits {
			return false
		}
		seen[s] = true
		if i == len(p) {
			return Valid(name)
		}
		if p[i].Star && try(i+1, name) {
			return true
		}
		next := i + 1
		if p[i].Star {
			next = i
		}
		for c := range 256 {
			if p[i].Set.Has(byte(c)) && try(next, name+string([]byte{byte(c)})) {
				return true
			}
		}
		return false
	}
	return try(0, "")
}

func FuzzCompile(f *testing.F) {
	for _, text := range []string{"root", "%wheel", "[!a]*", "1*", "a$b", "*$", strings.Repeat("?", 32), strings.Repeat("a", 31) + "[@.]", strings.Repeat("1", 31) + "[@.]", "[[:digit:]]*$"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := pattern.Compile(pattern.Path, text)
		if err != nil || len(text) > 60 {
			return
		}
		if got, want := reachesUser(p), reaches(p); got != want {
			t.Errorf("a user name matches %q: %v, want %v", text, got, want)
		}
	})
}

func TestReaches(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 14))
	parts := []string{"a", "1", "$", "@", ".", "_", "*", "?", "[0-9]", "[@.]", "[$1]", "[!a-z]", "[%a]", "%", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "1111111111111111111111111111"}
	yes, no := 0, 0
	for range 5000 {
		var text strings.Builder
		for range 1 + r.IntN(5) {
			text.WriteString(parts[r.IntN(len(parts))])
		}
		p, err := pattern.Compile(pattern.Path, text.String())
		if err != nil {
			t.Fatal(err)
		}
		want := reaches(p)
		if got := reachesUser(p); got != want {
			t.Errorf("a user name matches %q: %v, want %v", text.String(), got, want)
		}
		if want {
			yes++
		} else {
			no++
		}
	}
	if min(yes, no) < 500 {
		t.Errorf("%d patterns match a user name and %d none: the test says too little", yes, no)
	}
}
