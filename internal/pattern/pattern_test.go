package pattern

import (
	"strings"
	"testing"
	"time"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		syntax         Syntax
		pattern        string
		matches, fails string // words; ~ for the empty name
	}{
		{Path, "[!d]*", "root r", "daemon d ~"},
		{Path, "[^d]*", "root", "daemon"},
		{Path, "[[:lower:]]*", "root a", "Root 1 ~"},
		{Path, "[![:lower:][:digit:]]", "R _ -", "r 1 ~"},
		{Path, "[]a]", "] a", "[ b"},
		{Path, "[!]a]", "b [", "] a"},
		{Path, "[a-]", "a -", "b"},
		{Path, "[--0]", "- . 0", "1 /"},
		{Path, "[[.a.]-[.c.]]", "a b c", "d ."},
		{Path, "[[=a=]b]", "a b", "="},
		{Path, `[\]\-]`, "] -", `\`},
		{Path, `\[a\]`, "[a]", "a"},
		{Path, "a*b*c", "abc aXbYc abbc abcbc", "ab abcb a/bc"},
		{Path, "?", "a", "~ ab / ä"},
		{Path, "*", "~ a ab", "a/b /"},
		{Path, "*/b", "a/b /b", "a/c/b b"},
		{Path, "[!a]", "b", "/ a"},
		{Path, "**", "~ a", "/"},
		{Text, "[!a]", "b /", "a"},
		{Text, "a*c", "a/c ac", "a/"},
		{Text, "[.-0]", ". / 0", "1"},
		{Filter, `a\*b`, "a*b", "axb ab"},
		{Filter, `a\\b`, `a\b`, `a\\b ab`},
		{Filter, `a\?`, "a?", "ab"},
		{Filter, "[a]*", "[a] [a]b", "a"},
		{Filter, "?", "a ä 鍵", "~ ab äö"},
		{Filter, "*?b?", "äbö aäbö", "äb bö"},
		{Filter, "?*ö", "äö öö", "ö"},
		{Filter, `a\`, `a\`, "a"},
		{Wildcard, `a\*`, `a\ a\b`, "a*"},
		{Wildcard, "[!a]?", "[!a]b", "b a"},
	} {
		p, err := Compile(test.syntax, test.pattern)
		if err != nil {
			t.Errorf("%q: %v", test.pattern, err)
			continue
		}
		for list, want := range map[string]bool{test.matches: true, test.fails: false} {
			for _, name := range strings.Fields(list) {
				if name == "~" {
					name = ""
				}
				if p.Match(name) != want {
					t.Errorf("pattern %q, name %q: not %v", test.pattern, name, want)
				}
			}
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{
		"[":             "[ has no closing ]",
		"a[bc":          "[ has no closing ]",
		"[]":            "[ has no closing ]",
		"[!]":           "[ has no closing ]",
		`[\`:            "[ has no closing ]",
		`[a\]`:          "[ has no closing ]",
		"[a-":           "[ has no closing ]",
		`a\`:            "the backslash at the end escapes nothing",
		"[z-a]":         "the range z-a ends before it starts",
		"[a-[:digit:]]": "a character class cannot end a range",
		"[[:word:]]":    "there is no character class [:word:]",
		"[[::]]":        "there is no character class [::]",
		"[:lower:]*":    "write [[:lower:]] for the character class",
		"[[.ab.]]":      "is not a collating element of one character",
		"[[=":           "is not a collating element of one character",
		"[a/b]":         "a bracket expression cannot match a slash",
	} {
		p, err := Compile(Path, pattern)
		if err == nil || p != nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", pattern, err, want)
		}
		for _, syntax := range []Syntax{Filter, Wildcard} {
			if _, err := Compile(syntax, pattern); err != nil {
				t.Errorf("%q: %v", pattern, err)
			}
		}
	}
}

// A pattern of many stars must not take time exponential in them.
func TestManyStars(t *testing.T) {
	t.Parallel()
	p, err := Compile(Path, strings.Repeat("*a", 10_000)+"b")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	go func() { done <- p.Match(strings.Repeat("a", 10_000)) }()
	select {
	case matched := <-done:
		if matched {
			t.Error("it matches")
		}
	case <-time.After(time.Minute):
		t.Error("it takes more than a minute")
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	p, err := Compile(Text, `a*:[[:digit:]:]:[:]\:::*:b`)
	if err != nil {
		t.Fatal(err)
	}
	parts := p.Split(':', 6)
	if len(parts) != 6 {
		t.Fatalf("%d parts", len(parts))
	}
	for i, name := range []string{"ab", ":", ":", "", "", "x:b"} {
		if !parts[i].Match(name) {
			t.Errorf("part %d does not match %q", i, name)
		}
	}
	if whole := p.Split(':', 1); len(whole) != 1 || len(whole[0]) != len(p) {
		t.Error("one part is not the whole")
	}
}

// matchPlainly tries every length of every star.
func matchPlainly(p Pattern, name string) bool {
	switch {
	case len(p) == 0:
		return name == ""
	case p[0].Star:
		return matchPlainly(p[1:], name) || name != "" && p[0].Set.Has(name[0]) && matchPlainly(p, name[1:])
	}
	if name == "" || !p[0].Set.Has(name[0]) {
		return false
	}
	rest := name[1:]
	if p[0].UTF8 {
		for rest != "" && rest[0]&0xc0 == 0x80 {
			rest = rest[1:]
		}
	}
	return matchPlainly(p[1:], rest)
}

func FuzzMatch(f *testing.F) {
	for i, p := range pairs(3, 100) {
		f.Add(i, p.pattern, p.name)
	}
	f.Fuzz(func(t *testing.T, syntax int, pattern, name string) {
		if len(pattern) > 40 || len(name) > 20 || strings.Count(pattern, "*") > 6 {
			return
		}
		s := Syntax(syntax & 3)
		if p, err := Compile(s, pattern); err == nil && p.Match(name) != matchPlainly(p, name) {
			t.Errorf("syntax %d, pattern %q, name %q: %v", s, pattern, name, p.Match(name))
		}
		if s == Wildcard {
			return
		}
		// With every character escaped, a pattern matches itself only.
		var escaped strings.Builder
		for _, c := range []byte(pattern) {
			escaped.Write([]byte{'\\', c})
		}
		p, err := Compile(s, escaped.String())
		if err != nil || !p.Match(pattern) || p.Match(name) != (pattern == name) {
			t.Errorf("syntax %d: %q escaped: %v", s, pattern, err)
		}
	})
}
