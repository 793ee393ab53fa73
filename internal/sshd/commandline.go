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
	Flags []string
	// Log is the option by which it logs elsewhere than to syslog: "-e", "-E FILE"; ""
	// for none.
	Log    string
	single bool
	titled bool // read from a title, in which the borders of the words are lost
}

// parseTitle reads a command line that has lost the borders of its words, as sshd 8.2
// and later show theirs, and systemd that of a unit. The value of -o goes on until the
// next word that can be an option of sshd.
func parseTitle(title string) CommandLine {
	var words []string
	split := strings.Fields(title)
	for i := 0; i < len(split); i++ {
		words = append(words, split[i])
		flag, value := valueFlag(split[i])
		if i == 0 || flag == 0 {
			continue
		}
		if value == "" && i+1 < len(split) {
			i++
			words = append(words, split[i])
		}
		for flag == 'o' && i+1 < len(split) && !isFlag(split[i+1]) {
			i++
			words[len(words)-1] += " " + split[i]
		}
	}
	return parseCommandLine(words)
}

// valueFlag returns the option in a word that takes a value, 0 for none, and what of the
// value is in the word.
func valueFlag(word string) (flag byte, value string) {
	if flags, ok := strings.CutPrefix(word, "-"); ok && word != "--" {
		if i := strings.IndexAny(flags, valueFlags); i >= 0 {
			return flags[i], flags[i+1:]
		}
	}
	return 0, ""
}

// parseCommandLine reads arguments as sshd's getopt(3) does: options may be joined to
// their values and to each other (-Ddf/etc/x, -oK=V, -o "K V").
func parseCommandLine(words []string) CommandLine {
	c := CommandLine{Words: words}
	for i := 1; i < len(words); i++ {
		word := words[i]
		if word == "--" {
			break
		}
		if !strings.HasPrefix(word, "-") {
			continue // getopt goes on behind it
		}
		flag, value := valueFlag(word)
		for _, plain := range []byte(strings.TrimSuffix(word[1:], value)) {
			if plain != flag {
				c.add(plain, "")
			}
		}
		if flag == 0 {
			continue
		}
		if value == "" {
			if i++; i == len(words) {
				return c
			}
			value = words[i]
		}
		c.add(flag, value)
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
	case flag == 'e':
		c.Log = "-e"
	case flag == 'E':
		c.Log = "-E " + value
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
