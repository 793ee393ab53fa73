package audit

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	replacement = "\uFFFD"
	ellipsis    = "…"
)

// Clean returns s as at most limit bytes of valid, printable UTF-8
// on one line. Each byte that is not UTF-8 and each character that does not
// print (controls, line separators, bidirectional and other invisible formats)
// becomes U+FFFD; a value that was cut ends in "…". The limit must leave room
// for that: 3 bytes.
func Clean(s string, limit int) string {
	if len(s) <= limit && isPlain(s) {
		return s
	}
	var b strings.Builder
	cut := 0 // length of what still leaves room for the ellipsis
	for _, r := range s {
		if !strconv.IsPrint(r) {
			r = utf8.RuneError
		}
		if b.Len()+utf8.RuneLen(r) > limit {
			return b.String()[:cut] + ellipsis
		}
		b.WriteRune(r)
		if b.Len() <= limit-len(ellipsis) {
			cut = b.Len()
		}
	}
	return b.String()
}

// isPlain reports whether s is printable ASCII only.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
