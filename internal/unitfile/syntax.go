package unitfile

import (
	"errors"
	"iter"
	"strings"
)

// An Assignment is a line KEY=VALUE of a unit file. Neither is checked.
type Assignment struct {
	Section string // without its brackets; "" before the first, and after a broken one
	Key     string
	Value   string // verbatim, without blanks around it
	Line    int    // where it begins, from 1
}

// Assignments returns those of the text of a unit file, in their order. A line that
// is no assignment is passed over, as systemd does with a warning.
func Assignments(text string) iter.Seq[Assignment] {
	return func(yield func(Assignment) bool) {
		section := ""
		for number, line := range Lines(text) {
			if line[0] == '[' {
				section = ""
				if inner, ok := strings.CutSuffix(line[1:], "]"); ok {
					section = inner
				}
				continue
			}
			key, value, ok := strings.Cut(line, "=")
			if ok && !yield(Assignment{section, strings.TrimSpace(key), strings.TrimSpace(value), number}) {
				return
			}
		}
	}
}

// Lines returns the lines of a file in systemd's syntax (systemd.syntax(7)), trimmed,
// with their numbers, without empty lines and comments. A backslash at the end joins
// a line to the next, and becomes a space; comments in between are skipped, and an
// empty line ends the joined line. As in systemd, a backslash that is escaped or
// followed by a space joins nothing.
func Lines(text string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		begun, first, number := "", 0, 0
		for line := range strings.Lines(text) {
			number++
			line = strings.TrimRight(line, "\r\n")
			if bare := strings.TrimSpace(line); bare != "" && (bare[0] == '#' || bare[0] == ';') {
				continue
			}
			if first == 0 {
				first = number
			}
			if head := strings.TrimRight(line, `\`); (len(line)-len(head))%2 == 1 {
				begun += line[:len(line)-1] + " "
				continue
			}
			if whole := strings.TrimSpace(begun + line); whole != "" && !yield(first, whole) {
				return
			}
			begun, first = "", 0
		}
		if whole := strings.TrimSpace(begun); whole != "" {
			yield(first, whole)
		}
	}
}

// Words splits a command line, or another value of words, as systemd does: at
// blanks, with single and double quotes that hold a word together (systemd.syntax(7),
// "Quoting"; as in systemd, and not there, one may begin within a word). Of the
// escapes those are known that stand for the character after the backslash, a quote,
// backslash or blank. Any other, and a quote without an end, is an error. The words
// are then the nearest there is: that character, or all up to the end. Specifiers and
// variables are left as they are.
func Words(value string) ([]string, error) {
	var list []string
	var word []byte
	var err error
	in, quote := false, byte(0)
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == '\\':
			escaped := value[i+1:]
			if escaped == "" || !strings.ContainsRune(`\"' `, rune(escaped[0])) {
				err = errors.New("the command has an unsupported escape")
			}
			if escaped != "" {
				i++
			}
			word, in = append(word, value[i]), true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, in = c, true
		case quote == 0 && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			if in {
				list, word, in = append(list, string(word)), nil, false
			}
		default:
			word, in = append(word, c), true
		}
	}
	if quote != 0 {
		err = errors.New("the command has an unterminated quote")
	}
	if in {
		list = append(list, string(word))
	}
	return list, err
}
