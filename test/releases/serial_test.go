package releases

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/emulator"
	hosts "github.com/eic-agent/eic-agent/test/host"
)

const serialUnit = "serial-getty@ttyS0.service"

// serialPort makes a pseudo-terminal ttyS0. The release's unit starts a getty on it,
// without the device that systemd would wait for.
func (h *host) serialPort() *hosts.Screen {
	h.t.Helper()
	master, err := h.Files.OpenFile("dev/pts/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { master.Close() })
	var number int
	raw, err := master.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			if number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN); err == nil {
				err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
			}
		})
	}
	if err != nil {
		h.t.Fatal(err)
	}
	// Kept open, so that the line does not end with the last process on it.
	slave, err := h.Files.OpenFile(fmt.Sprintf("dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { slave.Close() })
	h.must("sh", "-c", fmt.Sprintf(": >/dev/ttyS0 && mount --bind /dev/pts/%d /dev/ttyS0 && stty -F /dev/ttyS0 -echo", number))
	h.must("sh", "-c", `sed -e '/^BindsTo=dev-/d' -e '/^After=dev-/s/dev-%i.device//' /lib/systemd/system/serial-getty@.service >/etc/systemd/system/serial-getty@.service
		systemctl daemon-reload`)
	screen := hosts.NewScreen(master)
	go io.Copy(screen, master)
	return screen
}

// A port is the serial port, seen by somebody who has to get what he waits for.
type port struct {
	t      *testing.T
	screen *hosts.Screen
}

func (p port) knock(text string) {
	p.t.Helper()
	if _, err := p.screen.Knock(text); err != nil {
		p.t.Fatal(err)
	}
}

// talk types each answer when the port has printed what is before it.
func (p port) talk(lines ...string) {
	p.t.Helper()
	for i, text := range lines {
		var err error
		if i%2 == 0 {
			_, err = p.screen.Expect(text)
		} else {
			err = p.screen.Type(text)
		}
		if err != nil {
			p.t.Fatal(err)
		}
	}
}

// serialGate holds the release's serial getty shut, and opens it twenty times while the
// host has more to do than it can.
func serialGate(h *host) {
	t := h.t
	const openings = 20
	p := port{t, h.serialPort()}
	h.must("sh", "-c", "echo alice:secret | chpasswd")
	h.must("systemctl", "start", serialUnit)
	p.knock("login: ")
	settled := h.snapshot("/etc")

	h.install(newVersion)
	installed := h.snapshot("/etc")
	h.exits(1, "eicctl", "serial", "status")
	h.must("eicctl", "serial", "enable", "--when-unreachable", "lock")
	h.must("eicctl", "serial", "status")
	if unit := h.must("systemctl", "show", "--property=ExecStart", serialUnit); !strings.Contains(unit, "/usr/bin/eic-serial-getty") {
		t.Fatalf("systemd starts %s", unit)
	}
	p.knock("is locked (not-pushed)")
	state := func(want string) {
		t.Helper()
		var status struct{ State string }
		if h.decode(&status, "serial", "status", "--json"); status.State != want {
			t.Errorf("the console is %s, want %s", status.State, want)
		}
	}
	state("locked")

	requests := map[string]int{}
	open := func() {
		t.Helper()
		_, public := h.newKey()
		statement, err := h.aws.Push(instance, emulator.SerialUser(instance, 0), public, emulator.DefaultCallerARN)
		if err != nil {
			t.Fatal(err)
		}
		requests[statement.Request] = 0
		p.knock("Looking for a key ...")
		p.talk("login: ")
	}
	busy := h.Command(t.Context(), "sh", "-c", "for i in 1 2; do while :; do :; done & done; wait")
	if err := busy.Start(); err != nil {
		t.Fatal(err)
	}
	for range openings - 1 {
		open()
		p.talk("", "\x04")
	}
	h.must("pkill", "-f", "while :; do :; done")
	_ = busy.Wait()
	open()
	state("open")
	p.talk("", "alice\r", "assword: ", "secret\r", "$", "echo $(tty) $(id -un)\r", "/dev/ttyS0 alice")
	state("in-use")
	p.talk("", "exit\r", "logout")
	p.knock("is locked (already-used)")

	h.must("journalctl", "--sync")
	var report struct {
		Sessions []struct {
			Console         bool
			Request, Caller string
		}
	}
	h.decode(&report, "audit", "--output", "json")
	for _, s := range report.Sessions {
		if _, pushed := requests[s.Request]; pushed && s.Console && s.Caller == emulator.DefaultCallerARN {
			requests[s.Request]++
		}
	}
	for request, n := range requests {
		if n != 1 {
			t.Errorf("audit has %d sessions of the request %s", n, request)
		}
	}
	if len(requests) != openings || len(report.Sessions) != openings {
		t.Errorf("%d requests have opened %d sessions, want %d", len(requests), len(report.Sessions), openings)
	}

	h.must("eicctl", "serial", "disable")
	p.knock("login: ")
	h.same("/etc", installed, h.snapshot("/etc"))
	h.must("dpkg", "--purge", "eic-agent")
	p.knock("login: ")
	h.same("/etc", settled, h.snapshot("/etc"))
}
