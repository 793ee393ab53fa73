package releases

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/eic-agent/eic-agent/test/release"
)

// ttyService makes a pseudo-terminal ttyS0 at boot, and reads what is written to it.
const ttyService = `[Unit]
Before=serial-getty@ttyS0.service
[Service]
Type=notify
NotifyAccess=all
ExecStart=/usr/bin/perl /etc/test-tty.pl
[Install]
WantedBy=getty.target
`

const ttyScript = `use Fcntl;
sysopen(my $master, "/dev/ptmx", O_RDWR | O_NOCTTY) or die $!;
my ($number, $open) = (pack("I", 0), pack("I", 0));
ioctl($master, 0x80045430, $number) or die $!; # TIOCGPTN
ioctl($master, 0x40045431, $open) or die $!; # TIOCSPTLCK
my $name = "/dev/pts/" . unpack("I", $number);
sysopen(my $slave, $name, O_RDWR | O_NOCTTY) or die $!;
system(": >/dev/ttyS0 && mount --bind $name /dev/ttyS0 && stty -F /dev/ttyS0 -echo && systemd-notify --ready") and die;
1 while sysread($master, my $read, 4096);
`

// checkedAtBoot boots the host again, with the gate as it is and with a drop-in that takes the
// console from it.
func checkedAtBoot(h *host) {
	t := h.t
	h.write("/etc/systemd/system/test-tty.service", ttyService)
	h.write("/etc/test-tty.pl", ttyScript)
	h.must("sh", "-c", `sed -e '/^BindsTo=dev-/d' -e '/^After=dev-/s/dev-%i.device//' /lib/systemd/system/serial-getty@.service >/etc/systemd/system/serial-getty@.service
		systemctl daemon-reload && systemctl enable test-tty.service serial-getty@ttyS0.service && systemctl start test-tty.service serial-getty@ttyS0.service`)
	h.install(newVersion)

	off := h.bootAgain()
	if out := off.must("systemctl", "show", "--property=ExecMainStartTimestampMonotonic", checkService); out != "ExecMainStartTimestampMonotonic=0\n" {
		t.Errorf("with the gate off the check ran: %s", out)
	}
	h.must("eicctl", "serial", "enable", "--when-unreachable", "lock")
	h.must("eicctl", "serial", "check")
	if fix := h.fixOf("serial-drop-in"); fix != "" {
		t.Errorf("doctor's fix is %q", fix)
	}
	h.must("rm", "/etc/systemd/system/serial-getty@ttyS0.service.d/zz-eic-serial-getty.conf")
	h.mended("serial-drop-in")
	h.must("sed", "-i", "s|agetty |agetty -a root |", "/etc/systemd/system/serial-getty@ttyS0.service.d/zz-eic-serial-getty.conf")
	h.mended("serial-drop-in")

	healthy := h.bootAgain()
	healthy.checked()
	if said := healthy.saidOfCheck(); len(said) > 0 {
		t.Errorf("with the gate at work the journal has %q", said)
	}
	healthy.must("eicctl", "serial", "status")

	const later = "/etc/systemd/system/serial-getty@.service.d/zzz-site.conf"
	h.write(later, "[Service]\nExecStart=\nExecStart=-/sbin/agetty --keep-baud 9600 - $TERM\n")
	taken := h.bootAgain()
	taken.checked()
	records := taken.saidOfCheck()
	if len(records) != 1 || !strings.HasPrefix(records[0], "2 the console is not locked: systemd starts /sbin/agetty --keep-baud 9600 - ") || !strings.Contains(records[0], later+":3; rename "+later) {
		t.Errorf("the journal has %q", records)
	}
}

const checkService = "eic-serial-check.service"

// saidOfCheck returns what the check has said, and what systemd has said of it: priorities and
// messages. That it ran is no news; systemd 247 says so whatever LogLevelMax is.
func (h *host) saidOfCheck() (said []string) {
	h.t.Helper()
	for _, match := range []string{"_SYSTEMD_UNIT=" + checkService, "UNIT=" + checkService} {
		records, err := h.Records(match)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, r := range records {
			if match[0] == '_' || r.Field("PRIORITY") != "6" {
				said = append(said, r.Field("PRIORITY")+" "+r.Field("MESSAGE"))
			}
		}
	}
	return said
}

// bootAgain boots the host as it is now in /etc and by its programs, on the same root. What
// it kept elsewhere is gone.
func (h *host) bootAgain() *host {
	t := h.t
	t.Helper()
	upper := t.TempDir()
	pack := h.Command(t.Context(), "sh", "-c", "cd / && tar --create --file - etc usr/bin/eic* usr/lib/systemd/system/eic-*")
	unpack := exec.Command("tar", "--extract", "--directory", upper, "--file", "-")
	var err error
	if unpack.Stdin, err = pack.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := pack.Start(); err != nil {
		t.Fatal(err)
	}
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := pack.Wait(); err != nil {
		t.Fatal(err)
	}
	root, err := release.Host(h.suite).Root(os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := release.Boot(upper + ":" + root) // directories of an overlay
	if err != nil {
		t.Fatal(err)
	}
	again := &host{Container: c, t: t, suite: h.suite}
	t.Cleanup(func() {
		if t.Failed() {
			journal, _ := c.Run("journalctl", "--no-pager", "--lines=60", "--output=short-precise")
			t.Logf("the journal of %s:\n%s", filepath.Base(upper), journal)
		}
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return again
}

// checked waits until the check has run.
func (h *host) checked() {
	h.t.Helper()
	if err := release.Await("the check has run", func() (bool, error) {
		out, err := h.Run("systemctl", "show", "--property=ExecMainExitTimestampMonotonic,ActiveState,Result", checkService)
		return strings.Contains(out, "ActiveState=inactive") && strings.Contains(out, "Result=success") && !strings.Contains(out, "Monotonic=0\n"), err
	}); err != nil {
		status, _ := h.Run("systemctl", "status", "--no-pager", "--full", checkService)
		h.t.Fatal(err, status)
	}
}
