package audit

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/test/need"
)

// listen returns a socket whose queue is full.
func listenFull(t *testing.T) (path string, fd int) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "socket")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	for err = nil; err == nil; {
		err = deliver(path, filler, 0, nil)
	}
	if err != unix.EAGAIN {
		t.Fatal(err)
	}
	return path, fd
}

// A daemon that does nothing is given up after one wait, one that works is not.
func TestDeliver(t *testing.T) {
	t.Parallel()
	path, fd := listenFull(t)
	asked := 0
	if err := deliver(path, filler, time.Hour, func() bool { asked++; return false }); err != unix.EAGAIN || asked != 1 {
		t.Errorf("hung: %v, asked %d times", err, asked)
	}
	asked = 0
	if err := deliver(path, filler, 20*hangTime, func() bool { asked++; return true }); err != unix.EAGAIN || asked < 2 {
		t.Errorf("slow: %v, asked %d times", err, asked)
	}
	if err := deliver(path, filler, hangTime, nil); err != unix.EAGAIN {
		t.Errorf("syslog: %v", err)
	}
	const times = 5
	asked = 0
	err := deliver(path, []byte("late"), time.Hour, func() bool {
		if asked++; asked == times {
			if _, err := unix.Read(fd, make([]byte, 64)); err != nil {
				t.Error(err)
			}
		}
		return true
	})
	if err != nil || asked != times {
		t.Errorf("room at last: %v, asked %d times", err, asked)
	}
	if err := deliver(filepath.Join(t.TempDir(), "none"), filler, time.Hour, nil); err != unix.ENOENT {
		t.Errorf("nobody: %v", err)
	}
}

// The kernel says whether journald makes progress.
func TestProgress(t *testing.T) {
	t.Parallel()
	need.Root(t)
	// By the name alone it is found, too.
	program := filepath.Join(t.TempDir(), journaldName)
	if out, err := exec.Command("cp", "/bin/sh", program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(program, "-c", "while :; do :; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	if pid := findJournald(); pid <= 0 || pid > cmd.Process.Pid {
		t.Errorf("found process %d", pid)
	}
	p := progress{pid: cmd.Process.Pid}
	for range 3 {
		p.seen()
		if !p.seen() {
			t.Error("a process that runs is not seen")
		}
	}
	var status unix.WaitStatus
	if err := cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Wait4(cmd.Process.Pid, &status, unix.WUNTRACED, nil); err != nil {
		t.Fatal(err)
	}
	p.seen() // what it did before it was stopped
	if p.seen() {
		t.Error("a stopped process makes progress")
	}
	for _, pid := range []int{-1, 1 << 30} {
		if (&progress{pid: pid}).seen() {
			t.Errorf("process %d is seen", pid)
		}
	}
}

// Some syslog daemons listen for a stream.
func TestDeliverStream(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "socket")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	if err := deliver(path, filler, 0, nil); err != nil {
		t.Fatal(err)
	}
	conn, _, err := unix.Accept(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(conn)
	b := make([]byte, 64)
	if n, err := unix.Read(conn, b); err != nil || string(b[:n]) != string(filler) {
		t.Errorf("%q, %v", b[:n], err)
	}
}

func TestLosses(t *testing.T) {
	t.Parallel()
	l := losses{path: filepath.Join(t.TempDir(), "lost")}
	other := l
	if n := l.take(); n != 0 {
		t.Errorf("%d at first", n)
	}
	l.add(2)
	other.add(3)
	if n, again := other.take(), l.take(); n != 5 || again != 0 {
		t.Errorf("%d, then %d", n, again)
	}
	l.add(2 * maxLosses)
	l.add(1)
	if n := l.take(); n != maxLosses {
		t.Errorf("%d at most", n)
	}
	// Where there is no file this process counts.
	for _, path := range []string{"", filepath.Join(t.TempDir(), "none", "lost")} {
		l := losses{path: path}
		l.add(2)
		l.add(1)
		if n, again := l.take(), l.take(); n != 3 || again != 0 {
			t.Errorf("%q: %d, then %d", path, n, again)
		}
	}
}
