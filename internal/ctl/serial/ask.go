package serial

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/unitfile"
)

// What a Report says of the console.
const (
	// StateOff: there is no drop-in.
	StateOff = "off"
	// StateLocked: systemd runs the gate.
	StateLocked = "locked"
	// StateOpen: the gate has become the getty, which asks for a name.
	StateOpen = "open"
	// StateInUse: systemd would start the gate, and somebody is logged in.
	StateInUse = "in-use"
	// StatePending: systemd will start the gate, and runs something else as yet.
	StatePending = "pending"
	// StateOverridden: there is a drop-in, and systemd starts something else.
	StateOverridden = "overridden"
	// StateStopped: systemd would start the gate, and does not start the unit.
	StateStopped = "stopped"
	// StatePrepared: the files are right, and no systemd runs here.
	StatePrepared = "prepared"
	// StateUnknown: systemd could not be asked.
	StateUnknown = "unknown"
)

// shown is what systemctl is asked for.
const shown = "LoadState,ActiveState,MainPID,NeedDaemonReload,FragmentPath,DropInPaths,ExecStart,ConditionResult,ConditionTimestampMonotonic"

// startPath finds the program in a line of systemctl show -p ExecStart.
var startPath = regexp.MustCompile(`^\{ path=(.*?) ; argv\[\]=(.*) ; ignore_errors=`)

// compare finds out what the console is, by the files and, where systemd runs, by what it
// says, and adds what is wrong.
func (s *System) compare(ctx context.Context, r *Report) {
	if !r.Enabled {
		r.State = StateOff
	}
	files, err := s.unitFiles()
	var e *effect
	if err == nil {
		e, err = s.read(files)
	}
	if err != nil {
		if r.Enabled {
			r.fail(StateUnknown, "see systemctl cat "+Unit, "what systemd starts on %s is unknown: %v", tty, err)
		}
		s.running(ctx, r)
		return
	}
	if !s.booted() {
		if r.Enabled {
			r.State = StatePrepared
			if s.Systemctl != nil {
				r.problem("boot the system with systemd", "systemd does not run here: nothing starts the gate")
			}
			s.judge(r, e, "systemd would start")
		}
		return
	}
	unit := s.running(ctx, r)
	if !r.Enabled {
		return
	}
	switch loaded := unit.Get("LoadState"); {
	case unit == nil:
		r.State, r.failed = StateUnknown, r.Problems[len(r.Problems)-1].What
		return
	case loaded != "loaded":
		r.fail(StateStopped, "see systemctl status "+Unit, "systemd cannot use %s: it is %s", Unit, loaded)
		return
	}
	if !startsGate(unit) {
		hint, what := s.loadedBy(unit, e)
		r.fail(StateOverridden, hint, "the console is not locked: %s", what)
		return
	}
	if s.judge(r, e, "at the next daemon-reload systemd would start"); r.State == StateOverridden {
		return
	}
	if unit.Get("NeedDaemonReload") == "yes" {
		r.problem("systemctl daemon-reload", "the files of %s were changed since systemd read them", Unit)
	}
	switch {
	case unit.Get("ConditionResult") == "no" && unit.Get("ConditionTimestampMonotonic") != "0" && r.Program == "":
		r.State = StateStopped
		r.problem("systemctl cat "+Unit+" shows its conditions", "systemd did not start %s: a condition of the unit is not met", Unit)
	case r.Program == "":
		r.State = StateStopped
		r.problem("systemctl enable --now "+Unit+", or boot with console="+tty, "nothing serves %s: systemd has not started %s", tty, Unit)
	case r.InUse:
		r.State = StateInUse
	case r.gate && r.Program == "agetty":
		r.State = StateOpen
	case r.gate:
		r.State = StateLocked
	default:
		r.State = StatePending
		r.opened("systemctl restart "+Unit, "%s does not have the gate yet: %s asks for a name", Unit, r.Program)
	}
	s.others(r, unit)
}

// fail is problem for why the drop-in does not lock the console.
func (r *Report) fail(state, hint, format string, args ...any) {
	r.State = state
	r.problem(hint, format, args...)
	r.failed = r.Problems[len(r.Problems)-1].What
}

// judge adds what is wrong in the files of the unit.
func (s *System) judge(r *Report, e *effect, would string) {
	if !e.isGate() {
		r.fail(StateOverridden, s.takeBack(e),
			"the console is not locked: %s %s, by %s", would, e.taken.Value, s.by(e))
	}
	for _, p := range e.obstacles() {
		if p.locksOut {
			r.obstructed = r.State != StateOverridden || r.obstructed
			r.State, r.failed = StateOverridden, p.What
		}
		p.locksOut = false // of what is in place already
		r.Problems = append(r.Problems, p)
	}
}

// startsGate reports whether systemd says that it starts the gate, and nothing else.
func startsGate(unit unitfile.Properties) bool {
	n, gate := 0, false
	for _, p := range unit {
		if p.Key != "ExecStart" || p.Value == "" {
			continue
		}
		n++
		m := startPath.FindStringSubmatch(p.Value)
		gate = m != nil && m[1] == Binary && strings.HasPrefix(m[2], Binary+" "+tty+" -- ")
	}
	return n == 1 && gate
}

// inPlace returns the file that systemd takes in the place of the drop-in, such as one that
// masks it: of two with one name it takes that in the directory that counts more.
func (s *System) inPlace() string {
	for _, path := range unitfile.DropIns(s.root(), "", Unit) {
		if filepath.Base(path) == dropInName && path != dropInPath {
			return path
		}
	}
	return ""
}

// by names what sets the command that systemd starts in the place of the gate.
func (s *System) by(e *effect) string {
	if other := s.inPlace(); other != "" && other != e.taken.file {
		return other + ", in the place of the drop-in"
	}
	return e.taken.place()
}

// takeBack is what to do about a file that sets another command.
func (s *System) takeBack(e *effect) string {
	switch other := s.inPlace(); {
	case other != "":
		return "remove " + other + ", which stands in the place of the drop-in; then run eicctl serial enable again"
	case e.taken.file == "":
		return "see systemctl cat " + Unit
	case filepath.Base(e.taken.file) < dropInName || !strings.HasSuffix(filepath.Dir(e.taken.file), ".d"):
		return "run eicctl serial enable again: the drop-in sets no command"
	}
	return "rename " + e.taken.file + " so that it sorts before " + dropInName + ", or remove it; then run eicctl serial enable again"
}

// loadedBy says what systemd starts instead of the gate, and by which file.
func (s *System) loadedBy(unit unitfile.Properties, onDisk *effect) (hint, what string) {
	started := "nothing"
	for _, p := range unit {
		if m := startPath.FindStringSubmatch(p.Value); p.Key == "ExecStart" && m != nil {
			started = m[2]
		}
	}
	files, _ := unitfile.Words(unit.Get("FragmentPath") + " " + unit.Get("DropInPaths"))
	loaded, err := s.read(slices.DeleteFunc(files, func(path string) bool {
		st, err := os.Stat(s.path(path))
		return err != nil || !st.Mode().IsRegular()
	}))
	if !slices.ContainsFunc(files, isOwn) && onDisk.isGate() {
		return "systemctl daemon-reload; systemctl restart " + Unit, "systemd has not read the drop-in, and starts " + started
	}
	if err != nil || loaded.isGate() || loaded.taken.file == "" {
		return s.takeBack(onDisk), "systemd starts " + started
	}
	return s.takeBack(loaded), "systemd starts " + started + ", by " + s.by(loaded)
}

// running finds out what runs on the port, and returns what systemd says of the unit, nil
// where it says nothing.
func (s *System) running(ctx context.Context, r *Report) unitfile.Properties {
	if !s.booted() {
		return nil
	}
	out, err := s.Systemctl(ctx, "show", "-p", shown, Unit)
	if err != nil {
		r.problem("see systemctl status "+Unit, "systemctl does not say what runs on the port: %v", err)
		return nil
	}
	unit := unitfile.ParseShow(out)
	pid, err := strconv.Atoi(unit.Get("MainPID"))
	if err != nil || pid == 0 {
		return unit
	}
	comm, err := os.ReadFile(s.path("/proc/" + strconv.Itoa(pid) + "/comm"))
	if err != nil {
		return unit
	}
	name := strings.TrimSpace(string(comm))
	r.Program = name
	if r.gate = isGate(name); r.gate {
		r.Program = filepath.Base(Binary)
	}
	if name == "agetty" {
		// It was given the rest of a key's life.
		cmdline, err := os.ReadFile(s.path("/proc/" + strconv.Itoa(pid) + "/cmdline"))
		r.gate = err == nil && strings.Contains(string(cmdline), "agetty\x00--timeout\x00")
	}
	r.InUse = name != "agetty" && !isGate(name) && !strings.HasPrefix(name, "(")
	return unit
}

// isGate reports whether a process of that name is the gate: the kernel keeps 15
// bytes of it.
func isGate(name string) bool { return name == filepath.Base(Binary)[:15] }

// others looks for processes that have the console for their terminal and belong to
// another session than the unit's, such as a getty that another unit runs there.
func (s *System) others(r *Report, unit unitfile.Properties) {
	var st unix.Stat_t
	if err := unix.Stat(s.path("/dev/"+tty), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR {
		return
	}
	entries, err := os.ReadDir(s.path("/proc"))
	if err != nil {
		return
	}
	for _, entry := range entries {
		text, err := os.ReadFile(s.path("/proc/" + entry.Name() + "/stat"))
		if err != nil {
			continue
		}
		p, ok := parseStat(string(text))
		if !ok || p.terminal != int(kernelDevice(st.Rdev)) || p.session == unit.Get("MainPID") {
			continue
		}
		r.opened("see systemctl status "+entry.Name()+", and stop what started it", "process %s (%s) has %s for its terminal beside the gate", entry.Name(), p.name, tty)
	}
}

// kernelDevice is a device number as proc(5) has it in tty_nr.
func kernelDevice(dev uint64) uint32 {
	major, minor := unix.Major(dev), unix.Minor(dev)
	return minor&0xff | major<<8 | (minor&^0xff)<<12
}

type process struct {
	name, session string
	terminal      int
}

// parseStat reads /proc/PID/stat: the name is in parentheses, and may have some itself.
func parseStat(text string) (p process, ok bool) {
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return p, false
	}
	fields := strings.Fields(text[end+1:]) // state, ppid, pgrp, session, tty_nr
	if len(fields) < 5 {
		return p, false
	}
	terminal, err := strconv.Atoi(fields[4])
	return process{text[open+1 : end], fields[3], terminal}, err == nil
}

// Override returns why the console is not locked although the drop-in is there.
func (r Report) Override() (Problem, bool) {
	for _, p := range r.Problems {
		if r.State == StateOverridden && p.What == r.failed {
			return p, true
		}
	}
	return Problem{}, false
}
