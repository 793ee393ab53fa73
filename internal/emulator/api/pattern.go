package api

// A pattern has characters to match and, in place of some, wildcards.
type pattern []element

type element struct {
	wildcard byte // * or ?; 0: char
	char     rune
}

// parsePattern reads a pattern in which * stands for any number of characters and
// ? for one. With escapes, as in the filters of EC2, a backslash takes what
// follows it as it is.
func parsePattern(text string, escapes bool) pattern {
	var p pattern
	escaped := false
	for _, r := range text {
		switch {
		case escaped:
			p, escaped = append(p, element{char: r}), false
		case escapes && r == '\\':
			escaped = true
		case r == '*' || r == '?':
			p = append(p, element{wildcard: byte(r)})
		default:
			p = append(p, element{char: r})
		}
	}
	if escaped {
		p = append(p, element{char: '\\'})
	}
	return p
}

// match takes no more than the product of both lengths.
func (p pattern) match(text string) bool {
	s := []rune(text)
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(p) && p[i].wildcard == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i].wildcard == '?' || p[i].wildcard == 0 && p[i].char == s[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i].wildcard == '*' {
		i++
	}
	return i == len(p)
}
