package doctor

import (
	"crypto/md5"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/test/host"
)

// remade makes the cache anew when the test ends.
func remade(do string) func(*testing.T) {
	return func(t *testing.T) {
		t.Cleanup(func() {
			if err := w.makeCache(); err != nil {
				t.Error(err)
			}
		})
		command(t, do, "true")
	}
}

// mounted puts a file system in the place of the cache.
func mounted(options, then string) func(*testing.T) {
	mount := "chown=$(stat -c %u:%g " + cacheDir + "); mount -t tmpfs -o mode=0700," + options + " tmpfs " + cacheDir + " && chown $chown " + cacheDir
	return shell(mount+"; "+then, "umount "+cacheDir)
}

func cacheFaults() []fault {
	return []fault{
		one("no cache", remade("rm -r "+cacheDir), "cache-missing"),
		one("an image that has not been booted", func(t *testing.T) {
			write(t, "/run/tmpfiles.d/eic-agent.conf", "d "+cacheDir+" 0700 "+agentUser+" "+agentUser+" -\n", 0o644)
			remade("rm -r " + cacheDir)(t)
			stop(t)
		}, "sshd-not-running").butFor("an sshd that starts without a boot has no cache"),
		one("no cache, though systemd-tmpfiles would make one", func(t *testing.T) {
			write(t, "/run/tmpfiles.d/eic-agent.conf", "d "+cacheDir+" 0700 "+agentUser+" "+agentUser+" -\n", 0o644)
			remade("rm -r " + cacheDir)(t)
		}, "cache-missing"),
		one("the cache is a file", func(t *testing.T) {
			remade("mv " + cacheDir + " /run/moved; touch " + cacheDir)(t)
			t.Cleanup(func() { os.Remove(cacheDir); os.Rename("/run/moved", cacheDir) })
		}, "cache-not-a-directory"),
		one("the cache is a link", func(t *testing.T) {
			remade("mv " + cacheDir + " /run/moved; ln -s /run/moved " + cacheDir)(t)
			t.Cleanup(func() { os.Remove(cacheDir); os.Rename("/run/moved", cacheDir) })
		}, "cache-not-a-directory"),
		one("the cache belongs to root", remade("chown root "+cacheDir), "cache-owner"),
		one("the cache is open to others", remade("chmod 0755 "+cacheDir), "cache-mode"),
		one("the cache is closed to its owner", remade("chmod 0500 "+cacheDir), "cache-mode"),
		one("the cache is full", mounted("size=64k", "dd if=/dev/zero of="+cacheDir+"/full bs=4k 2>/dev/null || true"), "cache-full"),
		one("the cache has no inodes left", mounted("nr_inodes=1", "true"), "cache-full"),
		one("the cache is read-only", mounted("size=64k", "mount -o remount,ro "+cacheDir), "cache-read-only"),
		one("the cache has a name that cannot be", configured("[cache]\ndir = \"/run/"+strings.Repeat("x", 300)+"\"\n"), "cache-unusable"),
		one("the cache is on a disk", func(t *testing.T) {
			dir, err := os.MkdirTemp("/var/tmp", "eic-doctor-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			var fs unix.Statfs_t
			if unix.Statfs(dir, &fs) != nil || fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.OVERLAYFS_SUPER_MAGIC {
				t.Skip("there is no disk here")
			}
			command(t, "chown "+agentUser+" "+dir, "true")
			configured("[cache]\ndir = \"" + dir + "\"\n")(t)
		}, "cache-on-disk"),
	}
}

func journalFaults() []fault {
	const socket = "/run/systemd/journal/socket"
	moved := func(path string) string { return "mv " + path + " " + path + ".moved" }
	back := func(path string) string { return "rm -f " + path + "; mv " + path + ".moved " + path }
	return []fault{
		one("no journald and no syslog", shell(moved(socket)+"; "+moved("/run/systemd/journal/dev-log"), back(socket)+"; "+back("/run/systemd/journal/dev-log")), "journal-missing"),
		one("nobody listens to the journal", func(t *testing.T) {
			command(t, moved(socket), back(socket))
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Bind(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
				t.Fatal(err)
			}
			unix.Close(fd)
			if err := os.Chmod(socket, 0o666); err != nil {
				t.Fatal(err)
			}
		}, "journal-dead"),
		one("only root may write the journal", shell("chmod 0600 "+socket, "chmod 0666 "+socket), "journal-denied"),
		one("journald hangs", func(t *testing.T) {
			if err := unix.Kill(w.journald.Pid, unix.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Kill(w.journald.Pid, unix.SIGCONT) })
		}, "journal-stuck"),
		one("journald left out records", func(t *testing.T) {
			// journald limits units only, which a private host has none of: this
			// is what it would say, under its name.
			const comm = "/proc/self/comm"
			name, err := os.ReadFile(comm)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.WriteFile(comm, name, 0) })
			if err := os.WriteFile(comm, []byte("systemd-journal"), 0); err != nil {
				t.Fatal(err)
			}
			const message = "Suppressed 300 messages from ssh.service"
			if err := journal.Send(message, journal.PriWarning, map[string]string{"MESSAGE_ID": "a596d6fe7bfa4994828e72309e95d61e"}); err != nil {
				t.Fatal(err)
			}
			command(t, "journalctl --sync", "journalctl --rotate; journalctl --vacuum-time=1us -q 2>/dev/null")
		}, "journal-suppressed"),
	}
}

// realSbin is where /usr/sbin is while something stands in for one of its programs.
const realSbin = "/run/host/sbin"

// standIn puts a script in the place of a program, or beside those that there are,
// until the test ends.
func standIn(t *testing.T, name, script string) {
	t.Helper()
	const mine = "/run/host/sbin.mine"
	command(t, "mkdir -p "+realSbin+" "+mine+" && mount --bind /usr/sbin "+realSbin+" && ln -sf "+realSbin+"/* "+mine+" && rm -f "+mine+"/"+name,
		"umount "+realSbin+"; rm -r "+mine)
	write(t, mine+"/"+name, script, 0o755)
	cover(t, "/usr/sbin", mine)
}

func policyFaults() []fault {
	enforcing := func(t *testing.T, module, audit string) {
		command(t, "mount -t tmpfs tmpfs /sys/fs && mkdir -p /sys/fs/selinux && echo 1 > /sys/fs/selinux/enforce", "umount /sys/fs")
		command(t, "mount -t tmpfs tmpfs /var/log && mkdir /var/log/audit", "umount /var/log")
		write(t, "/var/log/audit/audit.log", audit, 0o600)
		standIn(t, "semodule", "#!/bin/sh\necho "+module+"\n")
	}
	denied := func(at time.Time) string {
		return fmt.Sprintf("type=AVC msg=audit(%d.123:456): avc:  denied  { name_connect } for  pid=812 comm=\"eic-authkeys\" dest=80 scontext=system_u:system_r:sshd_t:s0 tcontext=system_u:object_r:http_port_t:s0 tclass=tcp_socket permissive=0\n", at.Unix())
	}
	label := func(t *testing.T, path, label string) {
		if err := unix.Setxattr(path, "security.selinux", []byte(label+"\x00"), 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Removexattr(path, "security.selinux") })
	}
	labelled := func(t *testing.T) {
		label(t, authkeys, "system_u:object_r:eic_authkeys_exec_t:s0")
		label(t, cacheDir, "system_u:object_r:eic_authkeys_var_run_t:s0")
	}
	const agent = "eic_agent"
	return []fault{
		one("SELinux has denied something", func(t *testing.T) {
			labelled(t)
			enforcing(t, agent, denied(time.Now()))
		}, "selinux-denied"),
		one("SELinux denied something long ago", func(t *testing.T) {
			labelled(t)
			enforcing(t, agent, denied(time.Now().Add(-3*time.Hour)))
		}),
		one("the command is not labelled", func(t *testing.T) {
			labelled(t)
			label(t, authkeys, "system_u:object_r:bin_t:s0")
			enforcing(t, agent, "")
		}, "selinux-label").butFor("restorecon does nothing where SELinux is not in use"),
		one("SELinux without the agent's policy", func(t *testing.T) { enforcing(t, "abrt", "") }, "selinux-policy-missing"),
	}
}

func programFaults() []fault {
	const getty = host.BinDir + "/eic-serial-getty"
	gated := func(program, more string) func(*testing.T) {
		return func(t *testing.T) {
			write(t, "/etc/systemd/system/serial-getty@ttyS0.service.d/zz-eic-serial-getty.conf", "[Service]\nExecStart=\nExecStart=-"+program+" %I\nStandardInput=null\n", 0o644)
			configured(more)(t)
		}
	}
	const decided = "[serial]\nwhen_unreachable = \"lock\"\n"
	packaged := func(text string) func(*testing.T) {
		return func(t *testing.T) {
			const dir = "/run/host/dpkg"
			write(t, dir+"/status", "Package: eic-agent\nStatus: install ok installed\nMaintainer: nobody\nArchitecture: all\nVersion: 1.2.3-1\nDescription: for a test\n\n", 0o644)
			write(t, "/run/host/packaged", text, 0o644)
			write(t, dir+"/info/format", "1\n", 0o644)
			write(t, dir+"/info/eic-agent.list", "/.\n/run\n/run/host\n/run/host/packaged\n", 0o644)
			write(t, dir+"/info/eic-agent.md5sums", fmt.Sprintf("%x  run/host/packaged\n", md5.Sum([]byte("as packaged"))), 0o644)
			cover(t, "/var/lib/dpkg", dir)
		}
	}
	return []fault{
		one("a package as it was brought", packaged("as packaged")),
		one("a package whose files were replaced", packaged("by hand"), "package-modified"),
		one("a program of another version", func(t *testing.T) {
			write(t, getty, "#!/bin/sh\necho eic-serial-getty v0.0.1\n", 0o755)
		}, "version-mismatch"),
		one("a program that somebody else has put there", func(t *testing.T) {
			const mark = "/run/host/run-as-root"
			write(t, getty, "#!/bin/sh\ntouch "+mark+"\necho eic-serial-getty v0.0.1\n", 0o755)
			command(t, "chown "+user+" "+getty, "[ ! -e "+mark+" ]")
		}),
		one("only root may run eicctl", shell("chmod 0700 "+eicctl, "chmod 0755 "+eicctl)).leaving("cache", "clock", "command-runs", "config", "imds", "journal", "record", "signer"),
		one("a serial port that is held shut", gated(getty, decided)),
		one("a serial port that a later drop-in has taken back", func(t *testing.T) {
			gated(getty, decided)(t)
			write(t, "/etc/systemd/system/serial-getty@ttyS0.service.d/zzz.conf", "[Service]\nExecStart=\nExecStart=-/sbin/agetty - $TERM\n", 0o644)
		}, "serial-overridden"),
		one("a serial port whose drop-in is gone", func(t *testing.T) {
			write(t, "/etc/systemd/system/multi-user.target.wants/eic-serial-check.service", "", 0o644)
			configured(decided)(t)
		}, "serial-drop-in").butFor("the gate is not in /usr/bin"),
		one("a serial port whose drop-in was edited", func(t *testing.T) {
			gated(getty, decided)(t)
			write(t, "/etc/systemd/system/serial-getty@ttyS0.service.d/zz-eic-serial-getty.conf", "# Written by \"eicctl serial enable\"\n[Service]\nExecStart=\nExecStart=-"+getty+" %I -- /sbin/agetty -a root %I\n", 0o644)
		}, "serial-drop-in").butFor("the gate is not in /usr/bin"),
		one("a serial port without its program", gated(host.BinDir+"/gone/eic-serial-getty", decided), "serial-program-missing"),
		one("a serial port that nobody has decided about", gated(getty, ""), "serial-undecided"),
		one("a serial port that nobody may push for", gated(getty, decided+"[users]\nallow = [\"alice\"]\n"), "serial-user-denied"),
	}
}
