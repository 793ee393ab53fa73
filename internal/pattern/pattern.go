// Package pattern matches names against wildcard patterns: those of the shell, of
// AWS's filters and of sshd.
//
// Patterns and names are bytes, as in locale C: ? and a bracket expression match
// one byte; the ? of Filter matches a character in UTF-8. Matching takes at most
// len(pattern)*len(name) steps.
package pattern

import "unicode/utf8"

// A Pattern is a compiled pattern. It matches a name that its elements match one
// after the other.
type Pattern []Element

// An Element matches one byte of Set, or with Star any number of them.
type Element struct {
	Set     Set
	Star    bool
	Literal bool // a character that stands for itself
	UTF8    bool // with the byte it matches the continuation bytes behind it
}

// A Set is a set of bytes.
type Set [4]uint64

// Has reports whether c is in the set.
func (s *Set) Has(c byte) bool { return s[c/64]&(1<<(c%64)) != 0 }

// HasAny reports whether the sets share a byte.
func (s *Set) HasAny(of *Set) bool {
	return s[0]&of[0]|s[1]&of[1]|s[2]&of[2]|s[3]&of[3] != 0
}

// AddRange adds the bytes from first to last, both included.
func (s *Set) AddRange(first, last byte) {
	for c := int(first); c <= int(last); c++ {
		s[c/64] |= 1 << (c % 64)
	}
}

func (s *Set) remove(c byte) { s[c/64] &^= 1 << (c % 64) }

func (s *Set) invert() {
	for i := range s {
		s[i] = ^s[i]
	}
}

// SetOf returns the set of the bytes of chars.
func SetOf(chars string) Set {
	var s Set
	for _, c := range []byte(chars) {
		s.AddRange(c, c)
	}
	return s
}

// Match reports whether the pattern matches the whole name.
func (p Pattern) Match(name string) bool {
	// Where an element fails, the last star before it takes one byte more. An
	// earlier star need not: what it could take, the last one can.
	i, j := 0, 0
	star, mark := -1, 0
	for j < len(name) {
		switch {
		case i < len(p) && p[i].Star:
			star, mark = i, j
			i++
		case i < len(p) && p[i].Set.Has(name[j]):
			j++
			for p[i].UTF8 && j < len(name) && !utf8.RuneStart(name[j]) {
				j++
			}
			i++
		case star >= 0 && p[star].Set.Has(name[mark]):
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i].Star {
		i++
	}
	return i == len(p)
}

// Split splits the pattern at the character sep, into at most n parts. It does not
// split at a bracket expression that matches sep.
func (p Pattern) Split(sep byte, n int) []Pattern {
	parts := make([]Pattern, 0, n)
	start := 0
	for i := 0; i < len(p) && len(parts) < n-1; i++ {
		if p[i].Literal && p[i].Set.Has(sep) {
			parts = append(parts, p[start:i])
			start = i + 1
		}
	}
	return append(parts, p[start:])
}
