// Package kept keeps what takes long to make between runs.
package kept

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Dir makes sure that the directory path exists. Where it does not, build makes it
// under another name, and it gets its own when it is whole. One process builds at a
// time; others wait. Cached reports that nothing had to be built.
func Dir(path string, build func(dir string) error) (cached bool, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, err
	}
	lock, err := lock(path + ".lock")
	if err != nil {
		return false, err
	}
	defer lock.Close()
	if _, err := os.Stat(path); err == nil {
		return true, nil
	}
	unfinished := path + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return false, err
	}
	if err := os.Mkdir(unfinished, 0o755); err != nil {
		return false, err
	}
	if err := build(unfinished); err != nil {
		return false, errors.Join(err, os.RemoveAll(unfinished))
	}
	return false, os.Rename(unfinished, path)
}

// lock waits for the lock of the file at path. Closing the file unlocks it.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, err
		}
	}
}
