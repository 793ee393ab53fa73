package serial

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/serialgate"
)

// unitDirs are where systemd looks for units, the first before the others
// (systemd.unit(5)).
func unitDirs() []string {
	return []string{"etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"}
}

// gettyCommand returns the ExecStart line of the unit of the serial getty as it is
// without this package's drop-in: with its prefix, unexpanded. It has to be one
// command, and one that a gate can stand in front of.
func (s *System) gettyCommand() (string, error) {
	fragment, err := s.fragment()
	if err != nil {
		return "", err
	}
	var commands []string
	for _, path := range append([]string{fragment}, s.dropIns()...) {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		commands = execStart(string(text), commands)
	}
	if len(commands) != 1 {
		return "", fmt.Errorf("%s has %d commands, not one", Unit, len(commands))
	}
	words, err := splitWords(strings.NewReplacer("%I", tty, "%i", tty, "$TERM", "vt220", "${TERM}", "vt220").Replace(strings.TrimPrefix(commands[0], "-")))
	if err != nil {
		return "", fmt.Errorf("%s: %w", Unit, err)
	}
	if err := serialgate.CheckCommand(words); err != nil {
		return "", fmt.Errorf("%s: %w", Unit, err)
	}
	return commands[0], nil
}

// fragment returns the file of the unit.
func (s *System) fragment() (string, error) {
	for _, name := range []string{Unit, "serial-getty@.service"} {
		for _, dir := range unitDirs() {
			path := filepath.Join(s.root(), dir, name)
			target, err := os.Readlink(path)
			if err == nil && target == "/dev/null" {
				return "", fmt.Errorf("%s is masked", name)
			}
			if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
				return path, nil
			}
		}
	}
	return "", errors.New("there is no unit serial-getty@.service")
}

// dropIns returns the files that change the unit, in the order in which they do,
// but for our own.
func (s *System) dropIns() []string {
	byName := make(map[string]string)
	for _, unit := range []string{Unit, "serial-getty@.service"} {
		for _, dir := range unitDirs() {
			paths, err := filepath.Glob(filepath.Join(s.root(), dir, unit+".d", "*.conf"))
			if err != nil {
				continue
			}
			for _, path := range paths {
				name := filepath.Base(path)
				if _, ok := byName[name]; !ok && path != s.dropIn() {
					byName[name] = path
				}
			}
		}
	}
	var paths []string
	for _, path := range byName {
		// An empty one, or a link to /dev/null, takes another away.
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			paths = append(paths, path)
		}
	}
	slices.SortFunc(paths, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	return paths
}

// execStart adds the commands of a unit file to those of the files before it.
func execStart(text string, commands []string) []string {
	text = strings.ReplaceAll(text, "\\\n", " ")
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if line[0] == '[' {
			section = line
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section != "[Service]" || strings.TrimSpace(key) != "ExecStart" {
			continue
		}
		if value = strings.TrimSpace(value); value == "" {
			commands = nil
		} else {
			commands = append(commands, value)
		}
	}
	return commands
}

// splitWords splits a command line as systemd does, with its quotes and those of
// its escapes that stand for one character (systemd.service(5)).
func splitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, quote := false, byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\':
			i++
			if i == len(line) || !strings.ContainsRune(`\"' `, rune(line[i])) {
				return nil, errors.New("the command has an escape that is not understood here")
			}
			word.WriteByte(line[i])
			inWord = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\'') && !inWord:
			quote, inWord = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errors.New("the command has a quote without an end")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// dropInText is the drop-in that puts the gate in front of a getty command.
func dropInText(command string) string {
	prefix := ""
	if rest, ok := strings.CutPrefix(command, "-"); ok {
		prefix, command = "-", rest
	}
	return fmt.Sprintf(`# Holds the serial console %s locked until a key is pushed for it: see
# eic-serial-getty(8). Written by "eicctl serial enable"; "eicctl serial disable"
# takes it away. Do that before %s is removed:
# without it nobody can log in here.
[Unit]
# A console is never given up.
StartLimitIntervalSec=0

[Service]
# After -- stands the command of the distribution's own unit.
ExecStart=
ExecStart=%s%s %%I -- %s
# What goes wrong is not for whoever is on the line.
StandardError=journal
RestartSec=1
# No sandbox: whoever logs in would be in it.
`, tty, Binary, prefix, Binary, command)
}
