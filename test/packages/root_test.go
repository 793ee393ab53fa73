package packages

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Where roots are that mmdebstrap made: nothing was ever installed on them.
const (
	machine = "/run/machine"
	newest  = "/run/newest" // with the newest rpm, dnf and rpmlint

	newestLintian = "/run/newest-lintian"
)

// What takes long, and is nothing of the package's: without the first, dpkg does not
// have man-db read every page of the machine after each step; without the second, the
// machine's own SELinux policy is not compiled anew.
const (
	manualUpdates = "/var/lib/man-db/auto-update"
	policyConfig  = "/etc/selinux/config"
)

// A root is a system of its own to install into, a copy of machine or newest. As in the build of
// an image, systemd is there but not running.
type root struct {
	t     *testing.T
	of    string // what it is a copy of
	dir   string
	upper string // what was changed against that
}

func newRoot(t *testing.T) *root {
	t.Helper()
	return copyOf(t, machine)
}

func copyOf(t *testing.T, of string) *root {
	t.Helper()
	return copyWith(t, of, func(*root) {}, func(*root) {})
}

// clone is another root as r is now.
func (r *root) clone(t *testing.T) *root {
	t.Helper()
	copyTo := func(from, to string) {
		t.Helper()
		output(t, "cp", "--archive", "--no-target-directory", from, to)
	}
	return copyWith(t, r.of, func(c *root) { copyTo(r.upper, c.upper) }, func(c *root) {
		copyTo(r.dir+"/run", c.dir+"/run")
		copyTo(r.dir+"/tmp", c.dir+"/tmp")
	})
}

// copyWith is a copy of a root that is changed below the mounts, by before, and with them, by after.
func copyWith(t *testing.T, of string, before, after func(*root)) *root {
	t.Helper()
	base, err := os.MkdirTemp("/run", "root-")
	if err != nil {
		t.Fatal(err)
	}
	r := &root{t: t, of: of, dir: base + "/root", upper: base + "/upper"}
	work := base + "/work"
	for _, dir := range []string{r.dir, r.upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mount := func(source, target, kind string, flags uintptr, data string) {
		t.Helper()
		if err := unix.Mount(source, target, kind, flags, data); err != nil {
			t.Fatalf("mounting %s: %v", target, err)
		}
	}
	before(r)
	mount("overlay", r.dir, "overlay", 0, "lowerdir="+of+",upperdir="+r.upper+",workdir="+work)
	mount("tmpfs", r.dir+"/run", "tmpfs", unix.MS_NOSUID, "mode=0755")
	mount("tmpfs", r.dir+"/tmp", "tmpfs", unix.MS_NOSUID, "mode=1777")
	mount("proc", r.dir+"/proc", "proc", 0, "")
	mount("/dev", r.dir+"/dev", "", unix.MS_BIND|unix.MS_REC, "")
	for _, file := range []string{manualUpdates, policyConfig} {
		if err := os.Remove(r.dir + file); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	after(r)
	t.Cleanup(func() {
		if err := unix.Unmount(r.dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
		os.RemoveAll(base)
	})
	return r
}

// try runs a program in the root. It returns all that the program printed.
func (r *root) try(env []string, name string, args ...string) (string, error) {
	cmd := exec.Command("/usr/bin/env", append([]string{name}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: r.dir}
	cmd.Dir = "/"
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"}, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (r *root) run(name string, args ...string) string {
	r.t.Helper()
	return r.runWith(nil, name, args...)
}

func (r *root) runWith(env []string, name string, args ...string) string {
	r.t.Helper()
	out, err := r.try(env, name, args...)
	if err != nil {
		r.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// bring copies a file to the root's /tmp and returns its path there.
func (r *root) bring(file string) string {
	r.t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		r.t.Fatal(err)
	}
	path := "/tmp/" + filepath.Base(file)
	r.write(path, string(content), 0o644)
	return path
}

func (r *root) write(path, content string, mode os.FileMode) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Dir(r.dir+path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	// Not through a link: that would lead out of the root.
	if err := os.Remove(r.dir + path); err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.dir+path, []byte(content), mode); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Chmod(r.dir+path, mode); err != nil {
		r.t.Fatal(err)
	}
}

func (r *root) read(path string) string {
	r.t.Helper()
	content, err := os.ReadFile(r.dir + path)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(content)
}

func (r *root) exists(path string) bool {
	_, err := os.Lstat(r.dir + path)
	return err == nil
}

// changed returns the paths below dir at which the root is another than the machine,
// in content, kind, owner or mode, or has what that has not.
func (r *root) changed(dir string) []string {
	r.t.Helper()
	var paths []string
	err := filepath.WalkDir(r.upper+dir, func(path string, entry fs.DirEntry, err error) error {
		if os.IsNotExist(err) && path == r.upper+dir {
			return nil
		}
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, r.upper)
		if name == "" {
			return nil
		}
		same, err := same(path, r.of+name)
		if err == nil && !same {
			paths = append(paths, name)
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	slices.Sort(paths)
	return paths
}

func same(a, b string) (bool, error) {
	one, err := describe(a)
	if err != nil {
		return false, err
	}
	other, err := describe(b)
	return one == other, err
}

// describe tells all that matters of a file, "" for one that is not there: overlayfs
// shows that as a character device 0, 0.
func describe(path string) (string, error) {
	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err == unix.ENOENT || err == nil && stat.Mode&unix.S_IFMT == unix.S_IFCHR && stat.Rdev == 0 {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("%s: %v", path, err)
	}
	text := fmt.Sprintf("%o %d:%d", stat.Mode, stat.Uid, stat.Gid)
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		content, err := os.ReadFile(path)
		return text + " " + string(content), err
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		return text + " -> " + target, err
	}
	return text, nil
}
