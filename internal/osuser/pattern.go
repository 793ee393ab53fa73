package osuser

import (
	"fmt"
	"strings"

	"github.com/eic-agent/eic-agent/internal/pattern"
)

// Compile compiles a pattern of user names: a pattern of the shell. One that
// matches no name that Valid takes is an error that says what to write instead.
func Compile(text string) (pattern.Pattern, error) {
	p, err := pattern.Compile(pattern.Path, text)
	if err != nil {
		return nil, err
	}
	if !reachesUser(p) {
		return nil, fmt.Errorf("pattern %.100q matches no user name that EC2 Instance Connect accepts: %s", text, hint(text))
	}
	return p, nil
}

// A grammar has the characters of the names that Valid takes, by their places.
type grammar struct {
	digits, start, middle, last32, dollar pattern.Set
}

func newGrammar() *grammar {
	return &grammar{
		digits: pattern.SetOf("0123456789"),
		start:  letters("_"),       // first character, unless it is a digit
		middle: letters("@._-"),    // between first and last, beside digits
		last32: letters("_-"),      // the 32nd of a name that starts with start, beside digits
		dollar: pattern.SetOf("$"), // last only
	}
}

func letters(more string) pattern.Set {
	s := pattern.SetOf(more)
	s.AddRange('a', 'z')
	s.AddRange('A', 'Z')
	return s
}

// lengths is a set of lengths of names, bit n for n bytes.
type lengths uint64

const allLengths lengths = 1<<(maxLen+1) - 1

// A progress has the lengths of the beginnings of names that a pattern's first
// elements match, by the states of the grammar of Valid.
type progress struct {
	empty  bool
	plain  lengths // begins with start
	number lengths // digits only
	mixed  lengths // begins with a digit, has others
	ended  lengths // ends with $
}

func (p progress) step(g *grammar, set *pattern.Set) progress {
	var n progress
	hasDigit, hasMiddle := set.HasAny(&g.digits), set.HasAny(&g.middle)
	if p.empty && set.HasAny(&g.start) {
		n.plain = 1 << 1
	}
	if p.empty && hasDigit {
		n.number = 1 << 1
	}
	if hasDigit {
		n.number |= p.number << 1
	}
	if hasMiddle {
		n.mixed = p.number << 1
	}
	if hasDigit || hasMiddle {
		n.plain |= p.plain << 1
		n.mixed |= p.mixed << 1
		if !hasDigit && !set.HasAny(&g.last32) {
			n.plain &^= 1 << maxLen
		}
	}
	if set.HasAny(&g.dollar) {
		n.ended = (p.plain | p.mixed) << 1
	}
	n.plain &= allLengths
	n.number &= allLengths
	n.mixed &= allLengths
	n.ended &= allLengths
	return n
}

func (p progress) or(q progress) progress {
	return progress{p.empty || q.empty, p.plain | q.plain, p.number | q.number, p.mixed | q.mixed, p.ended | q.ended}
}

// reachesUser reports whether a name exists that p matches and Valid takes.
func reachesUser(p pattern.Pattern) bool {
	g := newGrammar()
	at := progress{empty: true}
	for i := range p {
		next := at.step(g, &p[i].Set)
		if p[i].Star {
			for next = at.or(next); next != at; next = at.or(at.step(g, &p[i].Set)) {
				at = next
			}
		}
		at = next
	}
	return at.plain|at.mixed|at.ended != 0
}

// hint says what to write instead of a pattern that matches no user name.
func hint(text string) string {
	switch first := text[:min(1, len(text))]; {
	case first == "":
		return "it is empty"
	case strings.ContainsAny(first, "%@+&"):
		return "groups are not supported, list the users"
	case first == "!":
		return "write the users to leave out into users.deny"
	case strings.ContainsAny(text, "{}"):
		return "braces are not supported, write one pattern for each alternative"
	case strings.ContainsAny(text, " \t,;|"):
		return "write one pattern for each user, as in [\"alice\", \"bob\"]"
	case strings.ContainsAny(text, "^()+") || strings.Contains(text, ".*") || strings.HasSuffix(text, "$"):
		return "write a pattern of the shell, not a regular expression: * matches any characters, ? one"
	case strings.Trim(text, "0123456789") == "":
		return "write the name of the user, not its ID"
	case strings.ContainsFunc(text, func(c rune) bool { return c > '~' }):
		return "user names are ASCII"
	case len(text) > maxLen:
		return fmt.Sprintf("user names have at most %d characters", maxLen)
	}
	return "user names consist of letters, digits and @._- and start with a letter, a digit or _"
}
