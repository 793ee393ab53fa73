package sessions

import (
	"testing"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/test/eventspage"
)

// TestEvents compares the events of sessions of every kind with docs/events.md, which has
// no field that none of them has.
func TestEvents(t *testing.T) {
	t.Parallel()
	page, err := eventspage.Read()
	if err != nil {
		t.Fatal(err)
	}
	w := newTape(t)
	rsa := []string{"EIC_KEY_TYPE", "ssh-rsa", "EIC_KEY_BITS", "3072", "EIC_INSTANCE_ID", "i-0123456789abcdef0"}
	w.machine, w.boot = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	w.provided(100, keyA, "r1", alice, rsa...)
	w.provided(100, keyA, "r1", alice, append(rsa, "EIC_EVENT", "would-refuse", "EIC_REASON", "caller-not-mapped")...)
	w.accepted(100, keyA)
	w.closed(100)
	w.provided(101, keyA, "r2", alice)
	w.provided(101, keyA, "r3", bob)
	w.accepted(101, keyA)
	w.provided(102, keyA, "r4", "")
	w.sshd(102, "Partial publickey for ubuntu from 10.0.0.1 port 40101 ssh2: ED25519 %s", keyA)
	w.sshd(102, "Accepted keyboard-interactive/pam for ubuntu from 10.0.0.1 port 40101 ssh2")
	w.gate("gate-opened", "EIC_PORT", "0", "EIC_USER", "i-0123456789abcdef0.port0", "EIC_CALLER", alice, "EIC_REQUEST_ID", "r5")
	w.gate("gate-closed", "EIC_PORT", "0")
	w.gate("gate-broken-glass", "EIC_PORT", "0", "EIC_REASON", "imds-unreachable")
	sessions := w.report(Options{}).Sessions
	if len(sessions) != 5 {
		t.Fatalf("%d sessions", len(sessions))
	}
	for _, kind := range []audit.Kind{audit.SessionOpened, audit.SessionClosed} {
		set := make(map[string]bool)
		for _, s := range sessions {
			fields := make(map[string]string)
			for _, f := range audit.Encode(s.Event(kind)) {
				fields[f.Key], set[f.Key] = f.String, true
			}
			if err := page.Check(audit.FollowerProgram, fields); err != nil {
				t.Error(err)
			}
		}
		for _, field := range page.Events[string(kind)].Fields {
			if !set[field] {
				t.Errorf("docs/events.md has %s of %s, which no session has", field, kind)
			}
		}
	}
}
