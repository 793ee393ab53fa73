package doctor

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/eic-agent/eic-agent/internal/ctl/doctor"
)

// Hosts that are set up in another way than usual, and work.
func TestOddButHealthy(t *testing.T) {
	lines := func(more ...string) func(*testing.T) {
		return func(t *testing.T) { restart(t, append(commandLines(), more...)) }
	}
	for _, c := range []struct {
		name string
		set  func(*testing.T)
		user string
	}{
		{"the key for a further command", func(t *testing.T) {
			configured("[chain]\ncommand = [\"/bin/true %f %t %k\", \"/bin/true\"]\n")(t)
			calls(authkeys+" %u %f %t %k", agentUser)(t)
		}, user},
		{"no fingerprint, and a further command without tokens", func(t *testing.T) {
			configured("[chain]\ncommand = [\"/bin/true\"]\n")(t)
			calls(authkeys, agentUser)(t)
		}, user},
		{"the configuration with an equals sign", calls(authkeys+" --config="+configPath+" -- %u %f", agentUser), user},
		{"quotes", calls(authkeys+` "%u" '%f'`, agentUser), user},
		{"Match blocks", lines("Match User bob", "PasswordAuthentication no", "Match Address 10.0.0.0/8", "AuthenticationMethods publickey", "Match all", "X11Forwarding no"), user},
		{"Match with the same command", lines(append([]string{"Match User " + user}, commandLines()...)...), user},
		{"lists that name the user", lines("AllowUsers bob "+user, "AllowGroups *", "DenyUsers !"+user+" mallory"), user},
		{"several methods", lines("AuthenticationMethods publickey,keyboard-interactive publickey"), user},
		{"root", func(*testing.T) {}, "root"},
		{"root with keys only", lines("PermitRootLogin prohibit-password"), "root"},
		{"another port", func(t *testing.T) { restart(t, commandLines(), "-p", "2022", "-oPort=2023") }, user},
		{"the command on the command line", func(t *testing.T) {
			restart(t, nil, "-o", "AuthorizedKeysCommand "+authkeys+" %u %f", "-o", "AuthorizedKeysCommandUser="+agentUser)
		}, user},
		{"the metadata service over IPv6", configured("[imds]\nendpoint = \"http://[fd00:ec2::254]\"\n"), user},
		{"either metadata service", configured("[imds]\nendpoint = \"auto\"\n"), user},
		{"an expired password, without PAM", shell("chage -d 0 "+user, "chage -d 2026-01-01 "+user), user},
		{"no key is revoked", func(t *testing.T) {
			write(t, "/etc/ssh/revoked", "", 0o600)
			lines("RevokedKeys /etc/ssh/revoked")(t)
		}, user},
		{"a row for the user", configured("[[users.map]]\ncaller = \"arn:*:*:*:*:*\"\nusers = [\"bob\", \"al*\"]\n"), user},
		{"no cache", configured("[cache]\ndir = \"\"\n"), user},
		{"systemd's nologin file, without PAM", func(t *testing.T) { write(t, "/run/nologin", "", 0o644) }, user},
		{"no shell, with ChrootDirectory and internal-sftp", func(t *testing.T) {
			shell("usermod -s /bin/gone "+user, "usermod -s /bin/sh "+user)(t)
			lines("ChrootDirectory /", "ForceCommand internal-sftp")(t)
		}, user},
		{"nologin, with internal-sftp", func(t *testing.T) {
			shell("usermod -s /usr/sbin/nologin "+user, "usermod -s /bin/sh "+user)(t)
			lines("ForceCommand internal-sftp -l INFO")(t)
		}, user},
		{"a command that root's keys are for", func(t *testing.T) {
			configured("[keys]\noptions = 'command=\"true\"'\n")(t)
			lines("PermitRootLogin forced-commands-only")(t)
		}, "root"},
		{"tabs in -o", func(t *testing.T) { restart(t, commandLines(), "-o", "DenyUsers\t=\tbob") }, user},
		{"a mount namespace of its own", func(t *testing.T) { started(t, "/usr/sbin/sshd", "/", true, "-D") }, user},
		{"another name", func(t *testing.T) {
			if _, err := os.Stat("/usr/lib/openssh/sshd-session"); err != nil {
				t.Skip("sshd logs under that name before OpenSSH 9.8")
			}
			command(t, "ln -s sshd /usr/sbin/sshd-second", "rm /usr/sbin/sshd-second")
			started(t, "/usr/sbin/sshd-second", "/", false, "-D")
		}, user},
		{"LogLevel DEBUG3", lines("LogLevel DEBUG3"), user},
		{"LogLevel VERBOSE, and less of another user", lines("LogLevel VERBOSE", "Match User bob", "LogLevel QUIET"), user},
		{"keys alone", lines("AuthenticationMethods publickey"), user},
		{"options joined to -o", func(t *testing.T) { restart(t, commandLines(), "-oCiphers=aes256-gcm@openssh.com", "-oMaxSessions=5") }, user},
		{"a crypto policy", func(t *testing.T) {
			write(t, "/etc/crypto-policies/back-ends/opensshserver.config", "PubkeyAcceptedAlgorithms ecdsa-sha2-nistp256,ssh-ed25519,rsa-sha2-256,rsa-sha2-512\nRequiredRSASize 2048\n", 0o644)
			restart(t, append([]string{"Include /etc/crypto-policies/back-ends/opensshserver.config"}, commandLines()...))
		}, user},
		{"config.d", further("[keys]\ntypes = [\"ssh-ed25519\", \"ssh-rsa\"]\n", 0o644), user},
		{"another sshd on another port, with the agent too", beside(), user},
		{"journald's settings in drop-ins", keeping("Storage=volatile\nMaxLevelStore=debug\n"), user},
		{"a limit that was never met", lines("MaxStartups 2:30:4"), user},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.set(t)
			// What root's shell has set is not the host's.
			t.Setenv("LC_ALL", "tr_TR.UTF-8")
			t.Setenv("POSIXLY_CORRECT", "1")
			t.Setenv("TZ", "Asia/Kathmandu")
			if r := examineFor(t, c.user, isHealthy); !isHealthy(r) {
				t.Errorf("not healthy:\n%s", show(r))
			}
		})
	}
}

// started runs sshd as a program of that name, in a directory, until the test ends.
func started(t *testing.T, program, dir string, namespace bool, args ...string) {
	t.Helper()
	restart(t, commandLines())
	w.sshd.stop()
	if err := os.Remove(pidFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	if namespace {
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	one := server{cmd.Process}
	w.sshd = one
	t.Cleanup(one.stop)
	if err := w.Eventually("sshd listens", func() bool {
		_, err := os.Stat(pidFile)
		return err == nil
	}); err != nil {
		t.Fatal(err)
	}
}

// Of an sshd whose file or options are not known nothing is said, and nothing of a Match line that has to
// be corrected is a command: without the line its block would apply to everybody.
func TestNoVerdict(t *testing.T) {
	t.Run("relative", func(t *testing.T) {
		started(t, "/usr/sbin/sshd", "/etc/ssh", false, "-D", "-f", "sshd_config")
		if r := examine(t, user); r.Problems > 0 || !slices.Contains(ids(r, doctor.Unknown), "command") {
			t.Errorf("%s", show(r))
		}
	})
	t.Run("title", func(t *testing.T) {
		restart(t, commandLines(), "-o", "ForceCommand echo -o y")
		if r := examine(t, user); r.Problems > 0 || !slices.Contains(ids(r, doctor.Unknown), "command") {
			t.Errorf("%s", show(r))
		}
	})
	t.Run("Match", func(t *testing.T) {
		restart(t, commandLines())
		change(t, "Match Usr bob\nPermitRootLogin yes\n")
		r := examine(t, user)
		if i := slices.IndexFunc(r.Findings, func(f doctor.Finding) bool { return f.ID == "sshd-config-broken" }); i < 0 || r.Findings[i].Command || !strings.Contains(r.Findings[i].Fix, "the Match line") {
			t.Errorf("%s", show(r))
		}
	})
}
