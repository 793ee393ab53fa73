// Package host makes a private host for end-to-end tests and the demonstration:
// mounts, network and accounts of its own, with a real journald and a real sshd.
// It leaves nothing behind, and nothing of it can be seen from outside.
package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// InsideVariable is set for a program that is in namespaces of its own already, which
// become the private host. It names the directory of the binaries.
const InsideVariable = "EIC_PRIVATE_HOST"

// Where things are on a private host.
const (
	root = "/run/host"
	// BinDir is where the programs of this module are: sshd runs a command
	// only from a directory that nobody but root can write.
	BinDir = root + "/bin"
)

// ErrNeeds is wrapped by the error of Run for what the machine lacks.
var ErrNeeds = errors.New("cannot make a private host")

// A Host is a private host, seen from inside.
type Host struct {
	dir   string // for what is started here
	sshds int
}

// programs are what a private host is made with, and Debian's packages for
// them.
func programs() map[string]string {
	return map[string]string{
		"/usr/sbin/sshd":                "openssh-server",
		"/usr/bin/ssh":                  "openssh-client",
		"/usr/bin/ssh-keygen":           "openssh-client",
		"/lib/systemd/systemd-journald": "systemd",
		"/usr/bin/journalctl":           "systemd",
		"/sbin/ip":                      "iproute2",
		"/usr/bin/time":                 "time",
		"/sbin/agetty":                  "util-linux",
		"/bin/login":                    "login",
	}
}

// Run builds the commands of this module in the named directories, runs the calling program
// again on a private host, and there calls body. It returns the exit code for the program,
// or an error that says what is missing.
func Run(body func(*Host) int, commands ...string) (int, error) {
	if bin := os.Getenv(InsideVariable); bin != "" {
		h, err := build(bin)
		if err != nil {
			return 1, fmt.Errorf("making a private host: %w", err)
		}
		return body(h), nil
	}
	if os.Geteuid() != 0 {
		return 1, fmt.Errorf("%w: sshd and the namespaces need root; run this as root", ErrNeeds)
	}
	for path, pkg := range programs() {
		if _, err := os.Stat(path); err != nil {
			return 1, fmt.Errorf("%w: %s is missing; install Debian's package %s", ErrNeeds, path, pkg)
		}
	}
	bin, err := os.MkdirTemp("", "eic-host-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(bin)
	for _, c := range commands {
		cmd := exec.Command("go", "build", "-tags", "nethttpomithttp2", "-trimpath", "-ldflags=-s -w", "-o", bin, "github.com/eic-agent/eic-agent/"+c)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return 1, fmt.Errorf("building %s: %v\n%s", c, err, out)
		}
	}
	return enter(bin)
}

// enter runs this program again in namespaces of its own.
func enter(bin string) (int, error) {
	exe, err := os.Executable()
	if err != nil {
		return 1, err
	}
	cmd := exec.Command(exe, os.Args[1:]...)
	cmd.Env = append(os.Environ(), InsideVariable+"="+bin)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// The process namespace ends every daemon with the program that started
	// it; a child's death signal comes with the death of the thread.
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   unix.CLONE_NEWPID,
		Unshareflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET,
		Pdeathsig:    unix.SIGKILL,
	}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt, unix.SIGTERM)
	defer signal.Stop(interrupts)
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("%w: namespaces are refused here (%v); a container needs CAP_SYS_ADMIN for it", ErrNeeds, err)
	}
	go func() {
		for s := range interrupts {
			cmd.Process.Signal(s)
		}
	}()
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		if code := exit.ExitCode(); code > 0 {
			return code, nil
		}
		return 1, err
	}
	return 0, err
}

// build furnishes the new host: empty /run, /home and /var/log, a /dev of the harmless
// devices, /etc and /proc of its own, the loopback network, and nothing of the machine's
// system that could be written.
func build(bin string) (*Host, error) {
	unix.Umask(0o022) // whatever this was started with
	for _, m := range []struct{ source, target, kind, data string }{
		{"tmpfs", "/run", "tmpfs", "mode=0755"},
		{"tmpfs", "/home", "tmpfs", "mode=0755"},
		{"tmpfs", "/var/log", "tmpfs", "mode=0755"}, // logins are recorded there
		{"proc", "/proc", "proc", ""},
	} {
		if err := unix.Mount(m.source, m.target, m.kind, unix.MS_NOSUID, m.data); err != nil {
			return nil, fmt.Errorf("mounting %s: %w", m.target, err)
		}
	}
	for _, dir := range []string{root, BinDir, root + "/dev", "/run/sshd", "/run/lock"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	if err := run("cp", "-a", "/etc", root+"/etc"); err != nil {
		return nil, err
	}
	if err := bind(root+"/etc", "/etc"); err != nil {
		return nil, err
	}
	for _, dir := range []string{"/usr", "/opt", "/srv", "/boot", "/var/lib", "/bin", "/sbin", "/lib", "/lib64"} {
		if err := cover(dir); err != nil {
			return nil, err
		}
	}
	if err := Devices(root + "/dev"); err != nil {
		return nil, err
	}
	if err := bind(root+"/dev", "/dev"); err != nil {
		return nil, err
	}
	if err := removeInstalled(); err != nil {
		return nil, err
	}
	for _, file := range []string{"/run/utmp", "/var/log/wtmp", "/var/log/lastlog"} {
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile("/etc/machine-id", []byte("0123456789abcdef0123456789abcdef\n"), 0o444); err != nil {
		return nil, err
	}
	built, err := filepath.Glob(bin + "/*")
	if err != nil {
		return nil, err
	}
	for _, file := range built {
		if err := run("install", "-m", "0755", file, BinDir); err != nil {
			return nil, err
		}
	}
	if err := run("ip", "link", "set", "lo", "up"); err != nil {
		return nil, err
	}
	return &Host{dir: root}, nil
}

// removeInstalled removes the packages and the configuration of the agent that is installed
// on the machine: it is another one. What make install has put there stays.
func removeInstalled() error {
	// It fails for a package that was never there, and where there is no dpkg.
	installed, _ := exec.Command("dpkg-query", "-W", "-f", "${Package}\n", "eic-agent", "eic-emulator").Output()
	if names := strings.Fields(string(installed)); len(names) > 0 {
		if err := run("dpkg", append([]string{"--no-triggers", "--purge", "--force-depends"}, names...)...); err != nil {
			return err
		}
	}
	return os.RemoveAll("/etc/eic-agent")
}

// Devices fills the directory dev, a mount of its own, with the harmless devices and
// terminals of its own.
func Devices(dev string) error {
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		if err := os.WriteFile(dev+"/"+name, nil, 0o600); err != nil {
			return err
		}
		if err := bind("/dev/"+name, dev+"/"+name); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/shm", "/pts"} {
		if err := os.Mkdir(dev+dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(dev+"/shm", 0o1777); err != nil {
		return err
	}
	// 5 is Debian's group tty.
	if err := unix.Mount("devpts", dev+"/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"); err != nil {
		return fmt.Errorf("mounting %s: %w", dev+"/pts", err)
	}
	for name, target := range map[string]string{
		"ptmx": "pts/ptmx", "log": "/run/systemd/journal/dev-log",
		"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2",
	} {
		if err := os.Symlink(target, dev+"/"+name); err != nil {
			return err
		}
	}
	return nil
}

// cover makes what is written below dir vanish with the host. A link or a directory that
// is not there is left alone.
func cover(dir string) error {
	if st, err := os.Lstat(dir); err != nil || !st.IsDir() {
		return nil
	}
	// An overlay does not show what is mounted below: that is set aside for the moment.
	mounts, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	aside := root + "/aside" + dir
	for i, mounted := range mounts {
		place := fmt.Sprintf("%s/%d", aside, i)
		if err := makeLike(mounted, place); err != nil {
			return err
		}
		if err := bind(mounted, place); err != nil {
			return err
		}
	}
	upper, work := root+"/over"+dir+"/upper", root+"/over"+dir+"/work"
	if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
		return err
	}
	if err := unix.Mount("overlay", dir, "overlay", 0, "lowerdir="+dir+",upperdir="+upper+",workdir="+work); err != nil {
		return fmt.Errorf("covering %s: %w", dir, err)
	}
	for i, mounted := range mounts {
		if err := bind(fmt.Sprintf("%s/%d", aside, i), mounted); err != nil {
			return err
		}
	}
	return nil
}

// mountsBelow returns where something is mounted below dir, outermost only.
func mountsBelow(dir string) ([]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var below []string
	for line := range strings.Lines(string(text)) {
		// Blanks and the like are octal there (proc_pid_mountinfo(5)).
		path := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(strings.Fields(line)[4])
		inside := func(outer string) bool { return strings.HasPrefix(path, outer+"/") }
		if inside(dir) && !slices.ContainsFunc(below, inside) && !slices.Contains(below, path) {
			below = append(below, path)
		}
	}
	return below, nil
}

// makeLike makes an empty directory, or a file for a file, to mount something on.
func makeLike(original, path string) error {
	st, err := os.Stat(original)
	if err != nil {
		return err
	}
	if st.IsDir() {
		return os.MkdirAll(path, 0o755)
	}
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o600))
}

func bind(source, target string) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mounting %s on %s: %w", source, target, err)
	}
	return nil
}

func run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// AddUser adds an account that can be logged in to, with its home directory, and
// returns the directory.
func (h *Host) AddUser(name string) (home string, err error) {
	home = "/home/" + name
	return home, h.addAccount(name, "--create-home", "--home-dir", home, "--shell", "/bin/sh", "--password", "*")
}

// AddSystemUser adds an account like the one that sshd runs the agent as.
func (h *Host) AddSystemUser(name string) error {
	return h.addAccount(name, "--system", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin")
}

// addAccount replaces what the machine has of that name.
func (h *Host) addAccount(name string, options ...string) error {
	if _, err := h.Account(name); err == nil {
		if err := run("userdel", "--force", name); err != nil {
			return err
		}
	}
	return run("useradd", append(options, name)...)
}

// Account returns the ids of an account, to start a process with.
func (h *Host) Account(name string) (*syscall.Credential, error) {
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil, err
	}
	for line := range strings.SplitSeq(string(passwd), "\n") {
		fields := strings.Split(line, ":")
		if fields[0] != name {
			continue
		}
		uid, uidErr := strconv.ParseUint(fields[2], 10, 32)
		gid, gidErr := strconv.ParseUint(fields[3], 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(uidErr, gidErr)
	}
	return nil, fmt.Errorf("no account %s", name)
}

// Path returns where the host keeps a file of that name: a key of NewKey.
func (h *Host) Path(name string) string { return filepath.Join(h.dir, name) }

// AddAddress gives the host an address.
func (h *Host) AddAddress(cidr string) error {
	return run("ip", "address", "add", cidr, "dev", "lo", "nodad")
}

// SetFile puts content at a path of the host, also where the kernel has only a
// read-only file or no directory.
func (h *Host) SetFile(path, content string, mode os.FileMode) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		// sysfs takes no new directories: cover the nearest that is there.
		for dir = filepath.Dir(dir); ; dir = filepath.Dir(dir) {
			if _, err := os.Stat(dir); err == nil {
				break
			}
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
			return fmt.Errorf("mounting %s: %w", dir, err)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		copied := filepath.Join(h.dir, strings.ReplaceAll(path, "/", "_"))
		if err := os.WriteFile(copied, []byte(content), mode); err != nil {
			return err
		}
		return bind(copied, path)
	}
	return os.Chmod(path, mode)
}
