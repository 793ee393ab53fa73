package release

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/test/host"
)

// initName is the first argument of the program when it is PID 1 of a root.
const initName = "eic-release-init"

// init becomes PID 1 of a root where start has run the program for that.
func init() {
	if os.Args[0] != initName {
		return
	}
	report := os.NewFile(3, "report")
	unix.CloseOnExec(3)
	if err := pid1(report, os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprint(report, err)
	}
	os.Exit(1)
}

// pid1 sets up the namespaces that it is in: a copy of root, mounted on dir, becomes /.
// Then it becomes the command or, without one, waits for orphans.
func pid1(report *os.File, root, dir string, command []string) error {
	name, _, _ := strings.Cut(filepath.Base(root), "-")
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("ip link: %w: %s", err, out)
	}
	if err := mountAll(root, dir); err != nil {
		return err
	}
	if err := pivot(dir + "/root"); err != nil {
		return fmt.Errorf("changing the root: %w", err)
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	for fd := range 3 {
		if err := unix.Dup3(null, fd, 0); err != nil {
			return err
		}
	}
	unix.Close(null)
	if len(command) > 0 {
		return os.NewSyscallError("exec", unix.Exec(command[0], command, []string{"container=eic-test", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}))
	}
	orphans := make(chan os.Signal, 1)
	signal.Notify(orphans, unix.SIGCHLD)
	report.Close()
	for range orphans {
		for pid := 1; pid > 0; {
			pid, _ = unix.Wait4(-1, nil, unix.WNOHANG, nil)
		}
	}
	return nil
}

func mountAll(root, dir string) error {
	const safe = unix.MS_NOSUID | unix.MS_NODEV
	r := dir + "/root"
	for _, m := range []struct {
		kind, target string
		flags        uintptr
		data         string
	}{
		{"tmpfs", dir, 0, "mode=0755"},
		{"overlay", r, 0, "lowerdir=" + root + ",upperdir=" + dir + "/upper,workdir=" + dir + "/work"},
		{"proc", r + "/proc", safe | unix.MS_NOEXEC, ""},
		{"sysfs", r + "/sys", safe | unix.MS_NOEXEC | unix.MS_RDONLY, ""},
		{"cgroup2", r + "/sys/fs/cgroup", safe | unix.MS_NOEXEC, ""},
		{"tmpfs", r + "/dev", unix.MS_NOSUID, "mode=0755"},
		{"tmpfs", r + "/run", safe, "mode=0755"},
		{"tmpfs", r + "/tmp", safe, "mode=1777"},
	} {
		if err := unix.Mount(m.kind, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mounting %s: %w", m.target, err)
		}
		if m.target == dir {
			for _, sub := range []string{"/upper", "/work", "/root"} {
				if err := os.Mkdir(dir+sub, 0o755); err != nil {
					return err
				}
			}
		}
	}
	return errors.Join(harmless(r), host.Devices(r+"/dev"))
}

// harmless takes from the processes in the namespaces what would change this
// machine: modules, its clock, its ports, settings that no namespace has.
func harmless(r string) error {
	for _, capability := range []uintptr{unix.CAP_SYS_MODULE, unix.CAP_SYS_TIME, unix.CAP_SYS_RAWIO} {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil {
			return os.NewSyscallError("prctl", err)
		}
	}
	const net = "/proc/sys/net"
	for _, path := range []string{net, "/proc/sys", "/proc/sysrq-trigger"} {
		if err := unix.Mount(r+path, r+path, "", unix.MS_BIND|unix.MS_REC, ""); errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return fmt.Errorf("mounting %s: %w", path, err)
		}
		if path == net {
			continue // it is of the network namespace
		}
		if err := unix.Mount("", r+path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return fmt.Errorf("mounting %s read-only: %w", path, err)
		}
	}
	return nil
}

// pivot makes dir the root of all processes of the mount namespace.
func pivot(dir string) error {
	return errors.Join(unix.Chdir(dir), unix.PivotRoot(".", "."), unix.Unmount(".", unix.MNT_DETACH), unix.Chdir("/"))
}
