package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A cacheState is what an account finds where its cache should be.
type cacheState struct {
	Dir    string // "" where none is configured
	Fault  string // id of what is wrong, or ""
	Detail string
	Kind   int64 // of the file system
}

// tryCache looks at the directory as package keycache does, and writes a file to it.
func tryCache(dir string) cacheState {
	s := cacheState{Dir: dir}
	if dir == "" {
		return s
	}
	fault := func(id, format string, args ...any) cacheState {
		s.Fault, s.Detail = id, fmt.Sprintf(format, args...)
		return s
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch {
	case err == unix.ENOENT:
		return fault(cacheMissing.ID, "does not exist")
	case err == unix.ENOTDIR, err == unix.ELOOP:
		return fault(cacheNotADirectory.ID, "is not a directory")
	case err != nil && !errors.Is(err, os.ErrPermission):
		return fault(cacheUnusable.ID, "cannot be opened: %v", err)
	}
	var st unix.Stat_t
	if err == nil {
		defer unix.Close(fd)
		err = unix.Fstat(fd, &st)
	} else {
		err = unix.Lstat(dir, &st)
	}
	switch {
	case err != nil:
		return fault(cacheUnusable.ID, "cannot be examined: %v", err)
	case st.Uid != uint32(os.Geteuid()):
		return fault(cacheOwner.ID, "is owned by user ID %d", st.Uid)
	case st.Mode&0o077 != 0:
		return fault(cacheMode.ID, "is accessible to others (mode %04o)", st.Mode&0o7777)
	case st.Mode&0o700 != 0o700:
		return fault(cacheMode.ID, "is not accessible to its owner (mode %04o)", st.Mode&0o7777)
	}
	var fs unix.Statfs_t
	if unix.Fstatfs(fd, &fs) == nil {
		s.Kind = int64(fs.Type)
	}
	switch err := tryWrite(fd); {
	case err == unix.ENOSPC, err == unix.EDQUOT:
		return fault(cacheFull.ID, "is full")
	case err == unix.EROFS:
		return fault(cacheReadOnly.ID, "is on a read-only file system")
	case err != nil:
		return fault(cacheUnusable.ID, "cannot be written: %v", err)
	}
	return s
}

// tryWrite makes a file of the size of a signing chain and takes it away again.
func tryWrite(dir int) error {
	name := ".doctor-" + strconv.Itoa(os.Getpid())
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer unix.Unlinkat(dir, name, 0)
	defer unix.Close(fd)
	_, err = unix.Write(fd, make([]byte, 16<<10))
	return err
}

// checkCache checks the cache as the command's account. Without one every
// login asks the metadata service for everything, but nobody is kept out.
func checkCache(e *exam, f *findings) {
	const id = "cache"
	p := e.probe()
	s := p.Cache
	switch {
	case p.blind() != "":
		f.unknown(id, "%s", because(p.blind()))
	case s.Dir == "":
		f.ok(id, "the cache is disabled; every login fetches everything from the metadata service")
	case !p.asked:
		f.unknown(id, "cannot check %s: %s", s.Dir, p.why)
	case s.Fault == cacheOwner.ID && p.as != defaultAccount && e.runner().foreign():
		f.unknown(id, "%s", because("sshd runs the command as "+p.as+", which does not own "+s.Dir))
	case s.Fault == cacheMissing.ID && !systemdRuns() && !e.serving() && atBoot(s.Dir):
		f.ok(id, "systemd-tmpfiles creates %s at boot; this system is not booted (an image?)", s.Dir)
	case s.Fault != "":
		f.problem(entryOf(s.Fault), cacheFix(s, p.as, e.config().path), "%s %s; every login fetches everything from the metadata service", s.Dir, s.Detail)
	case s.Kind != 0 && s.Kind != unix.TMPFS_MAGIC && s.Kind != unix.RAMFS_MAGIC && s.Kind != unix.OVERLAYFS_SUPER_MAGIC:
		f.problem(cacheOnDisk, shell("mount -t tmpfs -o size=4m,mode=0700,uid=$(id -u %s),gid=$(id -g %s) tmpfs %s   # and in /etc/fstab; or put [cache] dir below /run", p.as, p.as, s.Dir), "%s is not on tmpfs, so session tokens are written to disk", s.Dir)
	default:
		f.ok(id, "%s can write %s", p.as, s.Dir)
	}
}

// serving reports whether sshd takes connections here.
func (e *exam) serving() bool {
	s := e.server()
	if s.Server == nil {
		return false
	}
	_, running := s.Listener()
	return running
}

// atBoot reports whether a file of tmpfiles.d(5) has a directory made.
func atBoot(dir string) bool {
	for _, place := range []string{"/etc", "/run", "/usr/local/lib", "/usr/lib"} {
		files, _ := filepath.Glob(place + "/tmpfiles.d/*.conf")
		for _, file := range files {
			text, _ := os.ReadFile(file)
			for line := range strings.Lines(string(text)) {
				if words := strings.Fields(line); len(words) > 1 && strings.TrimRight(words[0], "!+-=~^$") == "d" && filepath.Clean(words[1]) == filepath.Clean(dir) {
					return true
				}
			}
		}
	}
	return false
}

// cacheFix makes the directory what it has to be for an account.
func cacheFix(s cacheState, account, configPath string) fix {
	create := fmt.Sprintf("install -d -m 0700 -o %s -g $(id -gn %s) %s", account, account, s.Dir)
	switch s.Fault {
	case cacheMissing.ID:
		if systemdRuns() && atBoot(s.Dir) {
			return shell("%s   # systemd-tmpfiles creates it at the next boot", create)
		}
		return shell("%s   # and at each boot", create)
	case cacheNotADirectory.ID:
		return shell("rm %s && %s", s.Dir, create)
	case cacheOwner.ID:
		return shell("chown -R %s: %s", account, s.Dir)
	case cacheMode.ID:
		return shell("chmod 0700 %s", s.Dir)
	case cacheReadOnly.ID:
		return shell("mount -o remount,rw $(findmnt -n -o TARGET -T %s)", s.Dir)
	case cacheFull.ID:
		if entries, err := os.ReadDir(s.Dir); err == nil && len(entries) > 0 {
			return shell("find %s -mindepth 1 -delete   # the cache is rebuilt", s.Dir)
		}
		return advice("make room on the file system of %s: df -h %s; df -i %s", s.Dir, s.Dir, s.Dir)
	}
	return advice("check [cache] dir in %s", configPath)
}
