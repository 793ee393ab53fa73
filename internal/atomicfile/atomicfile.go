// Package atomicfile puts files in place whole or not at all, and makes directories. What
// it makes has the mode that it is given, whatever the umask.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Write puts a file at path. What was there is there until the whole new file is; when
// Write returns, that is on the disk. Until then it has a name of the pattern, as
// os.CreateTemp takes it, in the same directory. prepare is given the file with its
// contents, mode 0600 and this process's owner, to set its owner and mode. Where
// Write fails nothing is left.
func Write(path, pattern string, data []byte, prepare func(*os.File) error) (err error) {
	if err := Replaceable(path); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, pattern)
	if err != nil {
		if pathError, ok := errors.AsType[*os.PathError](err); ok {
			err = &os.PathError{Op: "create", Path: path, Err: pathError.Err} // not the name of the moment
		}
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = prepare(f); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

// Replaceable returns an error if something is at path that is no file, such as
// /dev/null, or a link to what the process has open, as /dev/stdout is. Other links can
// be replaced.
func Replaceable(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.Mode().IsRegular():
		return nil
	case st.Mode().Type() == fs.ModeSymlink:
		target, err := os.Readlink(path)
		if err != nil || !strings.HasPrefix(target, "/proc/") {
			return err
		}
	}
	return &os.PathError{Op: "replace", Path: path, Err: errors.New("not a regular file")}
}

// MkdirAll is os.MkdirAll with mode for each directory that it makes, whatever the umask.
// Those that are there keep theirs.
func MkdirAll(path string, mode fs.FileMode) error {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return nil
	}
	if parent := filepath.Dir(path); parent != path {
		if err := MkdirAll(parent, mode); err != nil {
			return err
		}
	}
	return Mkdir(path, mode)
}

// Mkdir makes a directory with mode, whatever the umask. One that is there keeps its own.
func Mkdir(path string, mode fs.FileMode) error {
	if err := os.Mkdir(path, mode); err != nil {
		if st, statErr := os.Stat(path); statErr == nil && st.IsDir() {
			return nil
		}
		return err
	}
	return os.Chmod(path, mode)
}

// SyncDir syncs a directory, so that entries created, renamed or removed in it
// survive a crash.
func SyncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
