package doctor

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/test/host"
)

// replacedFaults are what a listener cannot serve connections with: the programs that
// OpenSSH 9.8 and later starts for each, or before that, sshd itself.
func replacedFaults() (faults []fault) {
	for _, program := range []string{"/usr/lib/openssh/sshd-session", "/usr/lib/openssh/sshd-auth"} {
		if _, err := os.Stat(program); err == nil {
			faults = append(faults, one("another program in the place of "+program, func(t *testing.T) {
				cover(t, program, "/bin/true")
			}, "sshd-replaced").leaving())
		}
	}
	if len(faults) == 0 {
		faults = append(faults, one("sshd was replaced by one that does not know its listener", func(t *testing.T) {
			cover(t, "/usr/sbin/sshd", "/bin/true")
		}, "sshd-replaced").butFor("the stand-in writes no PidFile").leaving("command", "command-path", "user-access"))
	}
	return faults
}

func serverFaults() []fault {
	return append(replacedFaults(), []fault{
		one("sshd does not run", stop, "sshd-not-running"),
		one("what somebody else calls sshd", func(t *testing.T) {
			stop(t)
			account, err := w.Account(user)
			if err != nil {
				t.Fatal(err)
			}
			// Root must not run it, not even to ask for its version.
			const trap = "/home/" + user + "/sshd"
			command(t, "cp /bin/sleep "+trap, "rm "+trap)
			cmd := exec.Command(trap, "1000")
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				cmd.Process.Kill()
				cmd.Wait()
			})
		}, "sshd-not-running"),
		one("another sshd besides", beside()).leaving(),
		one("another sshd with another command", beside("-oauthorizedkeyscommand=/bin/false", "-o", "AuthorizedKeysCommandUser nobody")).leaving("sshd-others"),
		one("no sshd", func(t *testing.T) {
			stop(t)
			cover(t, "/usr/sbin/sshd", "/dev/null")
		}, "sshd-missing"),
		one("configuration broken after the start", func(t *testing.T) {
			restart(t, commandLines())
			change(t, "AuthorisedKeysCommand none\n")
		}, "sshd-config-broken"),
		one("configuration changed but not read", func(t *testing.T) {
			restart(t, commandLines())
			change(t, "MaxSessions 5\n")
		}, "sshd-not-reloaded"),
		one("no command", func(t *testing.T) { restart(t, nil) }, "command-none").leaving("command-path"),
		one("the command for another user only", func(t *testing.T) {
			restart(t, append([]string{"Match User bob"}, commandLines()...))
		}, "command-none"),
		one("another command for this user", func(t *testing.T) {
			restart(t, append(commandLines(), "Match User "+user, "AuthorizedKeysCommand /usr/bin/sss_ssh_authorizedkeys %u"))
		}, "command-sssd").leaving("command-path"),
		one("another command for some addresses", func(t *testing.T) {
			restart(t, append(commandLines(), "Match Address 10.0.0.0/8", "AuthorizedKeysCommand /usr/bin/sss_ssh_authorizedkeys %u"))
		}).leaving("command-match"),
		one("AWS's package on the command line", func(t *testing.T) {
			restart(t, commandLines(), "-o", "AuthorizedKeysCommand /usr/share/ec2-instance-connect/eic_run_authorized_keys %u %f", "-o", "AuthorizedKeysCommandUser "+agentUser)
		}, "command-aws"),
		one("AWS's package at the next start", func(t *testing.T) {
			write(t, "/etc/systemd/system/ssh.service", "[Service]\nExecStart=/usr/sbin/sshd -D\n", 0o644)
			write(t, "/etc/systemd/system/ssh.service.d/ec2-instance-connect.conf",
				"[Service]\nExecStart=\nExecStart=/usr/sbin/sshd -D -o \"AuthorizedKeysCommand /usr/share/ec2-instance-connect/eic_run_authorized_keys %%u %%f\" -o \"AuthorizedKeysCommandUser ec2-instance-connect\"\n", 0o644)
		}, "sshd-unit-overrides"),
		one("systemd-userdb", told("AuthorizedKeysCommand /usr/bin/userdbctl ssh-authorized-keys %u", "AuthorizedKeysCommandUser root"), "command-userdb"),
		one("sssd", told("AuthorizedKeysCommand /usr/bin/sss_ssh_authorizedkeys %u", "AuthorizedKeysCommandUser nobody"), "command-sssd"),
		one("OS Login", told("AuthorizedKeysCommand /usr/bin/google_authorized_keys %u", "AuthorizedKeysCommandUser root"), "command-oslogin"),
		one("opkssh", told("AuthorizedKeysCommand /usr/local/bin/opkssh verify %u %k %t", "AuthorizedKeysCommandUser nobody"), "command-opkssh"),
		one("a script with curl", asks(host.BinDir+"/keys.sh", "#!/bin/sh\ncurl -s http://169.254.169.254/latest/meta-data/managed-ssh-keys/active-keys/$1/\n"), "command-unproved-script"),
		one("some other command", asks(host.BinDir+"/ldap-keys", "#!/bin/sh\nldapsearch $1\n"), "command-other"),
		one("PubkeyAuthentication no", told("PubkeyAuthentication no"), "pubkey-authentication-off"),
		one("too many connections under way", func(t *testing.T) {
			told("MaxStartups 1")(t)
			for range 3 {
				conn, err := net.Dial("tcp", "127.0.0.1:2222")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.Close() })
			}
			if err := w.Eventually("sshd drops a connection", func() bool {
				out, err := w.Journalctl("-t", "sshd", "-n", "20", "-o", "cat")
				return err == nil && strings.Contains(strings.ToLower(string(out)), "maxstartups") // as OpenSSH before 10.0 spells it, and since
			}); err != nil {
				t.Fatal(err)
			}
		}, "max-startups"),
		one("RevokedKeys is not there", told("RevokedKeys /etc/ssh/gone"), "revoked-keys"),
		one("the directory of RevokedKeys is not there", told("RevokedKeys /etc/ssh/krl/revoked"), "revoked-keys"),
		one("RevokedKeys is a damaged list", func(t *testing.T) {
			write(t, "/etc/ssh/revoked.krl", "SSHKRL\n\x00damaged", 0o644)
			told("RevokedKeys /etc/ssh/revoked.krl")(t)
		}, "revoked-keys"),
		one("RevokedKeys is a directory", told("RevokedKeys /etc/ssh"), "revoked-keys"),
		one("a file that sshd has read is gone", func(t *testing.T) {
			command(t, "mkdir /etc/ssh/more.d", "rm -r /etc/ssh/more.d")
			restart(t, append([]string{"Include /etc/ssh/more.d/*.conf"}, commandLines()...))
			later := time.Now().Add(10 * time.Second)
			if err := os.Chtimes("/etc/ssh/more.d", later, later); err != nil {
				t.Fatal(err)
			}
		}).leaving("sshd-read"),
	}...)
}

// beside starts a further sshd.
func beside(args ...string) func(t *testing.T) {
	return func(t *testing.T) {
		os.Remove("/run/other.pid")
		cmd := exec.Command("/usr/sbin/sshd", append([]string{"-D", "-p", "2223", "-o", "PidFile=/run/other.pid"}, args...)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
		if err := w.Eventually("the other sshd listens", func() bool {
			_, err := os.Stat("/run/other.pid")
			return err == nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}
