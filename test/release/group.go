package release

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/test/host"
)

// A group is a control group of the unified hierarchy. It is reached through a mount
// that has no place in the file system.
type group struct {
	mount *os.Root
	name  string
	dir   *os.File
}

func newGroup() (*group, error) {
	root, err := mountGroups()
	if err != nil {
		return nil, fmt.Errorf("mounting cgroup2: %w", err)
	}
	g := &group{mount: root}
	for n := 0; ; n++ {
		g.name = fmt.Sprintf("eic-release-%d-%d", os.Getpid(), n)
		if err = root.Mkdir(g.name, 0o755); !errors.Is(err, os.ErrExist) {
			break
		}
	}
	if err == nil {
		g.dir, err = g.sub("")
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return g, nil
}

// mountGroups mounts the hierarchy, only for who holds the result.
func mountGroups() (*os.Root, error) {
	fs, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, err
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(mount)
	return os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", mount))
}

func (g *group) sub(name string) (*os.File, error) { return g.mount.Open(g.name + "/" + name) }

// remove removes the group when its last process is gone.
func (g *group) remove() error {
	err := g.dir.Close()
	// The kernel lets a group go a moment after its processes.
	for deadline := time.Now().Add(host.Patience); ; time.Sleep(10 * time.Millisecond) {
		failed := g.removeAll(g.name)
		if failed == nil || time.Now().After(deadline) {
			return errors.Join(err, failed, g.mount.Close())
		}
	}
}

func (g *group) removeAll(name string) error {
	dir, err := g.mount.Open(name)
	if err != nil {
		return err
	}
	entries, err := dir.ReadDir(-1)
	dir.Close()
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			if err := g.removeAll(name + "/" + entry.Name()); err != nil {
				return err
			}
		}
	}
	return g.mount.Remove(name)
}
