package host

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"github.com/eic-agent/eic-agent/test/eventspage"
)

// StartJournald starts the real journald, which keeps its journal in memory.
func (h *Host) StartJournald() (*os.Process, error) {
	const conf = "/run/systemd/journald.conf.d"
	if err := os.MkdirAll(conf, 0o755); err != nil {
		return nil, err
	}
	const settings = "[Journal]\nStorage=volatile\nAudit=\nReadKMsg=no\nForwardToSyslog=no\nForwardToConsole=no\nForwardToWall=no\nRateLimitIntervalSec=0\n"
	if err := os.WriteFile(conf+"/host.conf", []byte(settings), 0o644); err != nil {
		return nil, err
	}
	// What systemd sets on every host; the network of this one is new.
	if err := os.WriteFile("/proc/sys/net/unix/max_dgram_qlen", []byte("512\n"), 0o644); err != nil {
		return nil, err
	}
	cmd := exec.Command("/lib/systemd/systemd-journald")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return cmd.Process, h.Eventually("journald is ready", func() bool {
		for _, socket := range []string{"socket", "dev-log", "stdout"} {
			if _, err := os.Stat("/run/systemd/journal/" + socket); err != nil {
				return false
			}
		}
		return true
	})
}

// Journalctl returns what the real journalctl prints of the host's journal.
func (h *Host) Journalctl(args ...string) ([]byte, error) {
	// What was just sent is in the journal only when journald has come to it.
	exec.Command("/usr/bin/journalctl", "--sync").Run()
	cmd := exec.Command("/usr/bin/journalctl", append([]string{"-D", "/run/log/journal", "--no-pager", "-q"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("journalctl %q: %w: %s", args, err, &stderr)
	}
	return out, nil
}

// A Record is one record of the journal, by field name.
type Record map[string]any

// Field returns a field of text, or "".
func (r Record) Field(name string) string {
	s, _ := r[name].(string)
	return s
}

// Records returns the records that match, such as "EIC_USER=alice". An event of the agent that is
// not as docs/events.md has it is an error.
func (h *Host) Records(matches ...string) ([]Record, error) {
	out, err := h.Journalctl(append([]string{"-o", "json", "--all"}, matches...)...)
	if err != nil {
		return nil, err
	}
	records, err := ParseRecords(out)
	if err != nil {
		return nil, err
	}
	return records, check(records)
}

// check holds the events of the agent's programs among records against docs/events.md.
func check(records []Record) error {
	page, err := eventspage.Read()
	if err != nil {
		return err
	}
	for _, r := range records {
		program := r.Field("SYSLOG_IDENTIFIER")
		ours := slices.Contains([]string{"eic-authkeys", "eic-serial-getty", "eic-sessions"}, program)
		if uid, err := strconv.Atoi(r.Field("_UID")); err != nil || uid > 999 || !ours || r.Field("EIC_EVENT") == "" {
			continue // a person's, who may write what they like, or sshd's
		}
		fields := make(map[string]string)
		for name := range r {
			fields[name] = r.Field(name)
		}
		if err := page.Check(program, fields); err != nil {
			return err
		}
	}
	return nil
}

// ParseRecords reads what journalctl --output=json prints.
func ParseRecords(out []byte) ([]Record, error) {
	var records []Record
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var r Record
		if err := decoder.Decode(&r); err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, nil
}

// Patience is how long a test waits for what has to happen, however slow the machine.
const Patience = 3 * time.Minute

// Eventually waits until is says so, for as long as Patience has it.
func (h *Host) Eventually(what string, is func() bool) error {
	for deadline := time.Now().Add(Patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("gave up waiting until %s", what)
		}
	}
	return nil
}
