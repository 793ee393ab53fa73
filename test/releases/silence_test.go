package releases

import (
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/ctl/doctor"
	"github.com/eic-agent/eic-agent/internal/ctl/sessions"
)

// silence has sshd's records, or the agent's, kept out of the journal in one way after
// the other. Audit says of no login that it did not take place, and what keeps the
// records out.
func silence(h *host) {
	h.install(newVersion)
	h.must("eicctl", "sshd", "enable")
	// So many starts in a row are more than systemd's limit.
	restart := []string{"sh", "-c", "systemctl daemon-reload && systemctl reset-failed ssh.service systemd-journald.service && systemctl restart ssh.service && systemctl restart systemd-journald.service"}
	const (
		sshdFile     = "/etc/ssh/sshd_config.d/00-silence.conf"
		journaldFile = "/etc/systemd/journald.conf.d/00-silence.conf"
		unitFile     = "/etc/systemd/system/ssh.service.d/00-silence.conf"
	)
	for _, c := range []struct {
		name, file, content, says string
		recorded                  bool   // the agent's records are in the journal, or may be
		finding                   string // of the doctor, whose fix is run
	}{
		{"sshd's level", sshdFile, "LogLevel ERROR\n", "LogLevel ERROR at " + sshdFile + " line 1", true, ""},
		{"sshd's level in a Match block", sshdFile, "Match User alice\n LogLevel QUIET\nMatch all\n", "LogLevel QUIET at " + sshdFile + " line 2", true, ""},
		{"sshd's own file", unitFile, "[Service]\nExecStart=\nExecStart=/usr/sbin/sshd -D -E /var/log/sshd.log\n", "runs with -E", true, ""},
		{"journald's level", journaldFile, "[Journal]\nMaxLevelStore=warning\n", "MaxLevelStore=warning at " + journaldFile + " line 2", false, "journal-level"},
		{"journald's storage", journaldFile, "[Journal]\nStorage=none\n", "Storage=none at " + journaldFile + " line 2", false, "journal-storage"},
		{"the unit's level", unitFile, "[Service]\nLogLevelMax=warning\n", "LogLevelMax=warning of ssh.service", false, "unit-log-level"}, // where journald knows the unit in time
		{"the unit's namespace", unitFile, "[Service]\nLogNamespace=site\n", "LogNamespace=site of ssh.service", false, "unit-log-namespace"},
		{"the unit's filter", unitFile, "[Service]\nLogFilterPatterns=~Accepted\n", "LogFilterPatterns=~Accepted of ssh.service", true, "unit-log-filter"},
	} {
		if out := h.must("systemctl", "show", "--property=LogFilterPatterns", "ssh.service"); c.finding == "unit-log-filter" && out == "" {
			continue // before systemd 253
		}
		h.write(c.file, c.content)
		h.must(restart[0], restart[1:]...)
		key, request := h.push()
		h.login(key)
		h.await("journalctl", "--sync")
		var report sessions.Report
		h.decode(&report, "audit", "--output", "json")
		if !slices.ContainsFunc(report.Missing, func(m string) bool { return strings.Contains(m, c.says) }) {
			h.t.Errorf("%s: %q is missing in %q", c.name, c.says, report.Missing)
		}
		of := func(o *sessions.Offer) bool { return o.Request == request }
		if slices.ContainsFunc(report.Unused, of) || !slices.ContainsFunc(report.Unknown, of) && c.recorded || slices.ContainsFunc(report.Sessions, func(s *sessions.Session) bool { return s.Request == request }) {
			h.t.Errorf("%s: unused %+v, unknown %+v", c.name, report.Unused, report.Unknown)
		}
		var answer sessions.Answer
		if c.recorded {
			h.decode(&answer, "explain", "--json", request)
			if len(answer.Decisions) != 1 || answer.Decisions[0].Decision != sessions.DecidedUnknown || len(answer.Missing) == 0 || strings.HasPrefix(answer.Decisions[0].Do, "nothing") {
				h.t.Errorf("%s: explain says %+v", c.name, answer)
			}
		}
		if c.finding != "" {
			h.mended(c.finding)
			h.must("sh", "-c", "rm -f /etc/systemd/system/ssh.service.d/zz-*.conf")
		}
		h.must("rm", c.file)
		h.must(restart[0], restart[1:]...)
	}
	h.ofConnections()
	key, request := h.push()
	h.login(key)
	h.await("journalctl", "--sync")
	var report sessions.Report
	h.decode(&report, "audit", "--output", "json")
	if len(report.Missing) > 0 || !slices.ContainsFunc(report.Sessions, func(s *sessions.Session) bool { return s.Request == request }) {
		h.t.Errorf("after all that: missing %q, sessions %+v", report.Missing, report.Sessions)
	}
	h.penalized()
}

// ofConnections has systemd drop the records of the sshds that a socket starts for each
// connection, and keep them again.
func (h *host) ofConnections() {
	h.t.Helper()
	byAccept(h)
	h.write("/etc/systemd/system/sshd@.service.d/00-silence.conf", "[Service]\nLogLevelMax=notice\n")
	h.must("systemctl", "daemon-reload")
	h.mended("unit-log-level")
	h.must("rm", "-r", "/etc/systemd/system/sshd@.service.d")
	// What the unit that a socket starts has on its command line counts too.
	h.write("/etc/systemd/system/sshd@.service.d/00-silence.conf", "[Service]\nExecStart=\nExecStart=-/usr/sbin/sshd -i -E /var/log/sshd.log\n")
	h.must("systemctl", "daemon-reload")
	if said := h.said("sshd-log-output"); !strings.Contains(said, "sshd@.service") || !strings.Contains(said, "-E /var/log/sshd.log") {
		h.t.Errorf("doctor does not find -E of sshd@.service: %q", said)
	}
	h.must("rm", "-r", "/etc/systemd/system/sshd@.service.d")
	h.must("systemctl", "disable", "--now", "sshd.socket")
	h.must("rm", "/etc/systemd/system/sshd.socket")
	h.must("systemctl", "daemon-reload")
	h.must("systemctl", "mask", "ssh.service")
	// A socket that the network does not reach, such as systemd-ssh-generator's, is no sshd to
	// log in at.
	h.mended("sshd-not-running")
	h.must("systemctl", "is-active", "ssh.service")
}

// await runs a program whose failure is not of interest.
func (h *host) await(name string, args ...string) { _, _ = h.Run(name, args...) }

// penalized is a client that sshd does not listen to after it failed some times.
func (h *host) penalized() {
	out, _ := h.Run("sshd", "-T")
	if !strings.Contains(strings.ToLower(out), "persourcepenalties ") {
		return // before OpenSSH 9.8
	}
	stranger, _ := h.newKey()
	for range 8 {
		args := h.ssh(stranger, "true")
		h.await(args[0], args[1:]...)
	}
	key, request := h.push()
	args := h.ssh(key, "true")
	if out, err := h.Run(args[0], args[1:]...); err == nil {
		h.t.Errorf("no penalty: %s", out)
	}
	h.await("journalctl", "--sync")
	out, _ = h.Run("eicctl", "explain", "--json", request)
	problem := func() (found bool) {
		var report doctor.Report
		h.decode(&report, "doctor", "--json")
		for _, f := range report.Findings {
			found = found || f.ID == "client-penalty" && f.Status == doctor.Problem && strings.Contains(f.Text, "PerSourcePenalties is ")
		}
		return found
	}
	if !problem() {
		h.t.Error("doctor does not name the penalty")
	}
	pushed, _ := h.Run("eicctl", "keys", "alice", "--from", "127.0.0.1")
	for _, says := range []string{"drop connection", "penalty: failed authentication", "PerSourcePenalties"} {
		if !strings.Contains(out, says) {
			h.t.Errorf("explain: %q is missing in %s", says, out)
		}
		if !strings.Contains(pushed, says) {
			h.t.Errorf("keys: %q is missing in %s", says, pushed)
		}
	}
}
