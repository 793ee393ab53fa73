package pattern

import (
	"errors"
	"fmt"
	"strings"
)

// A Syntax is a language of patterns.
type Syntax int

const (
	// Path is fnmatch(3) with FNM_PATHNAME: *, ?, bracket expressions and
	// backslash. Only a slash matches a slash.
	Path Syntax = iota
	// Text is fnmatch(3) without flags, as the shell's case: a slash is a
	// character like the others.
	Text
	// Filter is what the Describe calls of AWS take: *, ? and backslash, with names
	// in UTF-8. Every string is a valid pattern.
	Filter
	// Wildcard has * and ? only, as sshd's match_pattern and IAM's StringLike.
	// Every string is a valid pattern.
	Wildcard
)

// Compile compiles a pattern.
//
// In Path and Text, a bracket expression without end, a backslash at the end, a
// range whose end is before its start, and a character class that does not exist
// are errors, where fnmatch takes the characters literally or matches nothing. So
// is [:alpha:] for [[:alpha:]], as in grep.
func Compile(syntax Syntax, pattern string) (Pattern, error) {
	compiled := make(Pattern, 0, len(pattern))
	var any Set
	any.AddRange(0, 255)
	if syntax == Path {
		any.remove('/')
	}
	shell := syntax == Path || syntax == Text
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		switch {
		case c == '*':
			if n := len(compiled); n == 0 || !compiled[n-1].Star {
				compiled = append(compiled, Element{Set: any, Star: true})
			}
			continue
		case c == '?':
			one := Element{Set: any, UTF8: syntax == Filter}
			for b := 0x80; one.UTF8 && b < 0xc0; b++ {
				one.Set.remove(byte(b))
			}
			compiled = append(compiled, one)
			continue
		case c == '[' && shell:
			b := bracket{text: pattern[i+1:], path: syntax == Path}
			set, err := b.parse()
			if err != nil {
				return nil, fmt.Errorf("pattern %.100q: %w", pattern, err)
			}
			compiled = append(compiled, Element{Set: set})
			i += b.at
			continue
		case c == '\\' && syntax != Wildcard:
			if i+1 < len(pattern) {
				i++
			} else if shell {
				return nil, fmt.Errorf("pattern %.100q: the backslash at the end escapes nothing", pattern)
			}
		}
		compiled = append(compiled, Element{Set: SetOf(pattern[i : i+1]), Literal: true})
	}
	return compiled, nil
}

// A bracket is a bracket expression (POSIX.1-2017, XBD 9.3.5) after its [.
type bracket struct {
	text string
	at   int  // what of text is read
	path bool // a slash is not allowed
}

var errOpen = errors.New(`[ has no closing ]; write \[ for the character`)

func (b *bracket) parse() (Set, error) {
	var set Set
	negated := b.take("!") || b.take("^")
	for first := true; first || !b.take("]"); first = false {
		if b.take("[:") {
			ok, err := b.class(&set)
			if err != nil {
				return set, err
			}
			if ok {
				continue
			}
			b.at--
			set.AddRange('[', '[')
			continue
		}
		low, err := b.char()
		if err != nil {
			return set, err
		}
		high := low
		if rest := b.text[b.at:]; len(rest) > 1 && rest[0] == '-' && rest[1] != ']' {
			b.at++
			if b.take("[:") {
				return set, errors.New("a character class cannot end a range")
			}
			if high, err = b.char(); err != nil {
				return set, err
			}
		}
		if high < low {
			return set, fmt.Errorf("the range %c-%c ends before it starts", low, high)
		}
		set.AddRange(low, high)
	}
	if inside := b.text[:b.at-1]; len(inside) > 1 && inside[0] == ':' && inside[len(inside)-1] == ':' {
		if classRanges(inside[1:len(inside)-1]) != "" {
			return set, fmt.Errorf("write [[%s]] for the character class", inside)
		}
	}
	if negated {
		set.invert()
	}
	if b.path {
		set.remove('/')
	}
	return set, nil
}

func (b *bracket) take(prefix string) bool {
	ok := strings.HasPrefix(b.text[b.at:], prefix)
	if ok {
		b.at += len(prefix)
	}
	return ok
}

// char reads one character: itself, escaped, or as the collating symbol [.c.] or
// the equivalence class [=c=], which are c in locale C.
func (b *bracket) char() (byte, error) {
	rest := b.text[b.at:]
	if rest == "" {
		return 0, errOpen
	}
	n, c := 1, rest[0]
	switch {
	case c == '/' && b.path:
		return 0, errors.New("a bracket expression cannot match a slash")
	case c == '\\':
		if len(rest) == 1 {
			return 0, errOpen
		}
		n, c = 2, rest[1]
	case c == '[' && len(rest) > 1 && (rest[1] == '.' || rest[1] == '='):
		if len(rest) < 5 || rest[3] != rest[1] || rest[4] != ']' {
			return 0, fmt.Errorf("%.10q is not a collating element of one character", rest)
		}
		n, c = 5, rest[2]
	}
	b.at += n
	return c, nil
}

// class adds the character class whose name comes next. ok is false where there is
// no :] that ends one.
func (b *bracket) class(set *Set) (ok bool, err error) {
	name, _, found := strings.Cut(b.text[b.at:], ":]")
	if !found || strings.ContainsFunc(name, func(c rune) bool { return c < 'a' || c > 'z' }) {
		return false, nil
	}
	ranges := classRanges(name)
	if ranges == "" {
		return false, fmt.Errorf("there is no character class [:%.20s:]", name)
	}
	for i := 0; i < len(ranges); i += 2 {
		set.AddRange(ranges[i], ranges[i+1])
	}
	b.at += len(name) + len(":]")
	return true, nil
}

// classRanges returns a character class of locale C as pairs of first and last byte,
// "" for one that does not exist. It is no map: those are made when a program starts.
func classRanges(name string) string {
	switch name {
	case "alnum":
		return "09AZaz"
	case "alpha":
		return "AZaz"
	case "blank":
		return "\t\t  "
	case "cntrl":
		return "\x00\x1f\x7f\x7f"
	case "digit":
		return "09"
	case "graph":
		return "!~"
	case "lower":
		return "az"
	case "print":
		return " ~"
	case "punct":
		return "!/:@[`{~"
	case "space":
		return "\t\r  "
	case "upper":
		return "AZ"
	case "xdigit":
		return "09AFaf"
	}
	return ""
}
