package releases

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/eic-agent/eic-agent/test/release"
)

const sessionsService = "eic-sessions.service"

// recordsSessions has eic-sessions.service, as its own account and shut in, tell of a
// login, and says nothing when it is off.
func recordsSessions(h *host) {
	h.install(newVersion)
	h.must("eicctl", "sshd", "enable")
	h.must("sh", "-c", "! systemctl is-active --quiet "+sessionsService)
	h.must("eicctl", "audit", "enable")

	exposure := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindStringSubmatch(h.must("systemd-analyze", "security", "--no-pager", sessionsService))
	if exposure == nil {
		h.t.Error("systemd-analyze names no exposure")
	} else if n, err := strconv.ParseFloat(exposure[1], 64); err != nil || n >= 2 {
		h.t.Errorf("exposure %s", exposure[1])
	}
	uid := strings.TrimSpace(h.must("id", "-u", "eic-sessions"))
	pid := strings.TrimSpace(strings.TrimPrefix(h.must("systemctl", "show", "--property=MainPID", sessionsService), "MainPID="))
	if status := h.must("cat", "/proc/"+pid+"/status"); !strings.Contains(status, "\nUid:\t"+uid+"\t") || !strings.Contains(status, "\nCapPrm:\t0000000000000000\n") {
		h.t.Errorf("it runs as\n%s", status)
	}

	key, request := h.push()
	h.login(key)
	said := ""
	if err := release.Await("the session is recorded", func() (bool, error) {
		var err error
		said, err = h.Run("journalctl", "--output=export", "_UID="+uid, "EIC_REQUEST_ID="+request)
		return strings.Contains(said, "EIC_EVENT=session-closed\n"), err
	}); err != nil {
		h.t.Fatalf("%v: %s\n%s", err, said, h.must("journalctl", "--no-pager", "-u", sessionsService))
	}
	for _, field := range []string{
		"EIC_EVENT=session-opened", "EIC_END_TOLD_BY=sshd", "EIC_ADDRESS=127.0.0.1", "_SYSTEMD_UNIT=" + sessionsService, "SYSLOG_IDENTIFIER=eic-sessions", "EIC_SCHEMA=1",
	} {
		if !strings.Contains(said, field+"\n") {
			h.t.Errorf("%s is missing in\n%s", field, said)
		}
	}
	rss := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindStringSubmatch(h.must("cat", "/proc/"+pid+"/status"))
	if n, err := strconv.Atoi(rss[1]); err != nil || n >= 20<<10 {
		h.t.Errorf("it takes %s KiB of memory", rss[1])
	}
	h.t.Logf("exposure %q, %s KiB of memory", exposure, rss[1])

	const state = "/var/lib/eic-sessions"
	for _, fault := range []struct{ id, commands string }{
		{"sessions-not-running", "true"},
		{"sessions-state", "echo x > " + state + "/state.json"},
		{"sessions-state", "chown -R 0:0 " + state + " && chmod -R go= " + state},
		{"sessions-account", "userdel eic-sessions"},
	} {
		h.must("sh", "-c", "systemctl stop "+sessionsService+" && "+fault.commands)
		h.mended(fault.id)
		h.must("sh", "-c", "systemctl is-active --quiet "+sessionsService)
	}

	h.must("eicctl", "audit", "disable")
	h.must("sh", "-c", "! systemctl is-active --quiet "+sessionsService)
	h.must("eicctl", "audit", "enable")
	h.must("dpkg", "--purge", "eic-agent")
	h.must("sh", "-c", "! systemctl is-active --quiet "+sessionsService)
	h.exits(1, "id", "eic-sessions")
}
