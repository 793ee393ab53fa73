package doctor

import (
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/test/golden"
)

func TestText(t *testing.T) {
	t.Parallel()
	f := findings{area: Server}
	f.ok("sshd", "/usr/sbin/sshd (OpenSSH 9.9p1, process 812) reads /etc/ssh/sshd_config")
	f.problem(commandNone, shell("eicctl sshd enable"), "AuthorizedKeysCommand is not set for user \"alice\"")
	f.area = Command
	f.unknown("command-path", "%s", because("AuthorizedKeysCommand is not eic-authkeys"))
	f.area = Records
	f.problem(entryOf("expired"), advice("push the key again"), "ssh-ed25519 SHA256:x is refused: control characters \x1b[2J and\n are replaced")
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	golden.Compare(t, "doctor", newReport("alice", now, f.all).Text())
	golden.Compare(t, "doctor-healthy", newReport("", now, f.all[:1]).Text())
}
