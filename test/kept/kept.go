// Package kept keeps what takes long to make between runs.
package kept

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Dir makes sure that the directory path exists, and that nobody removes it until this
// process ends. Where it does not exist, build makes it under another name, and it gets
// its own when it is whole. One process builds at a time; others wait. Cached reports that
// nothing had to be built.
//
// The last element of path is KIND-RECIPE. Building one removes those of the same kind
// that are of other recipes and not in use.
func Dir(path string, build func(dir string) error) (cached bool, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, err
	}
	for built := false; ; {
		use, err := lock(path, unix.LOCK_SH)
		if err != nil {
			return false, err
		}
		if _, err := os.Stat(path); err == nil {
			keep(use)
			if built {
				err = removeOthers(path)
			}
			return !built, err
		}
		use.Close()
		made, err := makeDir(path, build)
		if err != nil {
			return false, err
		}
		built = built || made
	}
}

// makeDir builds path, unless another process has.
func makeDir(path string, build func(dir string) error) (built bool, err error) {
	alone, err := lock(path, unix.LOCK_EX)
	if err != nil {
		return false, err
	}
	defer alone.Close()
	if _, err := os.Stat(path); err == nil {
		return false, nil
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
	return true, os.Rename(unfinished, path)
}

// removeOthers removes the directories of the same kind as path, and what runs that were
// killed have left of them.
func removeOthers(path string) error {
	kind := path[:strings.LastIndex(path, "-")+1]
	locks, err := filepath.Glob(filepath.Dir(path) + "/*" + lockSuffix)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range locks {
		other := strings.TrimSuffix(name, lockSuffix)
		recipe, same := strings.CutPrefix(other, kind)
		if !same || strings.Contains(recipe, "-") || other == path {
			continue
		}
		alone, err := lock(other, unix.LOCK_EX|unix.LOCK_NB)
		if err != nil {
			continue // it is in use
		}
		errs = append(errs, os.RemoveAll(other), os.RemoveAll(other+".new"), os.Remove(name), alone.Close())
	}
	return errors.Join(errs...)
}

const lockSuffix = ".lock"

// lock locks path by a file beside it. Closing the file unlocks it.
func lock(path string, how int) (*os.File, error) {
	for {
		f, err := os.OpenFile(path+lockSuffix, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		for err = unix.EINTR; errors.Is(err, unix.EINTR); {
			err = unix.Flock(int(f.Fd()), how)
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		locked, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		if there, err := os.Stat(f.Name()); err == nil && os.SameFile(there, locked) {
			return f, nil
		}
		f.Close() // it was removed while this waited
	}
}

var (
	mu    sync.Mutex
	inUse []*os.File // whose locks end with the process
)

func keep(f *os.File) {
	mu.Lock()
	defer mu.Unlock()
	inUse = append(inUse, f)
}
