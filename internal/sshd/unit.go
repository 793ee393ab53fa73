package sshd

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/eic-agent/eic-agent/internal/sysroot"
	"github.com/eic-agent/eic-agent/internal/unitfile"
)

// maxAliases bounds links from one unit to the next: they may go round in a circle.
const maxAliases = 8

// A Unit is a systemd unit of sshd, as its files say and, where systemd runs, as
// it is.
type Unit struct {
	Name    string   `json:"name"`
	Files   []string `json:"files"`             // the unit's own, then its drop-ins in the order read
	Aliases []string `json:"aliases,omitempty"` // its other names
	// ExecStart is the command of the service as words, with the variables of
	// its environment put in, and StartFile the file that sets it.
	ExecStart []string `json:"exec_start,omitempty"`
	StartFile string   `json:"start_file,omitempty"`
	startLine int

	// From systemd, "" or 0 where it does not run.
	Active           string `json:"active,omitempty"` // "active", "inactive", ...
	MainPID          int    `json:"main_pid,omitempty"`
	KillMode         string `json:"kill_mode,omitempty"`
	NeedDaemonReload bool   `json:"need_daemon_reload,omitempty"`
}

// serviceNames and socketNames are what distributions call sshd's units.
func serviceNames() []string { return []string{"ssh.service", "sshd.service"} }
func socketNames() []string  { return []string{"ssh.socket", "sshd.socket"} }

// findUnits returns sshd's units, services before sockets. A unit that is only
// another name of one is not listed again. Where there is no service, or a masked one
// only, those are listed of which there are drop-ins: they count as soon as there is.
func findUnits(root string) []Unit {
	units := existing(root, serviceNames())
	if len(units) == 0 {
		for _, name := range serviceNames() {
			if u := (Unit{Name: name, Files: unitfile.DropIns(root, "", name)}); len(u.Files) > 0 {
				u.readExecStart(root)
				units = append(units, u)
			}
		}
	}
	return append(units, existing(root, socketNames())...)
}

func existing(root string, names []string) []Unit {
	var units []Unit
	for _, name := range names {
		u, ok := readUnit(root, name)
		if ok && !slices.ContainsFunc(units, func(other Unit) bool { return other.Name == u.Name }) {
			units = append(units, u)
		}
	}
	return units
}

// readUnit reads the unit of that name, or the one that it is another name of.
func readUnit(root, name string) (Unit, bool) {
	fragment, other, err := unitfile.Find(root, name)
	for range maxAliases {
		if err != nil || other == "" {
			break
		}
		name = other
		fragment, other, err = unitfile.Find(root, name)
	}
	if err != nil || other != "" {
		return Unit{}, false
	}
	u := Unit{Name: name, Files: []string{fragment}}
	u.Aliases = aliases(root, name)
	u.Files = append(u.Files, unitfile.DropIns(root, "", append([]string{name}, u.Aliases...)...)...)
	u.readExecStart(root)
	return u, true
}

// aliases returns the other names that are links to a unit.
func aliases(root, name string) []string {
	var names []string
	for _, other := range append(serviceNames(), socketNames()...) {
		for _, dir := range unitfile.Dirs() {
			if other != name && unitfile.LinksTo(root, dir, other) == name && !slices.Contains(names, other) {
				names = append(names, other)
			}
		}
	}
	return names
}

func (u *Unit) readExecStart(root string) {
	environment := make(map[string]string)
	var command string
	for _, file := range u.Files {
		for a := range unitfile.Assignments(readUnitFile(root, file)) {
			if a.Section != "Service" {
				continue
			}
			switch a.Key {
			case "ExecStart":
				command, u.StartFile, u.startLine = a.Value, file, a.Line
			case "Environment":
				for _, word := range unitWords(a.Value) {
					if name, text, ok := strings.Cut(word, "="); ok {
						environment[name] = text
					}
				}
			case "EnvironmentFile":
				readEnvironment(root, strings.TrimPrefix(a.Value, "-"), environment)
			}
		}
	}
	if command == "" {
		u.StartFile = ""
		return
	}
	for _, word := range unitWords(strings.TrimLeft(command, unitfile.Prefixes)) {
		u.ExecStart = append(u.ExecStart, expand(word, environment)...)
	}
}

// readUnitFile returns the text of a file of a unit, or "" where it cannot be read.
func readUnitFile(root, path string) string {
	text, err := readFile(sysroot.Path(root, path), maxConfig)
	if err != nil {
		return ""
	}
	return string(text)
}

// unitWords splits a value into words as well as can be: what is wrong with it
// is for systemd to say. Specifiers are left alone but %%, which is a percent sign.
func unitWords(value string) []string {
	list, _ := unitfile.Words(value)
	for i := range list {
		list[i] = strings.ReplaceAll(list[i], "%%", "%")
	}
	return list
}

// expand puts variables in: $NAME as a word of its own becomes the words of the
// value, ${NAME} becomes the value (systemd.service(5)).
func expand(word string, environment map[string]string) []string {
	if name, ok := strings.CutPrefix(word, "$"); ok && name != "" && !strings.HasPrefix(name, "{") {
		return unitWords(environment[name])
	}
	for name, value := range environment {
		word = strings.ReplaceAll(word, "${"+name+"}", value)
	}
	return []string{word}
}

// readEnvironment reads an environment file into environment. One that is not
// there has none.
func readEnvironment(root, path string, environment map[string]string) {
	for _, line := range unitfile.Lines(readUnitFile(root, path)) {
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if !ok {
			continue
		}
		if n := len(value); n > 1 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		environment[strings.TrimSpace(name)] = value
	}
}

// ask adds what systemd knows of the unit.
func (u *Unit) ask(ctx context.Context) {
	out, err := output(ctx, "/", "systemctl", "show", "-p", "ActiveState,MainPID,KillMode,NeedDaemonReload", u.Name)
	if err != nil {
		return
	}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "ActiveState":
			u.Active = value
		case "MainPID":
			u.MainPID, _ = strconv.Atoi(value)
		case "KillMode":
			u.KillMode = value
		case "NeedDaemonReload":
			u.NeedDaemonReload = value == "yes"
		}
	}
}

// IsSocket reports whether the unit is a socket that starts sshd.
func (u Unit) IsSocket() bool { return strings.HasSuffix(u.Name, ".socket") }

// Options returns what the unit's command line sets with -o.
func (u Unit) Options() []Setting {
	var list []Setting
	for _, s := range optionsOf(u.ExecStart) {
		s.File, s.Line, s.Option = u.StartFile, u.startLine, "-o of unit "+u.Name
		list = append(list, s)
	}
	return list
}
