package doctor

import (
	"os/exec"
	"strings"
	"testing"
)

// explain names the line by which sshd refused a key of which it asked nobody.
func TestExplainNamesTheLine(t *testing.T) {
	private, public := newKey(t, "rsa", 2048)
	told("LogLevel VERBOSE", "PubkeyAcceptedAlgorithms ssh-ed25519")(t)
	push(t, public)
	if in, said := logsIn(t, private); in {
		t.Fatalf("in: %s", said)
	}
	const line = "PubkeyAcceptedAlgorithms is ssh-ed25519 (/etc/ssh/sshd_config line 2)"
	said := ""
	if err := w.Eventually("explain names the line", func() bool {
		fingerprint, err := exec.Command("ssh-keygen", "-lf", private+".pub").Output()
		if err != nil {
			t.Fatal(err)
		}
		out, _ := exec.Command(eicctl, "explain", "--since", "5m", strings.Fields(string(fingerprint))[1]).CombinedOutput()
		said = string(out)
		return strings.Contains(said, line)
	}); err != nil {
		t.Errorf("%v: no %q in %s", err, line, said)
	}
}

// At LogLevel INFO sshd does not record that a key was the first of several methods.
func TestExplainNamesTheSecondMethod(t *testing.T) {
	private, public := newKey(t, "ed25519", 0)
	told("AuthenticationMethods publickey,keyboard-interactive", "KbdInteractiveAuthentication yes")(t)
	push(t, public)
	if in, said := logsIn(t, private); in {
		t.Fatalf("in: %s", said)
	}
	fingerprint, err := exec.Command("ssh-keygen", "-lf", private+".pub").Output()
	if err != nil {
		t.Fatal(err)
	}
	said := ""
	if err := w.Eventually("explain names the second method", func() bool {
		out, _ := exec.Command(eicctl, "explain", "--since", "5m", strings.Fields(string(fingerprint))[1]).CombinedOutput()
		said = string(out)
		return strings.Contains(said, "most likely another method was missing (AuthenticationMethods)") &&
			strings.Contains(said, "AuthenticationMethods is publickey,keyboard-interactive (/etc/ssh/sshd_config line ")
	}); err != nil {
		t.Errorf("%v: %s", err, said)
	}
}
