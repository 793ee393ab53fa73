package audit

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/test/need"
)

// Where events go is fixed: /run/systemd/journal/socket and /dev/log. So these
// tests run the test binary again in mount and network namespaces of its own,
// with an empty /run and a bare /dev.

// worldVariable names the scenario that the test binary plays instead of
// running its tests.
const worldVariable = "EIC_AUDIT_TEST_WORLD"

const journaldPath = "/lib/systemd/systemd-journald"

func TestMain(m *testing.M) {
	if name := os.Getenv(worldVariable); name != "" {
		// A child that is to die with its parent dies with the thread.
		runtime.LockOSThread()
		w := &world{report: os.NewFile(3, "report")}
		if name != "busy event" { // which is in a world already
			w.build()
		}
		play, ok := scenarios()[name]
		if !ok {
			w.fatalf("no scenario %q", name)
		}
		play(w)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// inWorld plays a scenario, checks that nothing was printed but wantStderr, and
// returns what the scenario reported.
func inWorld(t testing.TB, scenario, wantStderr string, env ...string) string {
	t.Helper()
	need.Root(t)
	for _, path := range []string{journaldPath, "/usr/bin/journalctl", "/etc/machine-id"} {
		if _, err := os.Stat(path); err != nil {
			need.Missing(t, "needs systemd: %v", err)
		}
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, report, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), append(env, worldVariable+"="+scenario)...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = &stdout, &stderr, []*os.File{report}
	// A scenario that hangs must not outlive a test that timed out.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET,
		Pdeathsig:    unix.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		report.Close()
		need.Missing(t, "needs namespaces: %v", err)
	}
	report.Close()
	said, err := io.ReadAll(r)
	if err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, said)
	}
	if stdout.Len() != 0 || stderr.String() != wantStderr {
		t.Errorf("stdout %q, want none; stderr %q, want %q", &stdout, &stderr, wantStderr)
	}
	return string(said)
}

// filler is a record that no test asks for.
var filler = []byte("MESSAGE=filler\n")

// A world is what a scenario sees, from the inside.
type world struct {
	report *os.File
}

func (w *world) fatalf(format string, args ...any) {
	fmt.Fprintf(w.report, format+"\n", args...)
	os.Exit(1)
}

func (w *world) must(err error) {
	if err != nil {
		_, file, line, _ := runtime.Caller(1)
		w.fatalf("%s:%d: %v", file, line, err)
	}
}

// build puts an empty /run in place, and a /dev without /dev/log.
func (w *world) build() {
	w.must(unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"))
	const dev = "/run/dev"
	w.must(os.MkdirAll(dev+"/shm", 0o755))
	for _, name := range []string{"null", "zero", "urandom"} {
		w.must(os.WriteFile(dev+"/"+name, nil, 0o600))
		w.must(unix.Mount("/dev/"+name, dev+"/"+name, "", unix.MS_BIND, ""))
	}
	w.must(unix.Mount(dev, "/dev", "", unix.MS_BIND|unix.MS_REC, ""))
	const id = "/run/machine-id"
	w.must(os.WriteFile(id, []byte("0123456789abcdef0123456789abcdef\n"), 0o444))
	w.must(unix.Mount(id, "/etc/machine-id", "", unix.MS_BIND, ""))
}

// startJournald starts the real one, which makes its sockets itself.
func (w *world) startJournald() *os.Process {
	const conf = "/run/systemd/journald.conf.d"
	w.must(os.MkdirAll(conf, 0o755))
	w.must(os.WriteFile(conf+"/zz-test.conf", []byte(`[Journal]
Storage=volatile
Audit=
ReadKMsg=no
ForwardToSyslog=no
ForwardToConsole=no
ForwardToWall=no
RateLimitIntervalSec=0
`), 0o644))
	cmd := exec.Command(journaldPath)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	w.must(cmd.Start())
	w.eventually("journald is ready", func() bool { return deliver(journalSocket, filler, 0, nil) == nil })
	return cmd.Process
}

// freeze stops p and fills what is queued for the socket at path.
func (w *world) freeze(p *os.Process, path string) {
	if p != nil {
		w.must(p.Signal(unix.SIGSTOP))
		var status unix.WaitStatus
		_, err := unix.Wait4(p.Pid, &status, unix.WUNTRACED, nil)
		w.must(err)
	}
	// One sender is held back by its own buffer before the queue is full.
	for {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		w.must(err)
		w.must(unix.Connect(fd, &unix.SockaddrUnix{Name: path}))
		sent := 0
		for ; err == nil; sent++ {
			_, err = unix.Write(fd, filler)
		}
		if err != unix.EAGAIN {
			w.must(err)
		}
		if sent == 1 {
			return
		}
	}
}

func (w *world) eventually(what string, is func() bool) {
	deadline := time.Now().Add(time.Minute)
	for !is() {
		if time.Now().After(deadline) {
			w.fatalf("gave up waiting until %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// syslogSocket binds /dev/log.
func (w *world) syslogSocket() int {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	w.must(err)
	w.must(unix.Bind(fd, &unix.SockaddrUnix{Name: "/dev/log"}))
	return fd
}

// receive returns the next datagram, or fails after a minute.
func (w *world) receive(fd int) string {
	w.must(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 60}))
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		w.must(err)
		return string(buf[:n])
	}
}

// journalctl returns what the real reader says of the real journal.
func (w *world) journalctl(args ...string) string {
	var stderr strings.Builder
	cmd := exec.Command("/usr/bin/journalctl", append([]string{"-D", "/run/log/journal", "--no-pager", "-q"}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		w.fatalf("journalctl %q: %v: %s", args, err, &stderr)
	}
	return string(out)
}
