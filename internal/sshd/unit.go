package sshd

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/eic-agent/eic-agent/internal/keyscommand"
)

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

// unitDirs are where units stand, those that count most first (systemd.unit(5)).
func unitDirs() []string {
	return []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}
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
			if u := (Unit{Name: name, Files: dropIns(root, []string{name})}); len(u.Files) > 0 {
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

func readUnit(root, name string) (Unit, bool) {
	fragment := ""
	for _, dir := range unitDirs() {
		path := filepath.Join(dir, name)
		target, err := os.Readlink(filepath.Join(root, path))
		if err == nil {
			if target == "/dev/null" { // masked
				return Unit{}, false
			}
			// A link to a unit of another name makes this an alias.
			if base := filepath.Base(target); base != name {
				u, ok := readUnit(root, base)
				return u, ok
			}
		}
		if _, err := os.Stat(keyscommand.InRoot(root, path)); err == nil {
			fragment = path
			break
		}
	}
	if fragment == "" {
		return Unit{}, false
	}
	u := Unit{Name: name, Files: []string{fragment}}
	u.Aliases = aliases(root, name)
	u.Files = append(u.Files, dropIns(root, append([]string{name}, u.Aliases...))...)
	u.readExecStart(root)
	return u, true
}

// aliases returns the other names that are links to a unit.
func aliases(root, name string) []string {
	var names []string
	for _, other := range append(serviceNames(), socketNames()...) {
		for _, dir := range unitDirs() {
			target, err := os.Readlink(filepath.Join(root, dir, other))
			if err == nil && other != name && filepath.Base(target) == name && !slices.Contains(names, other) {
				names = append(names, other)
			}
		}
	}
	return names
}

// dropIns returns the drop-ins of a unit of those names in the order read: by file
// name, and of two with one name that in the directory that counts more.
func dropIns(root string, names []string) []string {
	byName := make(map[string]string)
	for _, dir := range unitDirs() {
		for _, name := range append(names, strings.TrimPrefix(filepath.Ext(names[0]), ".")) {
			files, _ := filepath.Glob(filepath.Join(root, dir, name+".d", "*.conf"))
			for _, file := range files {
				base := filepath.Base(file)
				if _, has := byName[base]; !has {
					byName[base] = inside(root, file)
				}
			}
		}
	}
	var list []string
	for _, base := range slices.Sorted(maps.Keys(byName)) {
		list = append(list, byName[base])
	}
	return list
}

func (u *Unit) readExecStart(root string) {
	environment := make(map[string]string)
	var command string
	for _, file := range u.Files {
		section := ""
		for number, line := range unitLines(keyscommand.InRoot(root, file)) {
			if strings.HasPrefix(line, "[") {
				section = line
				continue
			}
			key, value, ok := strings.Cut(line, "=")
			key, value = strings.TrimSpace(key), strings.TrimSpace(value)
			if !ok || section != "[Service]" {
				continue
			}
			switch key {
			case "ExecStart":
				command, u.StartFile, u.startLine = value, file, number
			case "Environment":
				for _, word := range unitWords(value) {
					if name, text, ok := strings.Cut(word, "="); ok {
						environment[name] = text
					}
				}
			case "EnvironmentFile":
				readEnvironment(keyscommand.InRoot(root, strings.TrimPrefix(value, "-")), environment)
			}
		}
	}
	if command == "" {
		u.StartFile = ""
		return
	}
	for _, word := range unitWords(strings.TrimLeft(command, "-@:+!")) {
		u.ExecStart = append(u.ExecStart, expand(word, environment)...)
	}
}

// unitLines returns the lines of a unit file, continued ones as one, by number.
func unitLines(path string) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		text, err := readFile(path, maxConfig)
		if err != nil {
			return
		}
		begun, first := "", 0
		for i, line := range strings.Split(string(text), "\n") {
			trimmed := strings.TrimSpace(line)
			if strings.HasPrefix(trimmed, "#") || strings.HasPrefix(trimmed, ";") {
				continue
			}
			if begun == "" {
				first = i + 1
			}
			if rest, ok := strings.CutSuffix(trimmed, `\`); ok {
				begun += rest + " "
				continue
			}
			if line := begun + trimmed; line != "" && !yield(first, line) {
				return
			}
			begun = ""
		}
	}
}

// unitWords splits a value at blanks; single and double quotes hold a word
// together. Specifiers are left alone but %%, which is a percent sign.
func unitWords(value string) []string {
	var list []string
	var word []byte
	in, quote := false, byte(0)
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, in = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if in {
				list, word, in = append(list, string(word)), nil, false
			}
		case c == '\\' && i+1 < len(value):
			i++
			word, in = append(word, value[i]), true
		case c == '%' && i+1 < len(value) && value[i+1] == '%':
			i++
			word, in = append(word, c), true
		default:
			word, in = append(word, c), true
		}
	}
	if in {
		list = append(list, string(word))
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
func readEnvironment(path string, environment map[string]string) {
	for _, line := range unitLines(path) {
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
