package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A pty is a device of which the emulator has the master and the guest the
// slave. The emulator has the slave open too, so that the line does not end with
// the guest's last descriptor. That one counts even after a guest has hung the
// slave up, though it is worth nothing else then.
type pty struct {
	master *os.File
	slave  *os.File
	path   string // of the slave
	link   string // to it; may be empty
}

// newPty makes the pair. The slave is raw until the guest sets its modes, as a
// port that nobody has opened echoes nothing.
func newPty(link string) (device, error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, noPty(&os.PathError{Op: "open", Path: "/dev/ptmx", Err: err})
	}
	p := &pty{master: os.NewFile(uintptr(fd), "/dev/ptmx"), link: link}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		p.path = "/dev/pts/" + strconv.Itoa(number)
		err = makeRaw(fd, nil)
	}
	if err == nil {
		p.slave, err = os.OpenFile(p.path, os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err == nil && link != "" {
		err = p.makeLink()
	}
	if err != nil {
		p.link = ""
		p.close()
		return nil, noPty(err)
	}
	return p, nil
}

func noPty(err error) error { return fmt.Errorf("cannot open a pseudoterminal: %w", err) }

// makeLink replaces a link to a pseudo-terminal, which is what a crash leaves, and
// nothing else.
func (p *pty) makeLink() error {
	info, err := os.Lstat(p.link)
	switch {
	case err == nil && info.Mode()&fs.ModeSymlink == 0:
		return fmt.Errorf("%s exists and is not a symbolic link", p.link)
	case err == nil:
		if target, err := os.Readlink(p.link); err != nil || !strings.HasPrefix(target, "/dev/pts/") {
			return fmt.Errorf("%s exists and is not a link to a pseudo-terminal", p.link)
		}
		if err := os.Remove(p.link); err != nil {
			return err
		}
	}
	return os.Symlink(p.path, p.link)
}

func (p *pty) open() (port, error) { return p.master, nil }

func (p *pty) name() string { return p.path }

func (p *pty) close() {
	if at, err := os.Readlink(p.link); err == nil && at == p.path {
		_ = os.Remove(p.link) // a link left behind does no harm
	}
	if p.slave != nil {
		p.slave.Close()
	}
	p.master.Close()
}

// sendBreak does what the slave's modes say of a break that comes in: the kernel
// sends none over a pty. A mark (PARMRK) cannot be made, it is a NUL as without.
func (p *pty) sendBreak(_ context.Context, _ port, _ time.Duration) error {
	raw, err := p.master.SyscallConn()
	if err != nil {
		return err
	}
	var modes *unix.Termios
	control := raw.Control(func(fd uintptr) { modes, err = unix.IoctlGetTermios(int(fd), unix.TCGETS) })
	if err = errors.Join(control, err); err != nil {
		return err
	}
	switch {
	case modes.Iflag&unix.IGNBRK != 0:
		return nil
	case modes.Iflag&unix.BRKINT != 0:
		control = raw.Control(func(fd uintptr) { err = unix.IoctlSetInt(int(fd), unix.TIOCSIG, int(unix.SIGINT)) })
		return errors.Join(control, err)
	}
	_ = p.master.SetWriteDeadline(time.Now().Add(writeSlice))
	_, err = p.master.Write([]byte{0})
	return err
}

// A tty is a terminal that is there, such as a UART.
type tty struct{ path string }

func newTTY(path string) device { return tty{path} }

func (t tty) open() (port, error) {
	f, err := os.OpenFile(t.path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	p := &ttyPort{File: f}
	if err := p.control(func(fd int) error { return makeRaw(fd, &p.before) }); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s is not a terminal: %w", t.path, err)
	}
	return p, nil
}

func (t tty) name() string { return t.path }

func (tty) close() {}

func (t tty) sendBreak(ctx context.Context, p port, length time.Duration) error {
	line, ok := p.(*ttyPort)
	if !ok {
		return errNoBreak
	}
	if err := line.control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TIOCSBRK, 0) }); err != nil {
		return err
	}
	select {
	case <-time.After(length):
	case <-ctx.Done():
	}
	return line.control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TIOCCBRK, 0) })
}

// A ttyPort gives the terminal its modes back when it is closed.
type ttyPort struct {
	*os.File
	before unix.Termios
}

func (p *ttyPort) control(f func(fd int) error) error {
	raw, err := p.SyscallConn()
	if err != nil {
		return err
	}
	control := raw.Control(func(fd uintptr) { err = f(int(fd)) })
	return errors.Join(control, err)
}

func (p *ttyPort) Close() error {
	_ = p.control(func(fd int) error { return unix.IoctlSetTermios(fd, unix.TCSETS, &p.before) }) // the terminal may be gone
	return p.File.Close()
}

// makeRaw lets every byte through as it is, at the speed that the terminal has,
// without regard to carrier, and keeps the modes from before.
func makeRaw(fd int, before *unix.Termios) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	if before != nil {
		*before = *t
	}
	t.Iflag &^= unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON | unix.IXOFF
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag &^= unix.CSIZE | unix.PARENB | unix.HUPCL
	t.Cflag |= unix.CS8 | unix.CLOCAL | unix.CREAD
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if before != nil {
		t.Iflag |= unix.IGNBRK // one that the other end sends
	}
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}
