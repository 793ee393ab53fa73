package releases

import (
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/doctor"
	"github.com/eic-agent/eic-agent/internal/emulator"
)

// bySocket has the release's own ssh.socket start sshd, with somebody logged in.
func bySocket(h *host) {
	h.must("systemctl", "disable", "--now", "ssh.service")
	h.must("systemctl", "enable", "--now", "ssh.socket")
}

// byAccept has a socket start an sshd for each connection: the unit of the release where
// there is one, or one as other distributions ship it.
func byAccept(h *host) {
	h.must("systemctl", "disable", "--now", "ssh.service")
	h.write("/etc/systemd/system/sshd.socket", "[Unit]\nConflicts=ssh.service\n[Socket]\nListenStream=22\nAccept=yes\n[Install]\nWantedBy=sockets.target\n")
	if _, err := h.Run("systemctl", "cat", "sshd@x.service"); err != nil {
		h.write("/etc/systemd/system/sshd@.service", "[Service]\nEnvironmentFile=-/etc/default/ssh\nExecStart=-/usr/sbin/sshd -i $SSHD_OPTS\nStandardInput=socket\nRuntimeDirectory=sshd\nRuntimeDirectoryPreserve=yes\n")
	}
	h.must("systemctl", "daemon-reload")
	h.must("systemctl", "enable", "--now", "sshd.socket")
}

// enableAndDisable is the life of the agent in sshd.
func enableAndDisable(h *host) {
	before := h.snapshot("/etc/ssh")
	old := h.open(h.static)
	defer old.close()
	h.install(newVersion)
	h.same("/etc/ssh", before, h.snapshot("/etc/ssh"))
	h.keepsDirectory()
	early, _ := h.push()
	h.noLogin(early)
	h.exits(1, "eicctl", "sshd", "status")

	h.must("eicctl", "sshd", "enable")
	old.alive("after enabling")
	h.must("eicctl", "sshd", "status")
	key, request := h.push()
	h.login(key)
	h.login(h.static)
	stranger, _ := h.newKey()
	h.noLogin(stranger)
	h.audited(request)
	h.explained(request)
	h.healthy()

	pushed := h.open(key)
	defer pushed.close()
	h.must("eicctl", "sshd", "disable")
	old.alive("after disabling")
	pushed.alive("after disabling")
	h.exits(1, "eicctl", "sshd", "status")
	h.noLogin(key)
	h.login(h.static)
	h.same("/etc/ssh", before, h.snapshot("/etc/ssh"))
}

// keepsDirectory runs doctor's fix where the first sshd that ends would take /run/sshd
// away, without which the next does not start. Debian 11's ssh.socket starts one for each
// connection, and ssh@.service lacks RuntimeDirectoryPreserve.
func (h *host) keepsDirectory() {
	h.t.Helper()
	active, _ := h.Run("systemctl", "is-active", "ssh.socket")
	if h.suite == "bullseye" && strings.TrimSpace(active) == "active" {
		h.mended("sshd-directory")
	} else if fix := h.fixOf("sshd-directory"); fix != "" {
		h.t.Errorf("doctor's fix is %q", fix)
	}
}

// mended runs the fix of a finding of doctor's, which is gone then.
func (h *host) mended(id string) {
	h.t.Helper()
	fix := h.fixOf(id)
	if fix == "" {
		h.t.Errorf("doctor does not find %s, or has no command for it", id)
		return
	}
	h.must("sh", "-c", fix)
	if again := h.fixOf(id); again != "" {
		h.t.Errorf("after %q doctor still finds %s", fix, id)
	}
}

// fixOf returns the command that doctor has for a problem, "" where it does not find it.
func (h *host) fixOf(id string) (fix string) {
	h.t.Helper()
	var report doctor.Report
	h.decode(&report, "doctor", "--json")
	for _, f := range report.Findings {
		if f.ID == id && f.Status == doctor.Problem && f.Command {
			fix = f.Fix
		}
	}
	return fix
}

// said returns what doctor says of a problem, "" where it does not find it.
func (h *host) said(id string) (text string) {
	h.t.Helper()
	var report doctor.Report
	h.decode(&report, "doctor", "--json")
	for _, f := range report.Findings {
		if f.ID == id && f.Status == doctor.Problem {
			text = f.Text
		}
	}
	return text
}

// audited shows that audit joins what sshd and the agent say of a login.
func (h *host) audited(request string) {
	h.t.Helper()
	h.must("journalctl", "--sync")
	var report struct {
		Sessions []struct {
			User, Address, Caller, Request string
			End                            *time.Time
		}
	}
	h.decode(&report, "audit", "--output", "json")
	found := 0
	for _, s := range report.Sessions {
		if s.Request == request && s.User == "alice" && s.Caller == emulator.DefaultCallerARN && s.Address == "127.0.0.1" && s.End != nil {
			found++
		}
	}
	if found != 1 {
		h.t.Errorf("audit has %d sessions of the request %s: %+v", found, request, report)
	}
}

func (h *host) explained(request string) {
	h.t.Helper()
	var report struct {
		Decisions []struct {
			Decision string
			SSHD     []string
		}
	}
	h.decode(&report, "explain", "--json", request)
	for _, d := range report.Decisions {
		if d.Decision == "session" && strings.Contains(strings.Join(d.SSHD, "\n"), "Accepted publickey for alice") {
			return
		}
	}
	h.t.Errorf("explain says %+v", report)
}

// healthy shows that doctor has nothing to say against a host that somebody just
// logged in to.
func (h *host) healthy() {
	h.t.Helper()
	var report struct {
		Well     int `json:"ok"`
		Findings []struct{ ID, Status, Text, Fix string }
	}
	h.decode(&report, "doctor", "--json", "alice")
	for _, f := range report.Findings {
		// Nothing keeps the clock right here.
		if f.Status != "ok" && f.Status != "not-applicable" && f.ID != "clock-sync" {
			h.t.Errorf("doctor: %s: %s: %s", f.ID, f.Status, f.Text)
		}
	}
	if report.Well < 15 {
		h.t.Errorf("doctor has looked at %d things only: %+v", report.Well, report.Findings)
	}
}
