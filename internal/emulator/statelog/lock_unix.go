//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package statelog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lock keeps every other emulator off the state file at path until the lock
// is released, or this process ends. The error is ErrInUse while another has
// it.
//
// It is not the state file itself that is locked, since that is replaced with
// each change, but one beside it, which is removed again unless the process
// crashes; a file that is left behind is locked by nobody.
func lock(path string) (release func(), err error) {
	name := filepath.Join(filepath.Dir(path), Temporary(path)+"lock")
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, ErrInUse
			}
			return nil, fmt.Errorf("locking %s: %w", name, err)
		}
		// Its previous owner may have removed it in the meantime.
		locked, lockedErr := f.Stat()
		there, thereErr := os.Stat(name)
		if lockedErr == nil && thereErr == nil && os.SameFile(locked, there) {
			return func() {
				_ = os.Remove(name) // it does no harm
				f.Close()
			}, nil
		}
		f.Close()
	}
}
