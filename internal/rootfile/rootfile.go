// Package rootfile reads files that decide who may log in: only root may be able
// to change what they say.
package rootfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/smallfile"
)

const (
	// maxLinks is Linux's own bound on symbolic links in one path.
	maxLinks = 40

	writableByOthers = unix.S_IWGRP | unix.S_IWOTH
)

// Read returns the contents of the regular file at path, which may have at most
// limit bytes. It refuses a file that somebody but root could change or put in
// its place: the file, every directory and every symbolic link in its path must
// belong to root, and neither file nor directory may be writable by group or
// others. A directory with the sticky bit, like /tmp, may be: others cannot
// rename or remove what root has in it.
//
// The error says which path is at fault; it wraps fs.ErrNotExist for a file that
// is not there.
func Read(path string, limit int) ([]byte, error) {
	return reader{owner: 0}.read(path, limit)
}

// A reader trusts what belongs to owner. Tests that do not run as root set
// another.
type reader struct{ owner uint32 }

// ReadDir returns the names in the directory at path, in no order. It refuses a directory
// in which somebody but root could change, add or remove files, under the rules of Read:
// one that others may write is refused even with the sticky bit, in which they can add
// files.
func ReadDir(path string) ([]string, error) {
	return reader{owner: 0}.readDir(path)
}

func (r reader) read(path string, limit int) ([]byte, error) {
	fd, real, st, err := r.open(path, unix.S_IFREG)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	data, err := smallfile.Read(fd, st.Size, limit)
	if errors.Is(err, smallfile.ErrTooLarge) {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	if err != nil {
		return nil, &os.PathError{Op: "read", Path: real, Err: err}
	}
	return data, nil
}

func (r reader) readDir(path string) ([]string, error) {
	fd, real, st, err := r.open(path, unix.S_IFDIR)
	if err != nil {
		return nil, err
	}
	dir := os.NewFile(uintptr(fd), real)
	defer dir.Close()
	if st.Mode&writableByOthers != 0 {
		return nil, writable(real, st.Mode)
	}
	return dir.Readdirnames(-1)
}

// open opens what is at path for reading, which has to be of that kind and trusted.
func (r reader) open(path string, kind uint32) (fd int, real string, st unix.Stat_t, err error) {
	if !filepath.IsAbs(path) {
		return -1, "", st, fmt.Errorf("%s is not an absolute path", path)
	}
	if real, err = r.resolve(path); err != nil {
		return -1, "", st, err
	}
	// Nobody but root could have changed a link since. O_NONBLOCK keeps a
	// FIFO from holding the login.
	fd, err = unix.Open(real, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, "", st, &os.PathError{Op: "open", Path: real, Err: err}
	}
	if err = unix.Fstat(fd, &st); err != nil {
		err = &os.PathError{Op: "stat", Path: real, Err: err}
	} else if st.Mode&unix.S_IFMT != kind {
		err = fmt.Errorf("%s is not a %s", real, map[uint32]string{unix.S_IFREG: "regular file", unix.S_IFDIR: "directory"}[kind])
	} else {
		err = r.check(real, &st)
	}
	if err != nil {
		unix.Close(fd)
		return -1, "", st, err
	}
	return fd, real, st, nil
}

// resolve follows path from the root, checks every directory and link on the
// way, and returns the path without links. The last element is not checked
// unless it is a link.
func (r reader) resolve(path string) (string, error) {
	var root unix.Stat_t
	if err := unix.Lstat("/", &root); err != nil {
		return "", &os.PathError{Op: "stat", Path: "/", Err: err}
	}
	done, doneStat := "/", root
	rest := elements(path)
	for links := 0; len(rest) > 0; {
		if err := r.check(done, &doneStat); err != nil {
			return "", err
		}
		next := filepath.Join(done, rest[0])
		rest = rest[1:]
		var st unix.Stat_t
		if err := unix.Lstat(next, &st); err != nil {
			return "", &os.PathError{Op: "stat", Path: next, Err: err}
		}
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			done, doneStat = next, st
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s has too many symbolic links", path)
		}
		if !r.trusts(st.Uid) {
			return "", notOwned(next, st.Uid)
		}
		target, err := os.Readlink(next)
		if err != nil {
			return "", err
		}
		if filepath.IsAbs(target) {
			done, doneStat = "/", root
		}
		rest = append(elements(target), rest...)
	}
	return done, nil
}

// elements splits a path. It keeps "..", which means the parent of what the
// links before it lead to.
func elements(path string) []string {
	return strings.FieldsFunc(path, func(c rune) bool { return c == '/' })
}

func (r reader) trusts(uid uint32) bool { return uid == 0 || uid == r.owner }

// check judges one directory or file.
func (r reader) check(path string, st *unix.Stat_t) error {
	if !r.trusts(st.Uid) {
		return notOwned(path, st.Uid)
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if st.Mode&writableByOthers != 0 && !(isDir && st.Mode&unix.S_ISVTX != 0) {
		return writable(path, st.Mode)
	}
	return nil
}

func writable(path string, mode uint32) error {
	return fmt.Errorf("%s is writable by users other than root (mode %04o): run chmod go-w on it", path, mode&0o7777)
}

func notOwned(path string, uid uint32) error {
	return fmt.Errorf("%s is owned by user ID %d, not root: run chown root on it", path, uid)
}
