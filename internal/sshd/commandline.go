package sshd

import (
	"path/filepath"
	"slices"
	"strings"
)

// The options of sshd in all versions from 7.4: those with a value, those without, and
// of the latter those with which sshd serves one connection or only answers a question.
const (
	valueFlags  = "bCcEfghkopu"
	plainFlags  = "46DGQRTVdeiqrt"
	singleFlags = "iRtTGV"
	// configFlags change the configuration that sshd -T prints.
	configFlags = "46pghcq"
)

// A CommandLine is how sshd is started.
type CommandLine struct {
	Words   []string  // all of it, the program first
	Options []Setting // what -o sets, in order
	Config  string    // what -f names, or ""
	// Flags are the other options that change what sshd -T prints, such as -p 2222.
	Flags  []string
	single bool
}

// parseCommandLine reads arguments as sshd's getopt(3) does: options may be joined to
// their values and to each other (-Ddf/etc/x, -oK=V, -o "K V").
func parseCommandLine(words []string) CommandLine { return readCommandLine(words, false) }

// parseTitle reads a command line that has lost the borders of its words, as sshd 8.2
// and later show theirs. The value of -o goes on until the next word that can be an
// option of sshd.
func parseTitle(title string) CommandLine { return readCommandLine(strings.Fields(title), true) }

func readCommandLine(words []string, joined bool) CommandLine {
	c := CommandLine{Words: words}
	for i := 1; i < len(words); i++ {
		word := words[i]
		if word == "--" {
			break
		}
		if !strings.HasPrefix(word, "-") {
			continue // getopt goes on behind it
		}
		for flags := word[1:]; flags != ""; flags = flags[1:] {
			if !strings.Contains(valueFlags, flags[:1]) {
				c.add(flags[0], "")
				continue
			}
			value := flags[1:]
			if value == "" {
				if i++; i == len(words) {
					return c
				}
				value = words[i]
			}
			for joined && flags[0] == 'o' && i+1 < len(words) && !isFlag(words[i+1]) {
				i++
				value += " " + words[i]
			}
			c.add(flags[0], value)
			break
		}
	}
	return c
}

// isFlag reports whether a word can be options of sshd.
func isFlag(word string) bool {
	rest, ok := strings.CutPrefix(word, "-")
	if !ok || rest == "" {
		return false
	}
	for i := range len(rest) {
		switch {
		case strings.Contains(valueFlags, rest[i:i+1]):
			return true
		case !strings.Contains(plainFlags, rest[i:i+1]):
			return false
		}
	}
	return true
}

func (c *CommandLine) add(flag byte, value string) {
	switch {
	case flag == 'o':
		if keyword, value := SplitLine(value); keyword != "" {
			c.Options = append(c.Options, Setting{Keyword: keyword, Value: value})
		}
	case flag == 'f':
		c.Config = value
	case strings.IndexByte(configFlags, flag) >= 0:
		c.Flags = append(c.Flags, "-"+string(flag))
		if strings.IndexByte(valueFlags, flag) >= 0 {
			c.Flags = append(c.Flags, value)
		}
	}
	c.single = c.single || strings.IndexByte(singleFlags, flag) >= 0
}

// isSSHD reports whether the command line starts sshd.
func (c CommandLine) isSSHD() bool {
	return len(c.Words) > 0 && filepath.IsAbs(c.Words[0]) && filepath.Base(c.Words[0]) == "sshd"
}

// from returns the command line with the place of its options.
func (c CommandLine) from(option, file string, line int) CommandLine {
	c.Options = slices.Clone(c.Options)
	for i := range c.Options {
		c.Options[i].Option, c.Options[i].File, c.Options[i].Line = option, file, line
	}
	return c
}
