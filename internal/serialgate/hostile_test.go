package serialgate

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/test/host"
)

// Whatever comes over the line, nothing of it is shown, and a push still opens.
func TestHostileBytes(t *testing.T) {
	t.Parallel()
	every := make([]byte, 0, 256)
	for b := range 256 {
		if b != '\r' && b != '\n' {
			every = append(every, byte(b))
		}
	}
	for name, input := range map[string][]byte{
		"every byte":     bytes.Repeat(every, 20),
		"control keys":   []byte("\x03\x1c\x1a\x04\x04\x04\x13\x11\x16\x12\x15\x17\x7f\x00"),
		"escapes":        []byte("\x1b[2J\x1b]0;title\x07\x1bP$q\x1b\\\x1b[6n\x9b6n"),
		"a long line":    bytes.Repeat([]byte("A"), 100_000),
		"ten megabytes":  bytes.Repeat(every, 10<<20/len(every)),
		"flow control":   bytes.Repeat([]byte{0x13}, 100),
		"erased command": []byte("root\x08\x08\x08\x08\x7f\x7f"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newConsole(t, `when_unreachable = "lock"`)
			c.held()
			before := c.getty()
			c.typed(string(input))
			if shown := c.shown(); shown != "" {
				t.Errorf("the screen shows %s", visible(shown[:min(len(shown), 200)]))
			}
			if n := c.emulator.RequestCount(); n != 0 {
				t.Errorf("without an Enter there were %d requests", n)
			}
			c.typed("\r")
			c.expect(`locked \(not-pushed\)`)
			c.expect(`look again`)
			if strings.ContainsAny(c.shown(), "A\x1b\x07\x08\x00") && strings.Contains(c.shown(), "AA") {
				t.Errorf("the screen shows %s", visible(c.shown()))
			}
			if now := c.getty(); now != before {
				t.Errorf("the gate was started again: process %d, then %d", before, now)
			}
			c.push(c.user(), time.Minute)
			c.typed("\r")
			c.expect(`login: `)
		})
	}
}

// The line has keys that send signals until the gate holds it, and again when it is
// handed over: none of them ends the gate.
func TestSignalKeys(t *testing.T) {
	t.Parallel()
	c := newConsole(t, `when_unreachable = "lock"`)
	c.held()
	before := c.getty()
	for _, sig := range []syscall.Signal{unix.SIGINT, unix.SIGQUIT} {
		if err := unix.Kill(before, sig); err != nil {
			t.Fatal(err)
		}
	}
	c.push(c.user(), time.Minute)
	c.typed("\r")
	c.expect(`login: `)
	if now := c.getty(); now != before {
		t.Errorf("the gate was started again: process %d, then %d", before, now)
	}
}

// The last user, and any process that has the line open, loses it.
func TestNobodyElseHasTheLine(t *testing.T) {
	t.Parallel()
	c := newPort(t, `when_unreachable = "lock"`)
	open := c.beside()
	who, err := private.Account(account)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chown(c.path, int(who.Uid), int(who.Gid)), os.Chmod(c.path, 0o666)); err != nil {
		t.Fatal(err)
	}
	c.supervise(installed, "--config", c.config, c.path)
	c.held()
	if _, err := open.WriteString("login: "); !errors.Is(err, unix.EIO) {
		t.Errorf("who had the line open has it still: %v", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(c.path, &st); err != nil || st.Uid != 0 || st.Gid != 0 || st.Mode&0o777 != 0o600 {
		t.Errorf("the line belongs to %d:%d, with mode %o, %v", st.Uid, st.Gid, st.Mode, err)
	}
	c.push(c.user(), time.Minute)
	c.typed("\r")
	c.logIn()
}

// What the last user has done to the line does not keep the gate from speaking: output
// that was stopped goes on.
func TestStoppedOutput(t *testing.T) {
	t.Parallel()
	c := newPort(t, `when_unreachable = "lock"`)
	open := c.beside()
	if err := errors.Join(unix.IoctlSetInt(int(open.Fd()), unix.TCXONC, unix.TCOOFF), unix.IoctlSetInt(int(open.Fd()), unix.TIOCEXCL, 0)); err != nil {
		t.Fatal(err)
	}
	c.supervise(installed, "--config", c.config, c.path)
	c.open(time.Minute)
	c.logIn()
}

// Nor does a session of his that holds the line, with the line discipline with which
// nothing can be read, written or set, and systemd hangs nobody up.
func TestLineDiscipline(t *testing.T) {
	t.Parallel()
	c := newPort(t, `when_unreachable = "lock"`)
	who, err := private.Account(account)
	if err != nil {
		t.Fatal(err)
	}
	open := c.beside()
	left := exec.Command("/bin/sh", "-c", "trap '' HUP; read line; sleep 1000")
	left.Stdin = open
	left.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Credential: who}
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { left.Process.Kill(); left.Wait() }()
	const null = 27 // N_NULL of linux/tty.h
	if err := unix.IoctlSetPointerInt(int(open.Fd()), unix.TIOCSETD, null); err != nil {
		t.Fatal(err)
	}
	c.supervise(installed, "--config", c.config, c.path)
	c.open(time.Minute)
	c.logIn()
}

// A second gate, which nobody's service is, leaves a line alone that another process
// leads.
func TestSecondGate(t *testing.T) {
	t.Parallel()
	c := newConsole(t, `when_unreachable = "lock"`)
	c.held()
	before := c.getty()
	// Not as a child of process 1, which this may be.
	cmd := exec.Command("/bin/sh", "-c", `"$@"; exit $?`, "sh", installed, "--config", c.config, c.path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	c.eventually("it is in the journal", func() bool {
		records, err := private.Records("EIC_REASON=line-unusable")
		return err != nil || slices.ContainsFunc(records, func(r host.Record) bool { return strings.Contains(r.Field("MESSAGE"), c.path+" ") })
	})
	c.push(c.user(), time.Minute)
	c.typed("\r")
	c.expect(`login: `)
	if now := c.getty(); now != before {
		t.Errorf("the first was started again: process %d, then %d", before, now)
	}
}

// A flood of Enters is one attempt at a time.
func TestFlood(t *testing.T) {
	t.Parallel()
	c := newConsole(t, `when_unreachable = "lock"`)
	c.held()
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				c.master.WriteString("\r\r\n\r\n\r")
				time.Sleep(time.Millisecond)
			}
		}
	}()
	before := cpuTicks(t, c.getty())
	c.expect(`next attempt can be made in 1s`)
	c.expect(`next attempt can be made in 2s`)
	c.expect(`next attempt can be made in 4s`)
	close(stop)
	<-stopped
	if n := c.emulator.RequestCount(); n > 16 {
		t.Errorf("there were %d requests", n)
	}
	if used := cpuTicks(t, c.getty()) - before; used > 100 {
		t.Errorf("it took %d ticks of processor time", used)
	}
	refused := c.records("gate-refused")
	if len(refused) < 3 || len(refused) > 4 {
		t.Errorf("the journal has %d records", len(refused))
	}
}

// cpuTicks returns the processor time of a process in hundredths of a second.
func cpuTicks(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')'):]))
	var user, system int
	if _, err := fmt.Sscan(fields[12]+" "+fields[13], &user, &system); err != nil {
		t.Fatal(err)
	}
	return user + system
}

// The gate ends at once with its line and by the signals of systemd, whatever whoever
// started it had made of them.
func TestEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(c *console, cmd *exec.Cmd) error{
		"SIGTERM": func(_ *console, cmd *exec.Cmd) error { return cmd.Process.Signal(unix.SIGTERM) },
		"SIGHUP":  func(_ *console, cmd *exec.Cmd) error { return cmd.Process.Signal(unix.SIGHUP) },
		"hang-up": func(c *console, _ *exec.Cmd) error { c.hangUp(); return nil },
		"gone":    func(c *console, _ *exec.Cmd) error { return c.master.Close() },
	} {
		for how, test := range map[string]struct{ waiting, odd bool }{
			"": {}, ", waiting": {waiting: true}, ", started oddly": {odd: true}, ", started oddly, waiting": {true, true},
		} {
			t.Run(name+how, func(t *testing.T) {
				t.Parallel()
				c := newPort(t, `when_unreachable = "lock"`)
				command := []string{installed, "--config", c.config, c.path}
				if test.odd {
					command = oddly(command...)
				}
				cmd, err := c.start(command[0], command[1:]...)
				if err != nil {
					t.Fatal(err)
				}
				defer cmd.Process.Kill()
				c.knock()
				c.expect(`locked \(not-pushed\)`)
				if !test.waiting {
					c.expect(`look again`)
				}
				exited := make(chan error, 1)
				go func() { exited <- cmd.Wait() }()
				if err := end(c, cmd); err != nil {
					t.Fatal(err)
				}
				select {
				case <-exited:
				case <-time.After(host.Patience):
					t.Error("it is still there")
				}
			})
		}
	}
}

// A line that is not there leaves one record, and no restarts.
func TestDeadLine(t *testing.T) {
	t.Parallel()
	c := newConsole(t, `when_unreachable = "lock"`, func(h *hurry) {
		h.TTY, h.DeadLine = "ttyGone", 100*time.Millisecond
	})
	defer os.Remove("/dev/ttyGone")
	said := func() []host.Record {
		records, err := private.Records("EIC_REASON=line-unusable")
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(records, func(r host.Record) bool { return !strings.Contains(r.Field("MESSAGE"), "ttyGone") })
	}
	c.eventually("it is in the journal", func() bool { return len(said()) > 0 })
	before := c.getty()
	time.Sleep(time.Second)
	if n, now := len(said()), c.getty(); n != 1 || now != before {
		t.Errorf("there are %d records; process %d, then %d", n, before, now)
	}
	if err := os.Symlink(c.path, "/dev/ttyGone"); err != nil {
		t.Fatal(err)
	}
	c.eventually("another gate has started", func() bool { return c.getty() != before })
	c.knock()
	c.expect(`locked \(not-pushed\)`)
}

// What goes wrong is in the journal once, also where standard error leads there.
func TestErrorOutputIsJournal(t *testing.T) {
	t.Parallel()
	needsHost(t)
	conn, err := net.Dial("unix", "/run/systemd/journal/stdout")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// The head of the stream as systemd sends it: identifier, unit, and how to read the
	// lines.
	if _, err := conn.Write([]byte("stream\n\n6\n0\n0\n0\n0\n")); err != nil {
		t.Fatal(err)
	}
	stderr, err := conn.(*net.UnixConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	cmd := exec.Command(installed, "ttyNone")
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	said := func(text string) int {
		records, err := private.Records()
		if err != nil {
			t.Fatal(err)
		}
		return len(slices.DeleteFunc(records, func(r host.Record) bool { return !strings.Contains(r.Field("MESSAGE"), text) }))
	}
	first := "ttyNone stays locked (line-unusable)"
	if err := private.Eventually("it is in the journal", func() bool { return said(first) > 0 }); err != nil {
		t.Fatal(err)
	}
	// What follows in the stream says that all before is there.
	if _, err := conn.Write([]byte("the end of the stream\n")); err != nil {
		t.Fatal(err)
	}
	if err := private.Eventually("the stream is in the journal", func() bool { return said("the end of the stream") > 0 }); err != nil {
		t.Fatal(err)
	}
	if n := said(first); n != 1 {
		t.Errorf("it is in the journal %d times", n)
	}
}

// A port without hardware behind it opens, and answers with an error.
func TestNoHardware(t *testing.T) {
	needsHost(t)
	const path = "/dev/ttyS63"
	if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(4, 64+63))); err != nil {
		t.Skipf("there is no such device here: %v", err)
	}
	defer os.Remove(path)
	fd, err := unix.Open(path, unix.O_RDWR|openQuietly|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.IoctlGetTermios(fd, unix.TCGETS)
		unix.Close(fd)
	}
	if err == nil {
		t.Skip("there is hardware")
	}
	cmd := exec.Command(installed, "ttyS63")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	if err := private.Eventually("it is in the journal", func() bool {
		records, err := private.Records("EIC_REASON=line-unusable")
		for _, r := range records {
			if strings.Contains(r.Field("MESSAGE"), path) {
				return true
			}
		}
		return err != nil
	}); err != nil {
		t.Fatal(err)
	}
	if of, err := readProcess(cmd.Process.Pid); err != nil || of.dead() {
		t.Errorf("it has ended: %+v, %v", of, err)
	}
}

// An impossible request is answered with an error, and the port stays locked.
func TestRefusedGetty(t *testing.T) {
	t.Parallel()
	for name, command := range map[string][]string{
		"autologin": {"/sbin/agetty", "--autologin", account, "-", "vt220"},
		"missing":   {"/nonexistent/agetty", "-", "vt220"},
		"other":     {"/bin/sh"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var dir string
			c := newConsole(t, `when_unreachable = "open"`, glass, func(h *hurry) { h.Command, dir = command, h.Used })
			c.open(time.Minute)
			c.expect(`locked \(getty-failed\): the getty cannot be started; see the journal`)
			c.expect(`look again`)
			if c.program() == "agetty" {
				t.Error("the console is open")
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the push is used up: %v", err)
			}
			c.fault("reset,service=imds")
			c.typed("\r")
			c.expect(`locked \(getty-failed\)`)
			records, err := private.Records()
			if err != nil {
				t.Fatal(err)
			}
			failed := 0
			for _, r := range records {
				if !strings.Contains(r.Field("MESSAGE"), strings.TrimPrefix(c.path, "/dev/")+" ") {
					continue
				}
				switch r.Field("EIC_EVENT") {
				case "gate-failed":
					failed++
				case "gate-broken-glass":
					t.Errorf("the journal has %q", r.Field("MESSAGE"))
				}
			}
			if failed != 3 { // at the start, and at each attempt
				t.Errorf("the journal has %d records of it", failed)
			}
		})
	}
}

// Where the getty cannot be run after all the line is held as before, and nothing
// watches it.
func TestGettyThatDoesNotRun(t *testing.T) {
	t.Parallel()
	getty := filepath.Join(t.TempDir(), "agetty")
	if err := os.WriteFile(getty, []byte("#!/nonexistent/shell\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := newConsole(t, `when_unreachable = "lock"`, func(h *hurry) { h.Command = []string{getty, "-", "vt220"} })
	c.held()
	before := c.getty()
	c.push(c.user(), time.Minute)
	c.typed("\r")
	c.expect(`locked \(getty-failed\)`)
	c.expect(`look again`)
	c.held()
	c.eventually("the watcher is gone", func() bool { return len(watchers(t, c.path)) == 0 })
	c.typed("typed")
	c.typed("\r")
	c.expect(`locked \(already-used\)`)
	if now := c.getty(); now != before || strings.Contains(c.shown(), "typed") {
		t.Errorf("process %d, then %d; the screen shows %s", before, now, visible(c.shown()))
	}
	if failed := c.records("gate-failed"); len(failed) != 1 || failed[0].Field("EIC_CALLER") == "" {
		t.Errorf("the journal has %v", failed)
	}
}

// What is typed before a prompt is no answer to it. (agetty would drop it too.)
func TestTypedAhead(t *testing.T) {
	t.Parallel()
	getty := filepath.Join(t.TempDir(), "agetty")
	if err := os.WriteFile(getty, []byte("#!/bin/sh\nprintf 'name: '\nread -r name\necho \"this is $name\"\nsleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := newConsole(t, `when_unreachable = "lock"`, func(h *hurry) { h.Command = []string{getty, "-", "vt220"} })
	c.held()
	c.fault("latency=1s,times=1,service=imds")
	c.push(c.user(), time.Minute)
	c.typed("\r")
	c.expect(`Looking for a key`)
	c.typed("typed\rahead")
	c.expect(`name: `)
	c.typed("now\r")
	c.expect(`this is now\r`)
	for fd := range 3 {
		if file, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", c.getty(), fd)); err != nil || file != c.path {
			t.Errorf("descriptor %d of the getty is %s, %v", fd, file, err)
		}
	}
	if shown := c.shown(); strings.Contains(shown, "typed") || strings.Contains(shown, "ahead") {
		t.Errorf("the screen shows %s", visible(shown))
	}
}

// A port that EC2 does not have is opened by nothing.
func TestOtherPort(t *testing.T) {
	t.Parallel()
	c := newConsole(t, `when_unreachable = "open"`, func(h *hurry) { h.Port = 1 })
	c.held()
	c.push(User(c.id, 1), time.Minute)
	c.push(User(c.id, 0), time.Minute)
	c.typed("\r")
	c.expect(`locked \(no-such-port\)`)
	if failed := c.records("gate-failed"); len(failed) != 1 || failed[0].Field("EIC_PORT") != "1" {
		t.Errorf("the journal has %v", failed)
	}
}

func TestPath(t *testing.T) {
	t.Parallel()
	for tty, want := range map[string]string{"ttyS0": "/dev/ttyS0", "/dev/ttyS0": "/dev/ttyS0", "pts/3": "/dev/pts/3"} {
		if got, err := Path(tty); got != want || err != nil {
			t.Errorf("%q: %q, %v", tty, got, err)
		}
	}
	for _, tty := range []string{"", "../etc/passwd", "/etc/passwd", "/dev/../etc/passwd", "a//b", "/dev/"} {
		if got, err := Path(tty); err == nil {
			t.Errorf("%q is taken for %q", tty, got)
		}
	}
	if _, err := Take("/dev/null"); err == nil {
		t.Error("/dev/null is taken for a terminal")
	}
	if _, err := Take("/dev/nothing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
}
