package serial

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/serialgate"
	"github.com/eic-agent/eic-agent/internal/unitfile"
)

// template is the unit that Unit is an instance of.
const template = "serial-getty@.service"

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
		text, err := os.ReadFile(s.path(path))
		if err != nil {
			return "", err
		}
		commands = execStart(string(text), commands)
	}
	if len(commands) != 1 {
		return "", fmt.Errorf("%s has %d commands, not one", Unit, len(commands))
	}
	words, err := unitfile.Words(strings.NewReplacer("%I", tty, "%i", tty, "$TERM", "vt220", "${TERM}", "vt220").Replace(strings.TrimPrefix(commands[0], "-")))
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
	for _, name := range []string{Unit, template} {
		path, _, err := unitfile.Find(s.root(), name)
		switch {
		case err == nil:
			return path, nil
		case errors.Is(err, unitfile.ErrMasked):
			return "", fmt.Errorf("%s is masked", name)
		}
	}
	return "", errors.New("there is no unit " + template)
}

// dropIns returns the files that change the unit, in the order in which they do,
// but for our own.
func (s *System) dropIns() []string {
	// An empty one, or a link to /dev/null, takes another away.
	return slices.DeleteFunc(unitfile.DropIns(s.root(), dropInPath, Unit, template), func(path string) bool {
		st, err := os.Stat(s.path(path))
		return err != nil || !st.Mode().IsRegular()
	})
}

// execStart adds the commands of a unit file to those of the files before it.
func execStart(text string, commands []string) []string {
	for a := range unitfile.Assignments(text) {
		switch {
		case a.Section != "Service" || a.Key != "ExecStart":
		case a.Value == "":
			commands = nil
		default:
			commands = append(commands, a.Value)
		}
	}
	return commands
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
# The gate opens the line by itself: systemd cannot where whoever was logged in last
# has left another line discipline on it.
StandardInput=null
StandardOutput=null
# What goes wrong is not for whoever is on the line.
StandardError=journal
RestartSec=1
# No sandbox: whoever logs in would be in it.
`, tty, Binary, prefix, Binary, command)
}
