package osuser

import (
	"regexp"
	"strings"
	"testing"
)

// The pattern of the service model in Go's syntax, which has no look-ahead: the
// length is checked beside it.
var model = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9@._-]{0,30}[A-Za-z0-9$_-]?|[0-9]{1,32}[A-Za-z@._-][A-Za-z0-9@._-]*[A-Za-z0-9$_-]?)$`)

func modelTakes(name string) bool {
	return len(name) >= 1 && len(name) <= 32 && !strings.HasSuffix(name, "\n") && model.MatchString(name)
}

func FuzzValid(f *testing.F) {
	for _, name := range []string{
		"ec2-user", "root", "a", "_", "1user", "0.", "a@b", "user$", "a.", "i-0123456789abcdef0.port0",
		strings.Repeat("a", 32), strings.Repeat("a", 33), strings.Repeat("a", 31) + "$", strings.Repeat("a", 31) + "@",
		strings.Repeat("1", 31) + "@", strings.Repeat("1", 31) + "$",
		"", "1234", ".a", "-a", "$", "a$b", "1$", "../x", "a/b", "a%2fb", "a b", "a\x00", "a\n", "ä", "\xff", "a\x7f",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if got, want := Valid(name), modelTakes(name); got != want {
			t.Errorf("Valid(%q) = %v, but the service model says %v", name, got, want)
		}
	})
}
