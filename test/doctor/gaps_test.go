package doctor

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

const journaldFile = "/etc/systemd/journald.conf.d/zz-site.conf"

// journald runs journald anew, so that it reads its configuration.
func journald(t *testing.T) {
	t.Helper()
	w.journald.Signal(unix.SIGTERM)
	w.journald.Wait()
	var err error
	if w.journald, err = w.StartJournald(); err != nil {
		t.Fatal(err)
	}
	// The sockets may be those of the one before.
	if err := w.Eventually("journald answers", func() bool { return exec.Command("journalctl", "--sync").Run() == nil }); err != nil {
		t.Fatal(err)
	}
}

// keeping has journald run with these settings.
func keeping(settings string) func(*testing.T) {
	return func(t *testing.T) {
		t.Cleanup(func() { journald(t) })
		write(t, journaldFile, "[Journal]\n"+settings, 0o644)
		journald(t)
	}
}

func gapFaults() (faults []fault) {
	const devLog = "/dev/log"
	if _, err := os.Stat("/usr/lib/openssh/sshd-session"); err != nil { // before OpenSSH 9.8
		faults = append(faults, one("sshd logs under another name", func(t *testing.T) {
			command(t, "ln -s sshd /usr/sbin/sshd-second", "rm /usr/sbin/sshd-second")
			started(t, "/usr/sbin/sshd-second", "/", false, "-D")
		}, "sshd-log-output"))
	}
	return append(faults, []fault{
		one("journald keeps nothing", keeping("Compress=yes\nStorage=none\n"), "journal-storage").and(journald),
		one("journald keeps warnings only", keeping("MaxLevelStore=warning\n"), "journal-level").leaving("journal-kept").and(journald),
		one("journald goes by the values that it knows", keeping("MaxLevelStore=warning\nMaxLevelStore=\nMaxLevelStore=INFO\nStorage=NONE\n"), "journal-level").leaving("journal-kept").and(journald),
		one("journald has not read that it keeps more", func(t *testing.T) {
			keeping("MaxLevelStore=4\n")(t)
			write(t, journaldFile, "[Journal]\n", 0o644)
		}, "journal-not-kept"),
		one("a later file of journald's", func(t *testing.T) {
			t.Cleanup(func() { journald(t) }) // without both
			write(t, "/etc/systemd/journald.conf.d/aa.conf", "[Journal]\nMaxLevelStore=err\n", 0o644)
			keeping("MaxLevelStore=info\n")(t)
		}),
		one("another daemon at /dev/log", func(t *testing.T) {
			before, err := os.Readlink(devLog)
			t.Cleanup(func() {
				os.Remove(devLog)
				if err == nil {
					os.Symlink(before, devLog)
				}
			})
			os.Remove(devLog)
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(fd) })
			if err := unix.Bind(fd, &unix.SockaddrUnix{Name: devLog}); err != nil {
				t.Fatal(err)
			}
		}, "dev-log"),
		one("LogLevel ERROR", told("LogLevel ERROR"), "sshd-log-level"),
		one("LogLevel QUIET in a file of its own", func(t *testing.T) {
			write(t, "/etc/ssh/sshd_config.d/00-quiet.conf", "# quiet\nLogLevel quiet\n", 0o644)
			told("Include /etc/ssh/sshd_config.d/*.conf")(t)
		}, "sshd-log-level"),
		one("LogLevel for the user", func(t *testing.T) {
			restart(t, append(commandLines(), "Match User "+user, "LogLevel FATAL"))
		}, "sshd-log-level"),
		one("LogLevel on the command line", func(t *testing.T) { restart(t, commandLines(), "-oLogLevel=ERROR") }, "sshd-log-level"),
		one("LogLevel for some addresses", func(t *testing.T) {
			restart(t, append(commandLines(), "Match Address 10.0.0.0/8", "LogLevel QUIET"))
		}).leaving("sshd-log"),
		one("LogLevel for some addresses, in quotes and with a comment", func(t *testing.T) {
			restart(t, append(commandLines(), "Match Address 10.0.0.0/8", "LogLevel \"QUIET\" # too many"))
		}).leaving("sshd-log"),
		one("-q", func(t *testing.T) { restart(t, commandLines(), "-q") }, "sshd-log-level"),
		one("sshd logs to a file", func(t *testing.T) { restart(t, commandLines(), "-E", "/run/host/sshd.log") }, "sshd-log-output"),
		one("sshd logs to standard error", func(t *testing.T) { restart(t, commandLines(), "-e") }, "sshd-log-output"),
		one("a file of the journal is damaged", func(t *testing.T) {
			dirs, err := filepath.Glob("/run/log/journal/*")
			if err != nil || len(dirs) == 0 {
				t.Fatalf("no journal: %v", err)
			}
			damaged := dirs[0] + "/system@0005f0c0ffee0000-0005f0c0ffee0000.journal~"
			write(t, damaged, "LPKSHHRH", 0o640)
			t.Cleanup(func() { os.Remove(damaged + ".damaged") })
		}, "journal-damaged"),
		one("records were lost", func(t *testing.T) {
			out, err := exec.Command("/bin/sh", "-c", "printf 'SYSLOG_IDENTIFIER=eic-authkeys\\nMESSAGE=x\\nEIC_LOST=3\\n' | logger --journald").CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			command(t, "journalctl --sync", "journalctl --rotate; journalctl --vacuum-time=1us -q 2>/dev/null")
		}).leaving("journal-lost"),
	}...)
}
