package sshdsetup

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/eic-agent/eic-agent/internal/sshd"
)

// What enable writes into files is marked, to distinguish it from what is
// there besides.
const (
	beginMark   = `# BEGIN eic-agent: by "eicctl sshd enable", until "eicctl sshd disable"`
	endMark     = "# END eic-agent"
	retiredMark = "#eic-agent: " // before a line that was put out of action
)

// block returns the lines for sshd.
func block(command, user string) []byte {
	return fmt.Appendf(nil, "%s\nAuthorizedKeysCommand %s\nAuthorizedKeysCommandUser %s\n%s\n", beginMark, command, user, endMark)
}

// strip removes marked lines, and restores commented ones. It leaves
// everything else as it is, also what somebody has added between marks.
func strip(text []byte) []byte {
	var out []byte
	for line := range bytes.Lines(stripBlock(text)) {
		if retired, ok := bytes.CutPrefix(line, []byte(retiredMark)); ok && isCommand(retired) {
			line = retired
		}
		out = append(out, line...)
	}
	return out
}

// isCommand reports whether a line for sshd is of the kind that a block has, or that
// is retired.
func isCommand(line []byte) bool {
	keyword, _ := sshd.SplitLine(string(line))
	return keyword == sshd.KeywordCommand || keyword == sshd.KeywordCommandUser
}

// stripBlock removes our block, but not lines in it that somebody else
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
