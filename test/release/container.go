package release

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/test/host"
)

// A Container is a copy of a root, in which programs run: mounts, processes, network,
// host name, IPC and control groups are its own. All of it is gone after Stop, and
// when the program that started it ends.
type Container struct {
	Files *os.Root // its root directory

	pid   int // of its PID 1
	group *group
	home  *os.File // the control group of what Command starts; nil for group itself
	kill  func() error
	ended chan struct{}
}

// Start makes a copy of the root in which systemd is there but not running, as in the
// build of an image.
func Start(root string) (*Container, error) { return start(root) }

// Boot makes a copy of the root and boots it. It returns when systemd says that the
// system is running.
func Boot(root string) (*Container, error) {
	c, err := start(root, "/lib/systemd/systemd", "--log-target=journal", "--show-status=0")
	if err != nil {
		return nil, err
	}
	if err := c.booted(); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// start makes a copy of the root with that command as PID 1, or one of our own.
func start(root string, command ...string) (*Container, error) {
	// For PID 1, and for what tests write there.
	unix.Umask(0o022)
	// Each container has its own mount there.
	dir := filepath.Join(CacheDir(), "mount")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	group, err := newGroup()
	if err != nil {
		return nil, err
	}
	in, report, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, group.remove())
	}
	defer in.Close()
	cmd := exec.Command(exe)
	cmd.Args = append([]string{initName, root, dir}, command...)
	cmd.ExtraFiles = []*os.File{report}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:       true,
		Pdeathsig:    unix.SIGKILL,
		Cloneflags:   unix.CLONE_NEWPID,
		Unshareflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWCGROUP,
		UseCgroupFD:  true,
		CgroupFD:     int(group.dir.Fd()),
	}
	c := &Container{group: group, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The death signal comes when the thread ends that has started the process.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is always killed
			close(c.ended)
		}
	}()
	err = <-started
	report.Close()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: namespaces are refused here: %v", host.ErrNeeds, err), group.remove())
	}
	c.pid, c.kill = cmd.Process.Pid, cmd.Process.Kill
	said, err := io.ReadAll(in)
	if len(said) > 0 {
		err = errors.New(string(said))
	}
	if err == nil {
		c.Files, err = os.OpenRoot(fmt.Sprintf("/proc/%d/root", c.pid))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("setting up %s: %w", root, err), c.Stop())
	}
	return c, nil
}

// Stop ends all processes of the container. Nothing of it is left.
func (c *Container) Stop() error {
	err := c.kill()
	<-c.ended
	if c.Files != nil {
		err = errors.Join(err, c.Files.Close())
	}
	if c.home != nil {
		err = errors.Join(err, c.home.Close())
	}
	return errors.Join(err, c.group.remove())
}

// booted waits until the system is running.
func (c *Container) booted() error {
	var state string
	if err := Await("the system is running", func() (done bool, err error) {
		out, err := c.Run("systemctl", "is-system-running")
		state = strings.TrimSpace(out)
		return err == nil || state == "degraded", nil
	}); err != nil {
		return fmt.Errorf("%w: %s", err, state)
	}
	var err error
	if c.home, err = c.group.sub("init.scope"); err != nil {
		return err
	}
	if state == "degraded" {
		failed, _ := c.Run("systemctl", "--no-pager", "--no-legend", "--plain", "list-units", "--failed")
		return fmt.Errorf("units have failed:\n%s", failed)
	}
	return nil
}

// Await waits until is says so.
func Await(what string, is func() (bool, error)) error {
	for deadline := time.Now().Add(host.Patience); ; time.Sleep(20 * time.Millisecond) {
		if done, err := is(); done || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("gave up waiting until %s", what)
		}
	}
}

// Command is a program to run in the container as root, with a clean environment.
func (c *Container) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	home := c.home
	if home == nil {
		home = c.group.dir
	}
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{
		"--target", strconv.Itoa(c.pid), "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--root", "--wd", "--", "/usr/bin/env", name}, args...)...)
	cmd.Env = []string{"HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	// A program that is left running may hold standard output.
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(home.Fd())}
	return cmd
}

// Run runs a program in the container. It returns all that the program printed; the
// error has it, too.
func (c *Container) Run(name string, args ...string) (string, error) {
	return c.run(nil, name, args...)
}

// Feed is Run with that text on standard input.
func (c *Container) Feed(input, name string, args ...string) (string, error) {
	return c.run(strings.NewReader(input), name, args...)
}

func (c *Container) run(input io.Reader, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), host.Patience)
	defer cancel()
	cmd := c.Command(ctx, name, args...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = input, &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s", strings.Join(append([]string{name}, args...), " "), err, &out)
	}
	return out.String(), nil
}

// Records returns the records of the journal that match, as journalctl takes it.
func (c *Container) Records(matches ...string) ([]host.Record, error) {
	if _, err := c.Run("journalctl", "--sync"); err != nil {
		return nil, err
	}
	out, err := c.Run("journalctl", append([]string{"--no-pager", "--quiet", "--all", "--output=json"}, matches...)...)
	if err != nil {
		return nil, err
	}
	return host.ParseRecords([]byte(out))
}

// Listen listens at a TCP address of the container.
func (c *Container) Listen(address string) (listener net.Listener, err error) {
	err = errors.Join(c.inNetwork(func() { listener, err = net.Listen("tcp", address) }), err)
	return listener, err
}

// Dial connects to a TCP address of the container.
func (c *Container) Dial(address string) (conn net.Conn, err error) {
	err = errors.Join(c.inNetwork(func() { conn, err = net.Dial("tcp", address) }), err)
	return conn, err
}

// inNetwork calls f on a thread in the container's network.
func (c *Container) inNetwork(f func()) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", c.pid))
	if err != nil {
		return err
	}
	defer ns.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread ends with the goroutine, since it is never unlocked.
		runtime.LockOSThread()
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err == nil {
			f()
		}
	}()
	<-done
	return err
}
