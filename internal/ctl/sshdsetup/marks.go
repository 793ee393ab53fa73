package sshdsetup

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/sshd"
)

// What enable writes into files is marked, so that it can be told from what is
// there besides.
const (
	beginMark   = `# BEGIN eic-agent: by "eicctl sshd enable", until "eicctl sshd disable"`
	endMark     = "# END eic-agent"
	retiredMark = "#eic-agent: "          // before a line that was put out of action
	lineMark    = " # eicctl sshd enable" // after a line of the configuration
)

// block returns the lines for sshd.
func block(command, user string) []byte {
	return fmt.Appendf(nil, "%s\nAuthorizedKeysCommand %s\nAuthorizedKeysCommandUser %s\n%s\n", beginMark, command, user, endMark)
}

// strip takes away what is marked, and puts lines back into action. It leaves
// everything else as it is, also what somebody has added between marks.
func strip(text []byte) []byte {
	var out []byte
	lines := slices.Collect(bytes.Lines(stripBlock(text)))
	for i, line := range lines {
		retired, isRetired := bytes.CutPrefix(line, []byte(retiredMark))
		switch {
		case isMarked(line) && !(isHeader(line) && hasMore(lines[i+1:])):
		case isMarked(line):
			out = append(out, bytes.Replace(line, []byte(lineMark), nil, 1)...)
		case isRetired && isCommand(retired):
			out = append(out, retired...)
		default:
			out = append(out, line...)
		}
	}
	return out
}

func isMarked(line []byte) bool { return bytes.HasSuffix(bytes.TrimSpace(line), []byte(lineMark)) }

// isHeader reports whether a line of the configuration begins a table.
func isHeader(line []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(line), []byte("[")) }

// hasMore reports whether a table goes on with lines that are not ours.
func hasMore(lines [][]byte) bool {
	for _, line := range lines {
		switch text := bytes.TrimSpace(line); {
		case isHeader(line):
			return false
		case len(text) > 0 && text[0] != '#' && !isMarked(line):
			return true
		}
	}
	return false
}

// isCommand reports whether a line for sshd is of the kind that a block has, or that
// is retired.
func isCommand(line []byte) bool {
	keyword, _ := sshd.SplitLine(string(line))
	return keyword == sshd.KeywordCommand || keyword == sshd.KeywordCommandUser
}

// stripBlock takes away our block alone, without the lines in it that somebody else
// has added. One that does not end is left.
func stripBlock(text []byte) []byte {
	var out, held, kept []byte
	for line := range bytes.Lines(text) {
		trimmed := strings.TrimSpace(string(line))
		switch {
		case held != nil && trimmed == endMark:
			out = append(out, kept...)
			held, kept = nil, nil
		case held != nil:
			held = append(held, line...)
			if !isCommand(line) {
				kept = append(kept, line...)
			}
		case trimmed == beginMark:
			held = bytes.Clone(line)
		default:
			out = append(out, line...)
		}
	}
	return append(out, held...)
}

// insert puts the block before the first line that is neither blank nor a comment,
// so that sshd reads it first and outside all Match blocks.
func insert(text, block []byte) []byte {
	at := 0
	for line := range bytes.Lines(text) {
		if keyword, _ := sshd.SplitLine(string(line)); keyword != "" {
			return bytes.Join([][]byte{text[:at], block, text[at:]}, nil)
		}
		at += len(line)
	}
	if at > 0 && text[at-1] != '\n' {
		text = append(bytes.Clone(text), '\n')
	}
	return append(bytes.Clone(text), block...)
}

// retire puts the lines of those numbers, from 1, out of action.
func retire(text []byte, numbers []int) []byte {
	var out []byte
	number := 0
	for line := range bytes.Lines(text) {
		number++
		for _, n := range numbers {
			if n == number {
				out = append(out, retiredMark...)
			}
		}
		out = append(out, line...)
	}
	return out
}

// turnOnExpiry returns the agent's configuration with [keys] expiry_time turned on
// and everything else as it was; ok is false where that cannot be done, or need
// not, or where the text says that it is to be off.
func turnOnExpiry(text []byte) (changed []byte, ok bool) {
	before, err := config.Parse(text)
	if err != nil || before.Keys.ExpiryTime {
		return nil, false
	}
	const line = "expiry_time = true" + lineMark + "\n"
	var out []byte
	done := false
	for l := range bytes.Lines(text) {
		out = append(out, l...)
		header, _, _ := strings.Cut(string(l), "#")
		if !done && strings.Join(strings.Fields(header), "") == "[keys]" {
			if l[len(l)-1] != '\n' {
				out = append(out, '\n')
			}
			out, done = append(out, line...), true
		}
	}
	if !done {
		if n := len(out); n > 0 && out[n-1] != '\n' {
			out = append(out, '\n')
		}
		out = append(out, "[keys]"+lineMark+"\n"+line...)
	}
	// A table that is written in another way, or the key itself, makes this fail.
	after, err := config.Parse(out)
	if err != nil || !after.Keys.ExpiryTime {
		return nil, false
	}
	return out, true
}
