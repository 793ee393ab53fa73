package keyscommand

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/sysroot"
)

// A PathError says which part of a command's path sshd would not put up with.
type PathError struct {
	Path  string // the file or directory at fault, without links
	Found string // what is wrong, as "is owned by user ID 1000, not root"
	Fix   string // a command that mends it, or ""
	Rule  Rule   // of sshd's that is broken; 0 where it is something else
	Err   error  // what the system said, or nil
}

// A Rule is one of sshd's for the path of a command.
type Rule int

// The rules of CheckPath for what is there.
const (
	RegularFile Rule = iota + 1
	OwnedByRoot
	ClosedToOthers
	// ClosedToGroup is broken where only the group may write. Debian's and
	// Ubuntu's build of OpenSSH takes that if the group has no other member
	// than the owner.
	ClosedToGroup
)

func (e *PathError) Error() string {
	s := e.Path + " " + e.Found
	if e.Fix != "" {
		s += ": " + e.Fix
	}
	return s
}

func (e *PathError) Unwrap() error { return e.Err }

// CheckPath says why sshd would not run the program at path in the file system
// below root, "/" for the running one. By sshd's rule the path is absolute, and
// without its symbolic links it is a regular file that belongs to root and that
// neither group nor others may write, as does every directory above it. The error
// is a *PathError; it wraps fs.ErrNotExist for what is not there.
//
// Whether somebody may execute the program is not checked: see CheckAccess.
func CheckPath(root, path string) error {
	return checker{root: root, owner: 0}.check(path)
}

// A checker trusts root and owner. Tests that do not run as root set another. They
// also set top, the directory above which nothing is checked.
type checker struct {
	root  string
	owner uint32
	top   string
}

func (c checker) check(path string) error {
	real, err := resolve(c.root, path)
	if err != nil {
		return err
	}
	for at, isProgram := real, true; ; at, isProgram = filepath.Dir(at), false {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(c.root, at), &st); err != nil {
			return &PathError{Path: at, Found: "cannot be examined: " + err.Error(), Err: err}
		}
		if isProgram && st.Mode&unix.S_IFMT != unix.S_IFREG {
			return &PathError{Path: at, Found: "is not a regular file", Rule: RegularFile}
		}
		if err := c.judge(at, &st); err != nil {
			return err
		}
		if at == "/" || at == c.top {
			return nil
		}
	}
}

func (c checker) judge(path string, st *unix.Stat_t) error {
	switch mode := fmt.Sprintf("(mode %04o)", st.Mode&0o7777); {
	case st.Uid != 0 && st.Uid != c.owner:
		return &PathError{Path: path, Found: fmt.Sprintf("is owned by user ID %d, not root", st.Uid), Fix: "chown root " + path, Rule: OwnedByRoot}
	case st.Mode&unix.S_IWOTH != 0 && st.Mode&unix.S_ISVTX != 0:
		// As it is meant to be, for temporary files.
		return &PathError{Path: path, Found: "is world-writable " + mode + ", so sshd runs no program below it", Rule: ClosedToOthers}
	case st.Mode&unix.S_IWOTH != 0:
		return &PathError{Path: path, Found: "is world-writable " + mode, Fix: "chmod go-w " + path, Rule: ClosedToOthers}
	case st.Mode&unix.S_IWGRP != 0:
		return &PathError{Path: path, Found: "is group-writable " + mode, Fix: "chmod g-w " + path, Rule: ClosedToGroup}
	}
	return nil
}

// CheckAccess says what keeps the user of that id, with these groups, from running
// the program at path below root: sshd looks at the path, and runs it, as
// AuthorizedKeysCommandUser. It goes by mode bits alone. The error is a
// *PathError.
func CheckAccess(root, path string, uid uint32, groups []uint32) error {
	real, err := resolve(root, path)
	if err != nil {
		return err
	}
	for at := real; ; at = filepath.Dir(at) {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(root, at), &st); err != nil {
			return &PathError{Path: at, Found: "cannot be examined: " + err.Error(), Err: err}
		}
		bit := uint32(unix.S_IXOTH)
		if st.Uid == uid {
			bit = unix.S_IXUSR
		} else {
			for _, g := range groups {
				if st.Gid == g {
					bit = unix.S_IXGRP
				}
			}
		}
		if uid == 0 {
			bit = unix.S_IXUSR | unix.S_IXGRP | unix.S_IXOTH
		}
		if st.Mode&bit == 0 && (uid != 0 || at == real) {
			what := "cannot be entered"
			if at == real {
				what = "cannot be run"
			}
			return &PathError{Path: at, Found: fmt.Sprintf("%s by user ID %d (mode %04o)", what, uid, st.Mode&0o7777), Fix: "chmod a+x " + at}
		}
		if at == "/" {
			return nil
		}
	}
}

// resolve is sysroot.Resolve with a *PathError.
func resolve(root, path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", &PathError{Path: path, Found: "is not an absolute path"}
	}
	real, err := sysroot.Resolve(root, path)
	pathError, _ := errors.AsType[*os.PathError](err)
	switch {
	case err == nil:
		return real, nil
	case errors.Is(err, unix.ELOOP):
		return "", &PathError{Path: path, Found: "has too many symbolic links", Err: err}
	}
	return "", &PathError{Path: pathError.Path, Found: "cannot be examined: " + pathError.Err.Error(), Err: err}
}
