package serialgate

import (
	"strings"
	"testing"
	"time"
)

// A push opens the console for one login, and then it is locked again.
func TestOpen(t *testing.T) {
	t.Parallel()
	c := newConsole(t, `when_unreachable = "lock"`)
	c.knock()
	c.expect(`The console pts/\d+ is locked \(not-pushed\): no key is pushed for it.`)
	c.expect(`aws ec2-instance-connect send-ssh-public-key --instance-id ` + c.id + ` \\\r\n +--instance-os-user ` + c.id + `.port0 --ssh-public-key`)
	c.expect(`Press Enter to look again`)

	c.push(c.user(), time.Minute)
	c.knock()
	c.logIn()
	c.typed("tty; id -un\r")
	c.expect(c.path + `\r\n` + account)
	c.typed("exit\r")
	c.knock()
	c.expect(`locked \(already-used\)`)
	if shown := c.shown(); strings.Contains(shown, password) {
		t.Error("the password was echoed")
	}
	opened := c.records("gate-opened")
	if len(opened) != 1 {
		t.Fatalf("the journal has %d records of the opening", len(opened))
	}
	for field, want := range map[string]string{
		"EIC_CALLER": "arn:aws:iam::123456789012:user/alice", "EIC_PORT": "0", "EIC_USER": c.user(), "PRIORITY": "6",
		"SYSLOG_IDENTIFIER": "eic-serial-getty", "SYSLOG_FACILITY": "10", "EIC_KEY_TYPE": "ssh-ed25519",
	} {
		if got := opened[0].Field(field); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	for _, field := range []string{"EIC_FINGERPRINT", "EIC_EXPIRES", "EIC_REQUEST_ID", "MESSAGE_ID"} {
		if opened[0].Field(field) == "" {
			t.Errorf("there is no %s", field)
		}
	}
}
