package doctor

import (
	"os"
	"path/filepath"
	"strings"
)

// gateProgram is what a drop-in of a serial port runs.
const gateProgram = "eic-serial-getty"

// checkSerialPorts looks for ports that the agent holds shut, and that nobody could
// open any more.
func checkSerialPorts(_ *exam, f *findings) {
	const id = "serial"
	var ports []string
	for _, dropIn := range gateDropIns() {
		program := gateIn(dropIn)
		if program == "" {
			continue
		}
		if st, err := os.Stat(program); err != nil || !st.Mode().IsRegular() || st.Mode()&0o111 == 0 {
			f.problem("serial-program-missing", "eicctl serial disable, or rm "+dropIn+" && systemctl daemon-reload; or install eic-agent again",
				"%s has the serial port run %s, which is not there: the port is dead", dropIn, program)
			return
		}
		ports = append(ports, dropIn)
	}
	if len(ports) == 0 {
		f.ok(id, "not applicable: no serial port is held shut")
		return
	}
	f.ok(id, "held shut by %s", strings.Join(ports, ", "))
}

// gateDropIns returns the drop-ins of all serial gettys.
func gateDropIns() []string {
	var all []string
	for _, dir := range []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"} {
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
	for line := range strings.Lines(string(text)) {
		value, ok := strings.CutPrefix(strings.TrimSpace(line), "ExecStart=")
		fields := strings.Fields(strings.TrimLeft(value, "-@:+!"))
		if ok && len(fields) > 0 && filepath.Base(fields[0]) == gateProgram {
			return fields[0]
		}
	}
	return ""
}
