package doctor

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/ctl/doctor"
	"github.com/eic-agent/eic-agent/internal/ctl/keys"
	"github.com/eic-agent/eic-agent/internal/sshd"
)

// newKey makes a key pair until the test ends.
func newKey(t *testing.T, keyType string, bits int) (private, public string) {
	t.Helper()
	private, public, err := w.NewKey(filepath.Base(t.TempDir())+"-"+strings.NewReplacer("/", "-", "#", "-").Replace(t.Name()), keyType, bits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(private); os.Remove(private + ".pub") })
	return private, public
}

// logsIn reports whether the real sshd lets the real ssh in as the user, from 127.0.0.1.
func logsIn(t *testing.T, private string, options ...string) (bool, string) {
	t.Helper()
	args := append([]string{"-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-i", private, "-p", "2222"}, options...)
	out, err := exec.Command("/usr/bin/ssh", append(args, user+"@127.0.0.1", "echo in")...).CombinedOutput()
	return err == nil && strings.HasSuffix(strings.TrimSpace(string(out)), "in"), string(out)
}

// What doctor and keys say of a pushed key is what the real sshd does with it, whatever
// line limits it; and the fix lets the key in.
func TestSSHDLimits(t *testing.T) {
	const ed, rsa = "ed25519", "rsa"
	for _, c := range []struct {
		name    string
		lines   []string // before those of a healthy configuration
		args    []string // of sshd
		keyType string
		bits    int
		want    string // finding, "" where the key logs in
		open    string // finding that says that more is asked for
	}{
		{name: "no limit", keyType: ed},
		{name: "no limit for RSA", keyType: rsa, bits: 2048},
		{name: "types", lines: []string{"PubkeyAcceptedAlgorithms ssh-ed25519"}, keyType: rsa, bits: 2048, want: "key-type-refused"},
		{name: "types by the old name", lines: []string{"PubkeyAcceptedKeyTypes ssh-ed25519"}, keyType: rsa, bits: 2048, want: "key-type-refused"},
		{name: "a type taken away", lines: []string{"PubkeyAcceptedAlgorithms -ssh-ed25519*"}, keyType: ed, want: "key-type-refused"},
		{name: "a list longer than a sentence", lines: []string{"PubkeyAcceptedAlgorithms " + strings.Repeat("rsa-sha2-512,", 60) + "rsa-sha2-256"}, keyType: ed, want: "key-type-refused"},
		{name: "a wildcard", lines: []string{"PubkeyAcceptedAlgorithms rsa-*"}, keyType: ed, want: "key-type-refused"},
		{name: "a wildcard that matches", lines: []string{"PubkeyAcceptedAlgorithms rsa-*"}, keyType: rsa, bits: 2048},
		{name: "certificates only", lines: []string{"PubkeyAcceptedAlgorithms *-cert-v01@openssh.com"}, keyType: ed, want: "key-types-refused"},
		{name: "types on the command line", args: []string{"-o", "PubkeyAcceptedAlgorithms=rsa-sha2-512"}, keyType: ed, want: "key-type-refused"},
		{name: "types for the user", lines: []string{"Match User " + user, "PubkeyAcceptedAlgorithms rsa-sha2-256"}, keyType: ed, want: "key-type-refused"},
		{name: "types for another user", lines: []string{"Match User bob", "PubkeyAcceptedAlgorithms rsa-sha2-256"}, keyType: ed},
		{name: "types for the address", lines: []string{"Match Address 127.0.0.0/8", "PubkeyAcceptedAlgorithms rsa-sha2-256"}, keyType: ed, want: "key-type-refused"},
		{name: "types for another address", lines: []string{"Match Address 10.0.0.0/8", "PubkeyAcceptedAlgorithms rsa-sha2-256"}, keyType: ed},
		{name: "size", lines: []string{"RequiredRSASize 3072"}, keyType: rsa, bits: 2048, want: "key-size-refused"},
		{name: "size that is enough", lines: []string{"RequiredRSASize 2048"}, keyType: rsa, bits: 2048},
		{name: "size, another type", lines: []string{"RequiredRSASize 4096"}, keyType: ed},
		{name: "a crypto policy", lines: []string{"Include /etc/crypto-policies/back-ends/opensshserver.config"}, keyType: rsa, bits: 2048, want: "key-size-refused"},
		{name: "DenyUsers", lines: []string{"DenyUsers bob", "DenyUsers al* carol"}, keyType: ed, want: "user-deny-users"},
		{name: "DenyUsers in quotes", lines: []string{`DenyUsers "alice"`}, keyType: ed, want: "user-deny-users"},
		{name: "DenyUsers with a comment", lines: []string{"DenyUsers alice # has left"}, keyType: ed, want: "user-deny-users"},
		{name: "DenyUsers by the client's name", lines: []string{"UseDNS yes", "DenyUsers alice@localhost"}, keyType: ed, want: "user-deny-users"},
		{name: "AllowUsers by the client's name", lines: []string{"UseDNS yes", "AllowUsers alice@localhost"}, keyType: ed},
		{name: "AllowUsers with a name of two words", lines: []string{`AllowUsers "bob smith" carol # both`}, keyType: ed, want: "user-allow-users"},
		{name: "Match by the client's name", lines: []string{"Match Host localhost", "PubkeyAuthentication no"}, args: []string{"-oUseDNS=yes"}, keyType: ed, want: "pubkey-authentication-off"},
		{name: "RevokedKeys is damaged", lines: []string{"RevokedKeys /etc/ssh/damaged"}, keyType: ed, want: "revoked-keys"},
		{name: "DenyUsers at the address", lines: []string{"DenyUsers alice@127.0.0.0/8"}, keyType: ed, want: "user-deny-users"},
		{name: "DenyUsers elsewhere", lines: []string{"DenyUsers alice@10.0.0.0/8"}, keyType: ed},
		{name: "AllowUsers", lines: []string{"AllowUsers bob"}, keyType: ed, want: "user-allow-users"},
		{name: "AllowUsers elsewhere", lines: []string{"AllowUsers alice@10.0.0.0/8"}, keyType: ed, want: "user-allow-users"},
		{name: "AllowUsers here", lines: []string{"AllowUsers alice@10.0.0.0/8 alice@127.0.0.1"}, keyType: ed},
		{name: "AllowUsers with an exclamation mark", lines: []string{"AllowUsers !alice al*"}, keyType: ed},
		{name: "DenyGroups", lines: []string{"DenyGroups wheel al?ce"}, keyType: ed, want: "user-deny-groups"},
		{name: "AllowGroups", lines: []string{"AllowGroups wheel"}, keyType: ed, want: "user-allow-groups"},
		{name: "PubkeyAuthentication", lines: []string{"PubkeyAuthentication no"}, keyType: ed, want: "pubkey-authentication-off"},
		{name: "PubkeyAuthentication for the user", lines: []string{"Match User " + user, "PubkeyAuthentication no"}, keyType: ed, want: "pubkey-authentication-off"},
		{name: "no list with a key", lines: []string{"PasswordAuthentication yes", "AuthenticationMethods password"}, keyType: ed, want: "authentication-methods"},
		{name: "a list that is turned off", lines: []string{"PasswordAuthentication no", "KbdInteractiveAuthentication yes", "AuthenticationMethods publickey,password keyboard-interactive"}, keyType: ed, want: "authentication-methods"},
		{name: "a second factor", lines: []string{"PasswordAuthentication yes", "AuthenticationMethods publickey,password"}, keyType: ed, open: "authentication-methods"},
		{name: "a key is enough", lines: []string{"PasswordAuthentication yes", "AuthenticationMethods publickey,password publickey"}, keyType: ed},
		{name: "no attempt", lines: []string{"MaxAuthTries 0"}, keyType: ed, want: "max-auth-tries"},
		{name: "one attempt", lines: []string{"MaxAuthTries 1"}, keyType: ed},
		{name: "no session", lines: []string{"MaxSessions 0"}, keyType: ed, want: "max-sessions"},
		{name: "revoked", lines: []string{"RevokedKeys /run/host/revoked"}, keyType: ed, want: "key-revoked"},
		{name: "revoked in a KRL", lines: []string{"RevokedKeys /run/host/revoked.krl"}, keyType: ed, want: "key-revoked"},
		{name: "another revoked", lines: []string{"RevokedKeys /run/host/other.krl"}, keyType: ed},
	} {
		t.Run(c.name, func(t *testing.T) {
			private, public := newKey(t, c.keyType, c.bits)
			write(t, "/etc/ssh/damaged", "# revoked\n"+publicKey+"\nssh-ed25519 AAAA\n", 0o644)
			write(t, "/etc/crypto-policies/back-ends/opensshserver.config", "RequiredRSASize 3072\n", 0o644)
			if strings.Contains(c.name, "revoked") {
				write(t, "/run/host/revoked", public+"\n", 0o644)
				command(t, "ssh-keygen -q -k -f /run/host/revoked.krl "+private+".pub; echo "+publicKey+" >/run/host/o.pub; ssh-keygen -q -k -f /run/host/other.krl /run/host/o.pub", "rm /run/host/*.krl /run/host/o.pub")
			}
			restart(t, inFront(c.lines), c.args...)
			push(t, public)
			in, said := logsIn(t, private)
			if in != (c.want == "" && c.open == "") {
				t.Fatalf("in: %v, %s", in, said)
			}
			r := examine(t, user, "--from", "127.0.0.1")
			want := strings.Fields(c.want)
			if got := ids(r, doctor.Problem); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("problems %q, want %q\n%s", got, want, show(r))
			}
			out, _ := exec.Command(eicctl, "keys", "-o", "json", "--from", "127.0.0.1", user).Output()
			var k keys.Report
			if err := json.Unmarshal(out, &k); err != nil || k.Granted != 1 || (k.Accepted() == 1) != (c.want == "") {
				t.Errorf("keys: %v, %s", err, out)
			}
			if c.open != "" && !strings.Contains(string(out), c.open) {
				t.Errorf("keys does not say %s: %s", c.open, out)
			}
			for _, f := range r.Findings {
				if f.ID != c.want || !f.Command {
					continue
				}
				if !strings.Contains(f.Text, "/etc/") {
					t.Errorf("no line is named: %s", f.Text)
				}
				fixed(t, f)
				if in, said := logsIn(t, private); !in {
					t.Errorf("not in after the fix: %s", said)
				}
			}
		})
	}
}

// Keys for some addresses only are judged by the client's.
func TestKeyOptions(t *testing.T) {
	for from, want := range map[string]bool{"10.0.0.0/8": false, "127.0.0.*,10.0.0.1": true} {
		private, public := newKey(t, "ed25519", 0)
		configured("[keys]\noptions = 'from=\"" + from + "\"'\n")(t)
		push(t, public)
		if in, said := logsIn(t, private); in != want {
			t.Errorf("%s: in: %v, %s", from, in, said)
		}
		if r := examine(t, user, "--from", "127.0.0.1"); slices.Contains(ids(r, doctor.Problem), "key-options") == want {
			t.Errorf("%s: %s", from, show(r))
		}
		if err := exec.Command(eicctl, "keys", "--from", "127.0.0.1", user).Run(); (err == nil) != want {
			t.Errorf("%s: eicctl keys: %v", from, err)
		}
	}
}

// A fix changes the line that sshd goes by, and nothing else in it than the user's name.
func TestFixesKeepTheRest(t *testing.T) {
	for _, c := range []struct {
		id    string
		lines []string
		want  []string
	}{
		{"user-deny-users", []string{"DenyUsers alice \"bob smith\" # two", "Match Address 10.0.0.0/8", "DenyUsers alice carol"}, []string{"DenyUsers \"bob smith\"", "DenyUsers alice carol"}},
		{"user-allow-users", []string{"AllowUsers \"bob smith\" carol # two", "AllowUsers dave"}, []string{"AllowUsers \"bob smith\" carol alice", "AllowUsers dave"}},
	} {
		t.Run(c.id, func(t *testing.T) {
			restart(t, append(slices.Clone(c.lines[:1]), append(commandLines(), c.lines[1:]...)...))
			r := examine(t, user)
			i := slices.IndexFunc(r.Findings, func(f doctor.Finding) bool { return f.ID == c.id && f.Command })
			if i < 0 {
				t.Fatalf("%s: %s", c.id, show(r))
			}
			keepFiles(t)
			fixed(t, r.Findings[i])
			text, err := os.ReadFile(sshdConfig)
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range c.want {
				if !strings.Contains(string(text), line+"\n") {
					t.Errorf("after %q %q is missing in\n%s", r.Findings[i].Fix, line, text)
				}
			}
		})
	}
}

// inFront puts lines before those of a healthy configuration, and Match blocks behind.
func inFront(lines []string) []string {
	if len(lines) > 0 && strings.HasPrefix(lines[0], "Match ") {
		return append(commandLines(), lines...)
	}
	return append(slices.Clone(lines), commandLines()...)
}

// keepFiles puts the configuration of sshd and of the agent back when the test ends, as
// it is now, with an sshd that has read it.
func keepFiles(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		defer rereads(t)
		// An sshd that a fix has started.
		for _, l := range sshd.Listeners() {
			if l.PID == w.sshd.process.Pid || unix.Kill(l.PID, unix.SIGTERM) != nil {
				continue
			}
			if err := w.Eventually("sshd ends", func() bool {
				return !slices.ContainsFunc(sshd.Listeners(), func(now sshd.Listener) bool { return now.PID == l.PID })
			}); err != nil {
				t.Error(err)
			}
		}
	})
	command(t, "rm -rf /run/host/kept; mkdir /run/host/kept; cp -a /etc/ssh /etc/eic-agent /etc/passwd /etc/shadow /etc/group /run/host/kept; [ ! -d /etc/systemd/system ] || cp -a /etc/systemd/system /run/host/kept/units",
		"for d in ssh eic-agent; do diff -rq /run/host/kept/$d /etc/$d >/dev/null || { rm -rf /etc/$d/* && cp -a /run/host/kept/$d/. /etc/$d && touch /run/host/kept/$d.back; }; done; cp -a /run/host/kept/passwd /run/host/kept/shadow /run/host/kept/group /etc/; rm -rf /var/lib/eic-agent; [ ! -d /etc/systemd/system ] || { rm -rf /etc/systemd/system/*; cp -a /run/host/kept/units/. /etc/systemd/system; }")
}

// rereads has the sshd of the host read the configuration that keepFiles has put back.
func rereads(t *testing.T) {
	t.Helper()
	before, err := os.Stat(pidFile)
	if _, backErr := os.Stat("/run/host/kept/ssh.back"); w.otherwise || backErr != nil || err != nil {
		return
	}
	w.sshd.process.Signal(unix.SIGHUP)
	if err := w.Eventually("sshd reads its configuration", func() bool {
		now, err := os.Stat(pidFile)
		return err == nil && !now.ModTime().Equal(before.ModTime())
	}); err != nil {
		t.Error(err)
	}
}

// fixed runs a fix as it is printed.
func fixed(t *testing.T, f doctor.Finding) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "umask 077; "+f.Fix)
	cmd.Env = []string{"PATH=" + filepath.Dir(eicctl) + ":/usr/sbin:/usr/bin:/sbin:/bin"}
	// A file: what the fix starts may keep it open.
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	before, _ := os.Stat(pidFile)
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		t.Errorf("the fix of %s, %q: %v: %s", f.ID, f.Fix, err, text)
	}
	if before != nil && strings.Contains(f.Fix, "kill -HUP") {
		if err := w.Eventually("sshd writes its pid anew", func() bool {
			now, err := os.Stat(pidFile)
			return err == nil && !now.ModTime().Equal(before.ModTime())
		}); err != nil {
			t.Fatal(err)
		}
	}
	reread(t)
}

// reread waits until sshd, which may have been reloaded, takes
// connections.
func reread(t *testing.T) {
	t.Helper()
	if err := w.Eventually("sshd takes connections", func() bool {
		out, err := exec.Command("ssh-keyscan", "-p", "2222", "127.0.0.1").Output()
		return err == nil && len(out) > 0 || len(sshd.Listeners()) == 0
	}); err != nil {
		t.Fatal(err)
	}
}
