package sshd

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Blocks for another port, address or routing domain are no reason to refuse.
func TestMatchBlocks(t *testing.T) {
	for _, criteria := range []string{"LocalPort 2200", "LocalAddress 10.0.0.1", "RDomain blue", "Host *.example", "Address 10.0.0.0/8", "User nosuch", "Group nosuch"} {
		t.Run(criteria, func(t *testing.T) {
			m := newMachine(t, "debian12", func(m *machine) {
				m.write("/etc/ssh/sshd_config", m.read("/etc/ssh/sshd_config")+"Match "+criteria+"\n\tAuthorizedKeysCommand /usr/bin/sss_ssh_authorizedkeys\n\tAuthorizedKeysCommandUser nobody\n")
			})
			before := m.snapshot()
			m.status(1)
			r := m.enable(0)
			if !strings.Contains(r.stdout, "sshd runs another command for ") || !strings.Contains(r.stdout, ": /usr/bin/sss_ssh_authorizedkeys (/etc/ssh/sshd_config line ") {
				t.Errorf("printed %q", r.stdout)
			}
			m.status(0)
			user := m.newUser()
			key, public := m.newKey()
			m.push(user, public)
			if !m.login(user, key) {
				t.Error("a pushed key does not log in")
			}
			m.disable(0)
			m.same(before)
		})
	}
}

// A further sshd is asked at each of its ports, and inside its Match blocks.
func TestAnother(t *testing.T) {
	m := newMachine(t, "debian12")
	m.enable(0)
	m.write("/etc/ssh/second_config", "Port 2298\nPort 2299\nListenAddress 127.0.0.1\nPidFile none\nMatch LocalPort 2299\n\tAuthorizedKeysCommand /usr/bin/sss_ssh_authorizedkeys\n\tAuthorizedKeysCommandUser nobody\nMatch Group *,!root\n\tAuthorizedKeysCommandUser root\n")
	cmd := exec.Command("/usr/sbin/sshd", "-D", "-f", "/etc/ssh/second_config")
	m.must(cmd.Start())
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	m.must(w.Eventually("the second sshd listens", func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:2299")
		if err == nil {
			conn.Close()
		}
		return err == nil
	}))
	r := m.eicctl("status")
	name := fmt.Sprintf("another sshd, process %d, ", cmd.Process.Pid)
	for _, want := range []string{name + "has no AuthorizedKeysCommand", name + "for anybody at 127.0.0.1 port 2299: /usr/bin/sss_ssh_authorizedkeys as nobody (/etc/ssh/second_config line 6, in Match LocalPort 2299)"} {
		if r.code != 0 || !strings.Contains(r.stdout, want) {
			t.Errorf("status does not say %q:\n%s", want, r.stdout)
		}
	}
	m.disable(0)
}

// What a running sshd has not read is not said of it, and enable has it read.
func TestNotRead(t *testing.T) {
	m := newMachine(t, "debian12")
	m.enable(0)
	m.status(0)
	m.write("/etc/ssh/sshd_config.d/90-more.conf", "Match User nosuch\nAuthorizedKeysCommand none\n")
	if s := m.status(3); s.Outcome != "unknown" || !strings.Contains(s.Problem, "sshd_config.d") {
		t.Errorf("status %+v", s)
	}
	if r := m.enable(0); !strings.Contains(r.stdout, "reloaded") {
		t.Errorf("printed %q", r.stdout)
	}
	m.status(0)
	m.must(os.Remove("/etc/ssh/sshd_config.d/90-more.conf"))
	m.run("systemctl", "reload", m.unit)
	m.status(0)
	m.disable(0)
}

// Modes do not come from root's umask.
func TestUmask(t *testing.T) {
	m := newMachine(t, "debian12", func(m *machine) {
		m.must(os.RemoveAll("/etc/eic-agent"))
		m.must(os.RemoveAll("/etc/ssh/sshd_config.d"))
	})
	if out, err := exec.Command("sh", "-c", "umask 077; exec "+eicctl+" sshd enable --program "+authkeys).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for path, mode := range map[string]string{
		"/etc/eic-agent": "755", "/etc/eic-agent/config.d": "755", settings: "644", "/etc/ssh/sshd_config.d": "755", dropIn: "644",
		"/var/lib/eic-agent": "755", "/var/lib/eic-agent/sshd": "700",
	} {
		if got := strings.TrimSpace(m.run("stat", "-c", "%a", path)); got != mode {
			t.Errorf("%s has mode %s, want %s", path, got, mode)
		}
	}
	m.disable(0)
	for _, path := range []string{"/etc/eic-agent", "/etc/ssh/sshd_config.d"} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is left", path)
		}
	}
}

// disable restores every file, or none.
func TestDisableAllOrNothing(t *testing.T) {
	m := newMachine(t, "debian12")
	m.enable(0)
	user := m.newUser()
	key, public := m.newKey()
	m.push(user, public)
	enabled := m.snapshot()
	// A mount point cannot be removed; the settings could be.
	m.must(unix.Mount(dropIn, dropIn, "", unix.MS_BIND, ""))
	mounted := true
	defer func() {
		if mounted {
			unix.Unmount(dropIn, unix.MNT_DETACH)
		}
	}()
	if r := m.disable(3); !strings.Contains(r.stderr, "still enabled") || !strings.Contains(r.stderr, "rolled back") {
		t.Errorf("said %q", r.stderr)
	}
	m.same(enabled)
	m.status(0)
	if !m.login(user, key) {
		t.Error("a pushed key does not log in any more")
	}
	m.must(unix.Unmount(dropIn, 0))
	mounted = false
	m.disable(0)
	m.status(1)
}
