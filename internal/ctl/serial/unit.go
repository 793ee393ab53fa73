package serial

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/serialgate"
	"github.com/eic-agent/eic-agent/internal/unitfile"
)

// template is the unit that Unit is an instance of.
const template = "serial-getty@.service"

// errNoUnit is of a system whose unit files have no serial getty.
var errNoUnit = errors.New("there is no unit " + template)

// unitFiles returns the files of the unit in the order in which systemd reads them.
func (s *System) unitFiles() ([]string, error) {
	files, err := unitfile.Files(s.root(), Unit)
	switch {
	case errors.Is(err, unitfile.ErrMasked):
		return nil, fmt.Errorf("%s is masked", Unit)
	case errors.Is(err, fs.ErrNotExist):
		return nil, errNoUnit
	case err != nil:
		return nil, err
	}
	return files, nil
}

// isOwn reports whether a file is the drop-in, under its name of today or the one that
// earlier versions gave it.
func isOwn(path string) bool { return path == dropInPath || path == oldDropInPath }

// gettyCommand returns the ExecStart line of the unit of the serial getty without this
// package's drop-in: with its prefix, unexpanded. It has to be one command, and one that
// a gate can stand in front of.
func (s *System) gettyCommand() (command setting, err error) {
	files, err := s.unitFiles()
	if err != nil {
		return command, err
	}
	e, err := s.read(slices.DeleteFunc(files, isOwn))
	if err != nil {
		return command, err
	}
	if len(e.exec) != 1 {
		return command, fmt.Errorf("%s has %d commands, not one: see %s", Unit, len(e.exec), cmp.Or(e.taken, setting{file: files[0]}).place())
	}
	words, err := unitfile.Words(strings.NewReplacer("%I", tty, "%i", tty, "$TERM", "vt220", "${TERM}", "vt220").Replace(strings.TrimPrefix(e.exec[0].Value, "-")))
	if err == nil {
		err = serialgate.CheckCommand(words)
	}
	if err != nil {
		return command, fmt.Errorf("%s (%s): %w", Unit, e.exec[0].place(), err)
	}
	return e.exec[0], nil
}

// A setting is a line of a unit file.
type setting struct {
	unitfile.Assignment
	file string
}

func (s setting) place() string { return fmt.Sprintf("%s:%d", s.file, s.Line) }

func (s setting) line() string { return s.Key + "=" + s.Value }

// An effect is the merged result of the files of a unit.
type effect struct {
	exec   []setting
	beside []setting          // commands that run before, or after it has started
	last   map[string]setting // by key, of those that count once
	taken  setting            // the last line that sets ExecStart and is not ours
}

// read reads the files of a unit in that order.
func (s *System) read(files []string) (*effect, error) {
	e := &effect{last: make(map[string]setting)}
	for _, path := range files {
		text, err := os.ReadFile(s.path(path))
		if err != nil {
			return nil, err
		}
		for a := range unitfile.Assignments(string(text)) {
			if a.Section != "Service" {
				continue
			}
			line := setting{a, path}
			switch a.Key {
			case "ExecStart":
				if !isOwn(path) {
					e.taken = line
				}
				if a.Value == "" {
					e.exec = nil
				} else {
					e.exec = append(e.exec, line)
				}
			case "ExecCondition", "ExecStartPre", "ExecStartPost":
				if a.Value == "" {
					e.beside = slices.DeleteFunc(e.beside, func(b setting) bool { return b.Key == a.Key })
				} else {
					e.beside = append(e.beside, line)
				}
			default:
				e.last[a.Key] = line
			}
		}
	}
	return e, nil
}

// isGate reports whether the unit starts the gate, by the drop-in, and nothing else.
func (e *effect) isGate() bool {
	return len(e.exec) == 1 && isOwn(e.exec[0].file)
}

// required are the values without which the gate does not run as it is meant to. "" is
// systemd's default.
var required = map[string][]string{
	"Type":          {"", "idle", "simple", "exec"},
	"User":          {"", "root", "0"},
	"DynamicUser":   {"", "no", "false", "0", "off"},
	"RootDirectory": {"", "/"},
	"RootImage":     {""},
	"StandardInput": {"null"},
	"Restart":       {"always"}, // or nothing serves the port after the first session
	// Without the device it cannot ask, and without the network not look for a key.
	"PrivateDevices": {"", "no", "false", "0", "off"},
	"PrivateNetwork": {"", "no", "false", "0", "off"},
}

// obstacles says what in the files keeps the gate from the console, or lets others at it,
// beside ExecStart.
func (e *effect) obstacles() []Problem {
	var list []Problem
	for _, key := range slices.Sorted(maps.Keys(required)) {
		if line, ok := e.last[key]; ok && !slices.Contains(required[key], line.Value) {
			list = append(list, Problem{What: fmt.Sprintf("%s sets %s, with which the gate does not work", line.place(), line.line()), Hint: "take the line out of " + line.file, locksOut: true})
		}
	}
	for _, line := range e.beside {
		words, _ := unitfile.Words(strings.TrimLeft(line.Value, unitfile.Prefixes))
		program := filepath.Base(cmp.Or(append(words, "")[0], "nothing"))
		if slices.Contains(openers, program) {
			list = append(list, Problem{What: fmt.Sprintf("%s has systemd run %s beside the gate, which opens the console: %s", line.place(), program, line.line()), Hint: "take the line out of " + line.file, locksOut: true})
			continue
		}
		list = append(list, Problem{What: fmt.Sprintf("%s has systemd run %s beside the gate; whether that opens the console is unknown", line.place(), line.line()), Hint: "see that it does not, or take the line out of " + line.file})
	}
	return list
}

// openers are programs that ask for a name and password, or for nothing.
var openers = []string{"agetty", "getty", "mgetty", "mingetty", "fgetty", "fbgetty", "login", "sulogin", "systemd-sulogin-shell", "su", "runuser", "sh", "bash", "dash", "ash", "ksh", "zsh", "busybox", "openvt", "setsid"}

// after returns the lines that would override the drop-in's settings, because their
// file is read later or replaces it.
func (s *System) after(files []string) ([]setting, error) {
	sets := map[string]bool{"ExecStart": true}
	for a := range unitfile.Assignments(dropInText("-/sbin/agetty")) {
		if a.Section == "Service" {
			sets[a.Key] = true
		}
	}
	var lines []setting
	for _, path := range files {
		if isOwn(path) || filepath.Base(path) < dropInName || !strings.HasSuffix(filepath.Dir(path), ".d") {
			continue
		}
		text, err := os.ReadFile(s.path(path))
		if err != nil {
			return nil, err
		}
		for a := range unitfile.Assignments(string(text)) {
			if a.Section == "Service" && sets[a.Key] {
				lines = append(lines, setting{a, path})
			}
		}
	}
	return lines, nil
}

// writtenBy marks the drop-in of eicctl serial enable, of any version.
const writtenBy = `Written by "eicctl serial enable"`

// dropInText is the drop-in that puts the gate in front of a getty command.
func dropInText(command string) string {
	prefix := ""
	if rest, ok := strings.CutPrefix(command, "-"); ok {
		prefix, command = "-", rest
	}
	return fmt.Sprintf(`# Locks the serial console %s until a key is pushed for it: see
# eic-serial-getty(8). Written by "eicctl serial enable", removed by "eicctl serial
# disable". Run that before removing %s: without it
# nobody can log in here. The name sorts last, since systemd takes the last drop-in
# that sets ExecStart.
[Unit]
# Never stop restarting it.
StartLimitIntervalSec=0

[Service]
# After -- comes the command of the distribution's unit.
ExecStart=
ExecStart=%s%s %%I -- %s
# The gate opens the terminal: systemd fails if the last user left another line
# discipline on it.
StandardInput=null
StandardOutput=null
# Errors are not shown on the console.
StandardError=journal
# Lock it again after each session.
Restart=always
RestartSec=1
# No sandbox: the login shell would inherit it.
`, tty, Binary, prefix, Binary, command)
}
