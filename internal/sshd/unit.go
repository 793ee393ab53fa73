package sshd

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/eic-agent/eic-agent/internal/sysroot"
	"github.com/eic-agent/eic-agent/internal/systemctl"
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

	// RuntimeDirectory is that which systemd makes for the service and, without
	// RuntimeDirectoryPreserve, removes when an instance of it ends.
	RuntimeDirectory string `json:"runtime_directory,omitempty"`
	preserve         bool

	raw         []string // ExecStart without the environment
	environment map[string]string

	// Of a socket: Accept says that it starts an sshd for each connection, and
	// Starts which unit that is. Listen are its addresses.
	Accept bool     `json:"accept,omitempty"`
	Starts string   `json:"starts,omitempty"`
	Listen []string `json:"listen,omitempty"`
	starts *Unit

	// From systemd, "" or 0 where it does not run.
	Active           string `json:"active,omitempty"` // "active", "inactive", ...
	MainPID          int    `json:"main_pid,omitempty"`
	KillMode         string `json:"kill_mode,omitempty"`
	NeedDaemonReload bool   `json:"need_daemon_reload,omitempty"`
}

func (u Unit) isActive() bool { return u.Active == "active" || u.Active == "reloading" }

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
	u.read(root)
	return u, true
}

// read reads the unit's files.
func (u *Unit) read(root string) {
	if u.IsSocket() {
		u.readSocket(root)
	} else {
		u.readExecStart(root)
	}
}

// readSocket reads what a socket listens at and which service it starts.
func (u *Unit) readSocket(root string) {
	u.Accept, u.Listen, u.Starts = false, nil, ""
	for _, file := range u.Files {
		for a := range unitfile.Assignments(readUnitFile(root, file)) {
			switch {
			case a.Section != "Socket":
			case a.Key == "Accept":
				u.Accept = isTrue(a.Value)
			case a.Key == "Service":
				u.Starts = a.Value
			case a.Key == "ListenStream" && a.Value == "":
				u.Listen = nil
			case a.Key == "ListenStream":
				u.Listen = append(u.Listen, a.Value)
			}
		}
	}
	stem := strings.TrimSuffix(u.Name, ".socket")
	switch {
	case u.Accept:
		u.Starts = stem + "@.service"
	case u.Starts == "":
		u.Starts = stem + ".service"
	}
	if service, ok := readUnit(root, u.Starts); ok {
		u.starts, u.Starts = &service, service.Name
	}
}

// isTrue reads a boolean as systemd does.
func isTrue(value string) bool {
	return slices.Contains([]string{"1", "yes", "y", "true", "t", "on"}, strings.ToLower(value))
}

// isNetworked reports whether a socket has an address at which the network reaches it.
func (u Unit) isNetworked() bool {
	return slices.ContainsFunc(u.Listen, func(listen string) bool {
		return !strings.HasPrefix(listen, "/") && !strings.HasPrefix(listen, "@") && !strings.HasPrefix(listen, "vsock:")
	})
}

// startsService returns the service that a socket starts, or a zero Unit.
func (u Unit) startsService() Unit {
	if u.starts == nil {
		return Unit{}
	}
	return *u.starts
}

// isEnabled reports whether a target of the system below root wants the unit.
func (u Unit) isEnabled(root string) bool {
	for _, name := range append([]string{u.Name}, u.Aliases...) {
		for _, dir := range unitfile.Dirs() {
			wanted, _ := filepath.Glob(sysroot.Path(root, dir) + "/*.wants/" + name)
			if len(wanted) > 0 {
				return true
			}
		}
	}
	return false
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

// readExecStart reads the command of a service and puts its environment in. What files
// set counts more than Environment=, and of several files the last (systemd.exec(5)).
func (u *Unit) readExecStart(root string) {
	var command string
	var pairs, files []string
	u.ExecStart, u.StartFile, u.startLine = nil, "", 0
	u.RuntimeDirectory, u.preserve = "", false
	for _, file := range u.Files {
		for a := range unitfile.Assignments(readUnitFile(root, file)) {
			if a.Section != "Service" {
				continue
			}
			switch a.Key {
			case "ExecStart":
				command, u.StartFile, u.startLine = a.Value, file, a.Line
			case "RuntimeDirectory":
				u.RuntimeDirectory = a.Value
			case "RuntimeDirectoryPreserve":
				u.preserve = a.Value == "restart" || isTrue(a.Value)
			case "Environment":
				if a.Value == "" {
					pairs = nil
				}
				pairs = append(pairs, unitWords(a.Value)...)
			case "EnvironmentFile":
				if a.Value == "" {
					files = nil
					continue
				}
				files = append(files, strings.TrimPrefix(a.Value, "-"))
			}
		}
	}
	u.environment = make(map[string]string)
	for _, pair := range pairs {
		if name, text, ok := strings.Cut(pair, "="); ok {
			u.environment[name] = text
		}
	}
	for _, file := range files {
		readEnvironment(root, file, u.environment)
	}
	if command == "" {
		u.StartFile = ""
		return
	}
	u.raw = unitWords(strings.TrimLeft(command, unitfile.Prefixes))
	u.expand(u.raw)
}

func (u *Unit) expand(raw []string) {
	u.ExecStart = nil
	for _, word := range raw {
		u.ExecStart = append(u.ExecStart, expand(word, u.environment)...)
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
// value, ${NAME} becomes the value, $$ a dollar (systemd.service(5)).
func expand(word string, environment map[string]string) []string {
	if name, ok := strings.CutPrefix(word, "$"); ok && name != "" && !strings.ContainsAny(name[:1], "{$") {
		list, _ := unitfile.Words(environment[name])
		return list
	}
	var out strings.Builder
	for rest := word; rest != ""; {
		before, after, ok := strings.Cut(rest, "$")
		out.WriteString(before)
		if !ok {
			break
		}
		name, behind, closed := strings.Cut(strings.TrimPrefix(after, "{"), "}")
		switch {
		case strings.HasPrefix(after, "$"):
			out.WriteString("$")
			rest = after[1:]
		case strings.HasPrefix(after, "{") && closed:
			out.WriteString(environment[name])
			rest = behind
		default:
			out.WriteString("$")
			rest = after
		}
	}
	return []string{out.String()}
}

// readEnvironment reads the environment files that a path or a pattern names into
// environment. One that is not there has none.
func readEnvironment(root, path string, environment map[string]string) {
	files, err := glob(root, path)
	if err != nil || !filepath.IsAbs(path) {
		return
	}
	for _, file := range files {
		maps.Copy(environment, unitfile.Environment(readUnitFile(root, file)))
	}
}

// properties are what systemd is asked about a unit.
const properties = "Id,Names,ActiveState,MainPID,KillMode,NeedDaemonReload,FragmentPath,DropInPaths,ExecStart,Accept,Triggers"

// show asks systemd about units, or about all that match a pattern.
func show(ctx context.Context, names ...string) []map[string]string {
	out, err := systemctl.Run(ctx, append([]string{"show", "-p", properties, "--"}, names...)...)
	if err != nil {
		return nil
	}
	var list []map[string]string
	for block := range strings.SplitSeq(out, "\n\n") {
		if unit := systemctl.Properties(block); len(unit) > 0 {
			list = append(list, unit)
		}
	}
	return list
}

// askUnits adds what systemd knows of the units, and the active sockets that start an
// sshd besides, such as those of systemd-ssh-generator.
func (s *Server) askUnits(ctx context.Context) {
	for i := range s.Units {
		s.Units[i].ask(ctx, s.Root)
	}
	var sockets []Unit
	for _, shown := range show(ctx, "*.socket") {
		u := Unit{Name: shown["Id"]}
		known := slices.ContainsFunc(s.Units, func(other Unit) bool {
			return other.Name == u.Name || slices.Contains(other.Aliases, u.Name)
		})
		if known || !u.IsSocket() || shown["ActiveState"] != "active" {
			continue
		}
		u.take(s.Root, shown)
		sockets = append(sockets, u)
	}
	starts(ctx, s.Root, sockets)
	for _, u := range sockets {
		if parseCommandLine(u.startsService().ExecStart).isSSHD() {
			s.Units = append(s.Units, u)
		}
	}
}

// starts asks systemd about the services that sockets start, all at once.
func starts(ctx context.Context, root string, sockets []Unit) {
	if len(sockets) == 0 {
		return
	}
	var names []string
	for _, u := range sockets {
		names = append(names, Instance(u.Starts))
	}
	for _, shown := range show(ctx, names...) {
		for i := range sockets {
			// Of an alias Id is the unit's own name.
			if n := Instance(sockets[i].Starts); n == shown["Id"] || slices.Contains(strings.Fields(shown["Names"]), n) {
				service := Unit{Name: sockets[i].Starts}
				service.take(root, shown)
				sockets[i].starts = &service
			}
		}
	}
}

// Instance returns a name by which systemd knows a unit: of a template alone it knows
// nothing.
func Instance(name string) string {
	if stem, ok := strings.CutSuffix(name, "@.service"); ok {
		return stem + "@eicctl.service"
	}
	return name
}

// ask adds what systemd knows of the unit.
func (u *Unit) ask(ctx context.Context, root string) {
	for _, shown := range show(ctx, Instance(u.Name)) {
		u.take(root, shown)
	}
	if u.IsSocket() {
		list := []Unit{*u}
		starts(ctx, root, list)
		*u = list[0]
	}
}

// take takes the unit as systemd has it: the files that it has read, and the command
// line that it has, which stays what it was until it reads them again.
func (u *Unit) take(root string, unit map[string]string) {
	u.Active, u.KillMode, u.NeedDaemonReload = unit["ActiveState"], unit["KillMode"], unit["NeedDaemonReload"] == "yes"
	u.MainPID, _ = strconv.Atoi(unit["MainPID"])
	if fragment := unit["FragmentPath"]; fragment != "" {
		u.Files = append([]string{fragment}, strings.Fields(unit["DropInPaths"])...)
		u.read(root)
	}
	if u.IsSocket() {
		if trigger, _, _ := strings.Cut(unit["Triggers"], " "); trigger != "" && !u.Accept {
			u.Starts = trigger
		}
		return
	}
	if argv, ok := between(unit["ExecStart"], "argv[]=", " ; ignore_errors="); ok && argv != strings.Join(u.raw, " ") {
		u.StartFile, u.startLine = "", 0
		u.raw = parseTitle(argv).Words
		u.expand(u.raw)
	}
}

func between(text, begin, end string) (string, bool) {
	_, rest, _ := strings.Cut(text, begin)
	middle, _, ok := strings.Cut(rest, end)
	return middle, ok
}

// IsSocket reports whether the unit is a socket that starts sshd.
func (u Unit) IsSocket() bool { return strings.HasSuffix(u.Name, ".socket") }

// line returns how the unit starts sshd.
func (u Unit) line() CommandLine {
	return parseCommandLine(u.ExecStart).from("-o of unit "+u.Name, u.StartFile, u.startLine)
}

// Options returns what the unit's command line sets with -o.
func (u Unit) Options() []Setting { return u.line().Options }

// AskUnit returns a unit of the running system as systemd has it.
func AskUnit(ctx context.Context, name string) Unit {
	u := Unit{Name: name}
	u.ask(ctx, "/")
	return u
}
