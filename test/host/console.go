package host

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// AddPasswordUser adds an account that can be logged in to with a password.
func (h *Host) AddPasswordUser(name, password string) error {
	if _, err := h.AddUser(name); err != nil {
		return err
	}
	cmd := exec.Command("chpasswd")
	cmd.Stdin = strings.NewReader(name + ":" + password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("chpasswd: %w: %s", err, out)
	}
	return nil
}

// A Getty is what serial-getty@.service runs: a program on a terminal that is its
// controlling one, started anew whenever it ends.
type Getty struct {
	tty     string
	command []string
	stopped chan struct{}
	ended   chan error

	mu      sync.Mutex
	process *os.Process // nil when Stop has been called
	stop    bool
}

// restartPause is RestartSec= of systemd, as serial-getty@.service leaves it.
const restartPause = 100 * time.Millisecond

// StartGetty starts command on the terminal at the path tty, with the settings and
// the environment that systemd gives it.
func (h *Host) StartGetty(tty string, command ...string) (*Getty, error) {
	g := &Getty{tty: tty, command: command, stopped: make(chan struct{}), ended: make(chan error, 1)}
	cmd, err := g.start()
	if err != nil {
		return nil, err
	}
	go g.run(cmd)
	return g, nil
}

func (g *Getty) run(cmd *exec.Cmd) {
	for {
		_ = cmd.Wait() // every end is a reason to start anew
		select {
		case <-g.stopped:
			g.ended <- nil
			return
		case <-time.After(restartPause):
		}
		var err error
		if cmd, err = g.start(); err != nil || cmd == nil {
			g.ended <- err
			return
		}
	}
}

// start does TTYVHangup= and TTYReset=, StandardInput=tty, and the ExecStart. It
// returns nil after Stop.
func (g *Getty) start() (*exec.Cmd, error) {
	if err := resetTerminal(g.tty); err != nil {
		return nil, err
	}
	tty, err := os.OpenFile(g.tty, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer tty.Close()
	cmd := exec.Command(g.command[0], g.command[1:]...)
	cmd.Dir, cmd.Env = "/", []string{"LANG=C.UTF-8", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=vt220"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stop {
		return nil, nil
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	g.process = cmd.Process
	return cmd, nil
}

// Stop ends the program, as systemd does with SendSIGHUP=yes.
func (g *Getty) Stop() error {
	g.mu.Lock()
	g.stop = true
	close(g.stopped)
	if g.process != nil {
		_ = g.process.Signal(unix.SIGTERM) // it may just have ended
		_ = g.process.Signal(unix.SIGHUP)
	}
	g.mu.Unlock()
	return <-g.ended
}

// resetTerminal throws everybody off the terminal and gives it sane modes.
func resetTerminal(path string) error {
	const vhangup = 0x5437 // TIOCVHANGUP
	for _, do := range []func(fd int) error{
		func(fd int) error { return unix.IoctlSetInt(fd, vhangup, 0) },
		func(fd int) error {
			t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
			if err != nil {
				return err
			}
			t.Iflag = t.Iflag&^(unix.IGNBRK|unix.BRKINT|unix.ISTRIP|unix.INLCR|unix.IGNCR) | unix.ICRNL | unix.IMAXBEL
			t.Oflag |= unix.ONLCR | unix.OPOST
			t.Cflag |= unix.CREAD
			t.Lflag = unix.ISIG | unix.ICANON | unix.IEXTEN | unix.ECHO | unix.ECHOE | unix.ECHOK | unix.ECHOCTL | unix.ECHOKE
			return unix.IoctlSetTermios(fd, unix.TCSETS, t)
		},
	} {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err == nil {
			err = do(fd)
			unix.Close(fd)
		}
		if err != nil {
			return fmt.Errorf("resetting %s: %w", path, err)
		}
	}
	return nil
}

// A Screen is what somebody sees and types at a terminal.
type Screen struct {
	in io.Writer

	mu   sync.Mutex
	text strings.Builder // what came
	read int             // what Expect has returned of it
	more chan struct{}   // closed and replaced when more has come
}

// NewScreen returns the screen of a terminal: what is typed goes to in. What the
// terminal prints is to be written to the screen.
func NewScreen(in io.Writer) *Screen { return &Screen{in: in, more: make(chan struct{})} }

// A Console is the real ssh at a serial console gateway.
type Console struct {
	*Screen
	cmd    *exec.Cmd
	in     *os.File
	stderr strings.Builder
}

// OpenConsole starts ssh to the gateway at address, with one key. It does not wait
// for the session.
func OpenConsole(address, login, knownHosts, key string) (*Console, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	c := &Console{}
	c.cmd = exec.Command("/usr/bin/ssh", "-tt", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "LogLevel=ERROR",
		"-o", "UserKnownHostsFile="+knownHosts, "-o", "StrictHostKeyChecking=yes", "-i", key, "-p", port, login+"@"+host)
	stdin, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	c.in, c.Screen = in, NewScreen(in)
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = stdin, c.Screen, &c.stderr
	if err := c.cmd.Start(); err != nil {
		in.Close()
		return nil, err
	}
	return c, nil
}

// Write takes what the terminal prints.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.more)
	s.more = make(chan struct{})
	return s.text.Write(p)
}

// Type sends text as somebody would type it; Enter is "\r".
func (s *Screen) Type(text string) error {
	_, err := io.WriteString(s.in, text)
	return err
}

// Expect waits until text has come, for at most half a minute. It returns what has
// come since the last Expect, text included.
func (s *Screen) Expect(text string) (string, error) { return s.expect(text, nil) }

// Knock is Expect with an Enter now and again, as somebody presses it at a console
// that says nothing.
func (s *Screen) Knock(text string) (string, error) {
	again := time.NewTicker(500 * time.Millisecond)
	defer again.Stop()
	if err := s.Type("\r"); err != nil {
		return "", err
	}
	return s.expect(text, again.C)
}

func (s *Screen) expect(text string, knock <-chan time.Time) (string, error) {
	timeout := time.After(Patience)
	for {
		s.mu.Lock()
		got, more := s.text.String()[s.read:], s.more
		if i := strings.Index(got, text); i >= 0 {
			s.read += i + len(text)
			s.mu.Unlock()
			return got[:i+len(text)], nil
		}
		s.mu.Unlock()
		select {
		case <-more:
		case <-knock:
			if err := s.Type("\r"); err != nil {
				return "", err
			}
		case <-timeout:
			return got, fmt.Errorf("the console does not say %q, only %q", text, got)
		}
	}
}

// Leave types the escape of ssh that leaves.
func (c *Console) Leave() {
	_ = c.Type("\r~.") // it may have ended by itself
	_ = c.Wait()
}

// Wait returns when ssh has ended. The error has what it said.
func (c *Console) Wait() error {
	defer c.in.Close()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("ssh: %w: %s", err, strings.TrimSpace(c.stderr.String()))
	}
	return nil
}
