package serialgate

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// errHungUp says that the line is gone: its other end, or this end by TIOCVHANGUP.
var errHungUp = errors.New("the line was hung up")

// A Line is a terminal that the gate holds, as descriptor 0 and the controlling
// terminal of this process, without echo.
type Line struct {
	fd    int
	path  string // /dev/ttyS0
	rdev  uint64
	saved unix.Termios // the settings that the getty gets back
}

// Path returns where the terminal tty, as agetty names it, is: ttyS0, /dev/ttyS0,
// or - for standard input.
func Path(tty string) (string, error) {
	if tty == "-" {
		return os.Readlink("/proc/self/fd/0")
	}
	if !filepath.IsAbs(tty) {
		tty = "/dev/" + tty
	}
	if path := filepath.Clean(tty); path == tty && strings.HasPrefix(path, "/dev/") {
		return path, nil
	}
	return "", fmt.Errorf("%.64q is not the name of a terminal", tty)
}

const (
	// disciplineTTY is N_TTY of linux/tty.h, the line discipline of a terminal.
	disciplineTTY = 0
	// loopback is TIOCM_LOOP of asm-generic/termios.h: what a UART sends comes back.
	loopback = 0x8000
)

// Take opens the terminal at path as descriptor 0, and takes it from everybody else.
func Take(path string) (*Line, error) {
	l := &Line{path: path}
	if err := l.open(); err != nil {
		return nil, err
	}
	if err := l.own(); err != nil {
		return nil, err
	}
	// What the last user may have set outlives a hang-up: loopback, which not every
	// terminal has, and another line discipline, with which the line cannot be used, not
	// by systemd either, which was to reset it.
	_ = unix.IoctlSetPointerInt(0, unix.TIOCMBIC, loopback)
	if err := unix.IoctlSetPointerInt(0, unix.TIOCSETD, disciplineTTY); err != nil {
		return nil, &os.PathError{Op: "set up", Path: path, Err: err}
	}
	termios, err := unix.IoctlGetTermios(0, unix.TCGETS)
	if err != nil {
		return nil, &os.PathError{Op: "get the settings of", Path: path, Err: err}
	}
	l.saved = *termios
	return l, l.mute()
}

// open makes the terminal descriptor 0.
func (l *Line) open() error {
	fail := func(op string, err error) error { return &os.PathError{Op: op, Path: l.path, Err: err} }
	// Without O_NONBLOCK a line without carrier would be waited for.
	fd, err := unix.Open(l.path, unix.O_RDWR|openQuietly|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail("open", err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fail("stat", err)
	}
	l.rdev = st.Rdev
	if err := unix.SetNonblock(fd, false); err != nil {
		return fail("set up", err)
	}
	return unix.Dup3(fd, 0, 0)
}

// own makes the line root's alone. login has given it to the last user,
// whose processes may live on, and neither a getty on standard input nor systemd
// takes it back: they could read what the next one types, or speak for the gate.
func (l *Line) own() error {
	// It may be that of another session: of one that the last user has left behind, where
	// this is the service of the line, and else of what it is not to be taken from.
	if err := control(); err != nil && !(err == unix.EPERM && os.Getppid() == 1) {
		return fmt.Errorf("cannot make %s the controlling terminal: %w", l.path, err)
	}
	if err := errors.Join(unix.Fchown(0, 0, 0), unix.Fchmod(0, 0o600)); err != nil {
		return fmt.Errorf("cannot change the owner of %s to root: %w", l.path, err)
	}
	// For processes that have it open already. It is hung up for this process too.
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, unix.SIGHUP)
	defer signal.Stop(ends)
	if err := unix.IoctlSetInt(0, unix.TIOCVHANGUP, 0); err != nil {
		return &os.PathError{Op: "hang up", Path: l.path, Err: err}
	}
	select {
	case <-ends:
	case <-time.After(time.Second):
	}
	if err := l.open(); err != nil {
		return err
	}
	return control()
}

// control makes descriptor 0 the controlling terminal, and this process the leader
// of the session.
func control() error {
	pid := os.Getpid()
	if sid, err := unix.Getsid(0); err != nil || sid != pid {
		if _, err := unix.Setsid(); err != nil {
			return err
		}
	}
	// Succeeds also where it is that already.
	return unix.IoctlSetInt(0, unix.TIOCSCTTY, 0)
}

// mute sets the terminal so that nothing typed is echoed and nothing typed has a
// meaning but the end of a line.
func (l *Line) mute() error {
	t := l.saved
	t.Iflag = unix.ICRNL | unix.IGNBRK | unix.IGNPAR
	t.Oflag |= unix.OPOST | unix.ONLCR
	t.Lflag = unix.ICANON
	// No wire stops the gate from saying what it has to, and it says it in 8 bits
	// without parity, as agetty does.
	t.Cflag = t.Cflag&^(unix.CRTSCTS|unix.CSIZE|unix.PARENB) | unix.CS8 | unix.CREAD | unix.CLOCAL
	// The other keys mean nothing without ISIG, IEXTEN and IXON.
	for _, c := range []int{unix.VEOF, unix.VEOL, unix.VERASE, unix.VKILL} {
		t.Cc[c] = 0 // none
	}
	if err := l.set(&t); err != nil {
		return err
	}
	// Nor does what the last user did to it (tcflow(3)).
	if err := unix.IoctlSetInt(l.fd, unix.TCXONC, unix.TCOON); err != nil {
		return &os.PathError{Op: "start the output of", Path: l.path, Err: err}
	}
	return nil
}

// restore gives the terminal its old settings.
func (l *Line) restore() error { return l.set(&l.saved) }

// set sets the terminal and forgets what was typed before. It does not wait for
// what was written to leave: a line may be held up.
func (l *Line) set(t *unix.Termios) error {
	if err := unix.IoctlSetTermios(l.fd, unix.TCSETS, t); err != nil {
		return &os.PathError{Op: "set", Path: l.path, Err: err}
	}
	return l.flush()
}

// awaitEnter blocks until the end of a line is typed, in a system call: nothing of
// this process runs in the meantime. The error is errHungUp or one of the terminal.
func (l *Line) awaitEnter() error {
	var b [4096]byte // the longest line of a terminal
	for {
		n, err := unix.Read(l.fd, b[:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return &os.PathError{Op: "read", Path: l.path, Err: err}
		case n <= 0:
			return errHungUp
		case bytes.IndexByte(b[:n], '\n') >= 0:
			return nil
		}
	}
}

// flush forgets what was typed.
func (l *Line) flush() error {
	if err := unix.IoctlSetInt(l.fd, unix.TCFLSH, unix.TCIFLUSH); err != nil {
		return &os.PathError{Op: "flush", Path: l.path, Err: err}
	}
	return nil
}

// say writes text, whose lines end in "\n".
func (l *Line) say(text string) error {
	for b := []byte(text); len(b) > 0; {
		n, err := unix.Write(l.fd, b)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return &os.PathError{Op: "write to", Path: l.path, Err: err}
		default:
			b = b[n:]
		}
	}
	return nil
}

// name returns the name of the terminal as people know it: ttyS0.
func (l *Line) name() string { return strings.TrimPrefix(l.path, "/dev/") }
