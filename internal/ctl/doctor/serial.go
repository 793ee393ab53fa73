package doctor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/ctl/serial"
	"github.com/eic-agent/eic-agent/internal/serialgate"
	"github.com/eic-agent/eic-agent/internal/systemctl"
	"github.com/eic-agent/eic-agent/internal/unitfile"
)

// gateProgram is what a drop-in of a serial port runs.
const gateProgram = "eic-serial-getty"

// checkSerialPorts looks for ports that the agent locks and that nobody could open any
// more. `eicctl serial status` shows more.
func checkSerialPorts(e *exam, f *findings) {
	const id = "serial"
	var held []string
	for _, dropIn := range gateDropIns() {
		program := gateIn(dropIn)
		if program == "" {
			continue
		}
		if st, err := os.Stat(program); err != nil || !st.Mode().IsRegular() || st.Mode()&0o111 == 0 {
			f.problem(serialProgramMissing, shell("eicctl serial disable   # or reinstall eic-agent"),
				"%s runs %s, which does not exist: the serial port is dead", dropIn, program)
			return
		}
		held = append(held, dropIn)
	}
	console := (&serial.System{Root: "/", Systemctl: systemctl.Run}).Status(e.ctx)
	if p, ok := console.Changed(); ok {
		text := p.What
		if !strings.Contains(text, console.DropIn) {
			text += " (" + console.DropIn + ")"
		}
		f.problem(serialDropIn, shell("eicctl serial enable"), "%s", text)
		return
	}
	if len(held) == 0 {
		f.ok(id, "skipped: no serial port is locked")
		return
	}
	if p, ok := console.Override(); ok {
		f.problem(serialOverridden, advice("%s", p.Hint), "%s", p.What)
		return
	}
	settings := e.config()
	if settings.cfg == nil {
		f.unknown(id, "locked by %s; cannot determine how it opens: %s", strings.Join(held, ", "), because("the configuration cannot be used"))
		return
	}
	user := serialgate.User(ownID(), settings.cfg.Serial.Port)
	switch {
	case settings.cfg.Serial.WhenUnreachable == "":
		f.problem(serialUndecided, e.keyFix("serial", "when_unreachable", `"lock"`), "[serial] when_unreachable in %s is not set, so the serial port stays locked while the metadata service is unreachable", settings.path)
	case ownID() != noID && settings.cfg.Users.Enforce && !settings.cfg.Users.Permits(user):
		f.problem(serialUserDenied, advice("allow it in [users] of %s, for example allow = [\"i-*.port0\", ...]", settings.path), "[users] in %s denies pushed keys for %s, so nothing opens the serial port", settings.path, user)
	case console.State == serial.StateUnknown, console.State == serial.StateOff:
		f.unknown(id, "cannot check that systemd uses %s; see eicctl serial status", strings.Join(held, ", "))
	default:
		f.ok(id, "locked by %s until a key is pushed for %s", strings.Join(held, ", "), user)
	}
}

// gateDropIns returns the drop-ins of all serial gettys.
func gateDropIns() []string {
	var all []string
	var seen []string
	for _, dir := range unitfile.Dirs() {
		// One may be a link to another.
		real, err := filepath.EvalSymlinks(dir)
		if err != nil || slices.Contains(seen, real) {
			continue
		}
		seen = append(seen, real)
		files, err := filepath.Glob(dir + "/serial-getty@*.service.d/*.conf")
		if err == nil {
			all = append(all, files...)
		}
	}
	return all
}

// gateIn returns the path of the gate that a drop-in runs, or "".
func gateIn(dropIn string) string {
	text, err := os.ReadFile(dropIn)
	if err != nil {
		return ""
	}
	for a := range unitfile.Assignments(string(text)) {
		if a.Key != "ExecStart" {
			continue
		}
		// What is wrong with the command is for systemd to say.
		words, _ := unitfile.Words(strings.TrimLeft(a.Value, unitfile.Prefixes))
		if len(words) > 0 && filepath.Base(words[0]) == gateProgram {
			return words[0]
		}
	}
	return ""
}
