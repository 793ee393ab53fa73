package gateway

import (
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/test/need"
)

// open opens the guest's end of a pty.
func openSlave(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.SetDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	return f
}

func modes(t *testing.T, f *os.File, change func(*unix.Termios)) {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		var modes *unix.Termios
		if modes, err = unix.IoctlGetTermios(int(fd), unix.TCGETS); err == nil {
			change(modes)
			err = unix.IoctlSetTermios(int(fd), unix.TCSETS, modes)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestPty carries every byte as it is, to a guest that comes and goes.
func TestPty(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "pty", nil)
	c := d.connect()
	var all string
	for range 3 {
		slave := openSlave(t, d.line.Name())
		c.send(t, "\x00\x03\r\n\x7f\xff")
		read(t, slave, "\x00\x03\r\n\x7f\xff")
		write(t, slave, "\x00\r\n\xff.")
		all += "\x00\r\n\xff."
		c.out.until(t, all)
		slave.Close()
	}
	if got := c.out.String(); got != all {
		t.Errorf("something is echoed: %q", got)
	}
}

// TestPtyHangup has the line hung up by a guest that has it as its controlling
// terminal, as a getty's watcher does: the next guest finds the line as before.
func TestPtyHangup(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("it takes root to hang a terminal up")
	}
	d := newDoor(t, "pty", nil)
	c := d.connect()
	for i := range 3 {
		slave := openSlave(t, d.line.Name())
		shell := exec.Command("/bin/sh", "-c", "echo up; read x")
		shell.Stdin, shell.Stdout = slave, slave
		shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		if err := shell.Start(); err != nil {
			t.Fatal(err)
		}
		c.out.until(t, "up")
		raw, err := slave.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.Control(func(fd uintptr) { err = unix.IoctlSetInt(int(fd), 0x5437, 0) }) // TIOCVHANGUP
		if err != nil {
			t.Fatal(err)
		}
		if err := shell.Wait(); err == nil {
			t.Error("the shell was not hung up")
		}
		slave.Close()
		time.Sleep(100 * time.Millisecond) // the line sees that nobody has it open; nothing tells when
		again := openSlave(t, d.line.Name())
		word := "again" + strconv.Itoa(i)
		write(t, again, word)
		c.out.until(t, word)
		modes(t, again, func(m *unix.Termios) { m.Lflag &^= unix.ICANON | unix.ECHO })
		c.send(t, word)
		read(t, again, word)
		again.Close()
	}
}

func TestPtyLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link := filepath.Join(dir, "port")
	if err := os.Symlink("/dev/pts/left-by-a-crash", link); err != nil {
		t.Fatal(err)
	}
	line, err := Open(Target{targetPty, link})
	if err != nil {
		t.Fatal(err)
	}
	if at, err := os.Readlink(link); err != nil || at != line.Name() {
		t.Errorf("the link leads to %s, %v", at, err)
	}
	line.Close()
	if _, err := os.Lstat(link); !os.IsNotExist(err) {
		t.Errorf("the link stays: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Target{targetPty, file}); err == nil || !strings.Contains(err.Error(), "is not a symbolic link") {
		t.Errorf("a file in its place: %v", err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "mine" {
		t.Errorf("the file is now %q, %v", text, err)
	}
	stdout := filepath.Join(dir, "stdout")
	if err := os.Symlink("/proc/self/fd/1", stdout); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Target{targetPty, stdout}); err == nil || !strings.Contains(err.Error(), "is not a link to a pseudo-terminal") {
		t.Errorf("a link like /dev/stdout: %v", err)
	}
	if at, err := os.Readlink(stdout); err != nil || at != "/proc/self/fd/1" {
		t.Errorf("the link now leads to %s, %v", at, err)
	}
}

// TestPtyBreak has the guest take a break in each way that it can.
func TestPtyBreak(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "pty", nil)
	c := d.connect()
	slave := openSlave(t, d.line.Name())
	send := func() {
		t.Helper()
		if ok, err := c.session.SendRequest("break", true, ssh.Marshal(struct{ Length uint32 }{1000})); err != nil || !ok {
			t.Errorf("a break is answered with %v, %v", ok, err)
		}
	}
	send()
	read(t, slave, "\x00")
	modes(t, slave, func(m *unix.Termios) { m.Iflag |= unix.IGNBRK })
	send()
	c.send(t, "x")
	read(t, slave, "x")
	modes(t, slave, func(m *unix.Termios) { m.Iflag = m.Iflag&^unix.IGNBRK | unix.BRKINT })
	shell := exec.Command("/bin/sh", "-c", "trap 'echo interrupted; exit 0' INT; echo ready; while :; do sleep 0.1; done")
	shell.Stdin, shell.Stdout = slave, slave
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	c.out.until(t, "ready")
	send()
	c.out.until(t, "interrupted")
	if err := shell.Wait(); err != nil {
		t.Error(err)
	}
}

// TestTTY is joined to a terminal that is there, which gets its modes back.
func TestTTY(t *testing.T) {
	t.Parallel()
	wire, err := Open(Target{kind: targetPty})
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	far := wire.listen()
	defer wire.unlisten(far)
	near := openSlave(t, wire.Name())
	modes(t, near, func(m *unix.Termios) { m.Lflag |= unix.ECHO })
	d := newDoor(t, wire.Name(), nil)
	c := d.connect()
	c.send(t, "to the guest\r\n")
	got := make([]byte, 64)
	if n := far.take(got); string(got[:n]) != "to the guest\r\n" {
		t.Errorf("the guest got %q", got[:n])
	}
	wire.write(t.Context(), []byte("from the guest\r\n"))
	c.out.until(t, "from the guest\r\n")
	began := time.Now()
	time.AfterFunc(100*time.Millisecond, func() { _, _ = io.WriteString(c.in, "typed in between") })
	if ok, err := c.session.SendRequest("break", true, ssh.Marshal(struct{ Length uint32 }{1})); err != nil || !ok || time.Since(began) < 500*time.Millisecond {
		t.Errorf("a break is answered with %v, %v after %v", ok, err, time.Since(began))
	}
	if n := far.take(got); string(got[:n]) != "typed in between" || time.Since(began) < 500*time.Millisecond {
		t.Errorf("the guest got %q after %v", got[:n], time.Since(began))
	}
	c.Close()
	d.ended()
	d.line.Close()
	modes(t, near, func(m *unix.Termios) {
		if m.Lflag&unix.ECHO == 0 {
			t.Error("the terminal does not get its modes back")
		}
	})
	for path, want := range map[string]string{"/dev/null": "is not a terminal", "/nonexistent/tty": "no such file"} {
		if _, err := Open(Target{targetTTY, path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestOpenSSH uses the real client: a break, a keepalive, many new keys, the
// escape that leaves, and what it says when it is refused.
func TestOpenSSH(t *testing.T) {
	t.Parallel()
	program := need.Program(t, "ssh")
	host := newKey(t)
	d := newDoor(t, "pty", func(c *Config) { c.HostKey = host; c.Keepalive = 500 * time.Millisecond })
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	private := d.newPrivate()
	_, port, _ := strings.Cut(d.address, ":")
	args := []string{"-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "StrictHostKeyChecking=yes",
		"-o", "UserKnownHostsFile=" + file("known", fmt.Sprintf("[127.0.0.1]:%s %s", port, ssh.MarshalAuthorizedKey(host.PublicKey()))),
		"-o", "ServerAliveInterval=1", "-o", "RekeyLimit=64K", "-i", file("key", private), "-p", port}
	start := func(more ...string) (*exec.Cmd, io.WriteCloser, *output, *output) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, append(args[:len(args):len(args)], more...)...)
		out, errors := newOutput(), newOutput()
		cmd.Stdout, cmd.Stderr = out, errors
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, in, out, errors
	}
	slave := openSlave(t, d.line.Name())
	cmd, in, out, said := start("-tt", "console@127.0.0.1")
	write(t, in, "hello")
	read(t, slave, "hello")
	const total = 1 << 20
	write(t, slave, strings.Repeat("x", total)+"the end")
	out.until(t, "the end")
	if n := strings.Count(out.String(), "x"); n != total {
		t.Errorf("%d bytes came of %d", n, total)
	}
	write(t, in, "\n")
	read(t, slave, "\n")
	write(t, in, "~B")
	read(t, slave, "\x00")
	write(t, in, "\n~.")
	_ = cmd.Wait()
	if e := d.ended(); e.why != ErrLeft {
		t.Errorf("it ended since %v: %s", e.why, said)
	}
	cmd, _, _, said = start("console@127.0.0.1", "id")
	if err := cmd.Wait(); err == nil || !strings.Contains(said.String(), "exec request failed") {
		t.Errorf("a command: %v, %s", err, said)
	}
	cmd, _, _, said = start("nobody@127.0.0.1")
	if err := cmd.Wait(); err == nil || !strings.Contains(said.String(), "Permission denied (publickey)") {
		t.Errorf("another name: %v, %s", err, said)
	}
	cmd, in, out, said = start("console@127.0.0.1")
	write(t, in, "ready")
	read(t, slave, "ready")
	write(t, slave, "no terminal")
	out.until(t, "no terminal")
	d.cut(ErrShutdown)
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(said.String(), "eic-emulator: the gateway is shutting down.") {
		t.Errorf("a session that is cut: %v, %s", err, said)
	}
}

// newPrivate gives the door a key that ssh can read.
func (d *door) newPrivate() string {
	d.t.Helper()
	key := newEd25519(d.t)
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		d.t.Fatal(err)
	}
	if d.key, err = ssh.NewSignerFromSigner(key); err != nil {
		d.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}
