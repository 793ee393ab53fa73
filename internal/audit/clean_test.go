package audit

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in, want string
		limit          int
	}{
		{"empty", "", "", 10},
		{"plain", "arn:aws:iam::1:user/a b", "arn:aws:iam::1:user/a b", 64},
		{"letters beyond ASCII", "Zoë 鍵", "Zoë 鍵", 64},
		{"line feed", "a\nEIC_USER=root", "a\uFFFDEIC_USER=root", 64},
		{"C0 and DEL", "\x00\t\r\x1b[2J\x7f", "\uFFFD\uFFFD\uFFFD\uFFFD[2J\uFFFD", 64},
		{"C1", "a\u0085\u009bb", "a\uFFFD\uFFFDb", 64},
		{"line separators", "a\u2028b\u2029c", "a\uFFFDb\uFFFDc", 64},
		{"bidirectional", "\u061c\u200e\u200f\u202a\u202e\u2066\u2069", strings.Repeat("\uFFFD", 7), 64},
		{"invisible", "a\u200b\ufeff\U000e0041b", "a\uFFFD\uFFFD\uFFFDb", 64},
		{"not UTF-8", "a\xff\xc3(\xed\xa0\x80", "a\uFFFD\uFFFD(\uFFFD\uFFFD\uFFFD", 64},
		{"fits", "abcdef", "abcdef", 6},
		{"cut", "abcdefg", "abc…", 6},
		{"cut between characters", "abéé", "ab…", 5},
		{"replacing makes it too long", "ab\n\n", "ab…", 6},
		{"only room for the mark", "abcd", "…", 3},
	} {
		if got := Clean(tt.in, tt.limit); got != tt.want {
			t.Errorf("%s: Clean(%q, %d) = %q, want %q", tt.name, tt.in, tt.limit, got, tt.want)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"", "plain", "a\nb", "é\u202e\x00\xff", strings.Repeat("鍵", 90), "\u2028 EIC_USER=root"} {
		f.Add(s, uint(8))
		f.Add(s, uint(maxValue))
	}
	f.Fuzz(func(t *testing.T, s string, n uint) {
		limit := int(n%maxMessage) + len(ellipsis)
		checkClean(t, Clean(s, limit), limit)
	})
}

func checkClean(t *testing.T, got string, limit int) {
	t.Helper()
	if len(got) > limit {
		t.Errorf("%q has %d bytes, limit %d", got, len(got), limit)
	}
	if !utf8.ValidString(got) {
		t.Errorf("%q is not UTF-8", got)
	}
	for _, r := range got {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			t.Errorf("%q holds %U", got, r)
		}
	}
	if again := Clean(got, limit); again != got {
		t.Errorf("cleaned again, %q became %q", got, again)
	}
}
