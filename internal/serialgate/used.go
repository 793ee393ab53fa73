package serialgate

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// UsedDir is where it is remembered which pushes have opened a console.
const UsedDir = "/run/eic-serial-getty"

// remembered is how long a mark is kept after the key has expired, for a clock
// that is set back.
const remembered = 30 * time.Minute

// errUsed says that a push has opened a console before.
var errUsed error = reason.New(reason.AlreadyUsed, "the push has already opened a serial console")

// A used is the directory of marks, one for each push that has opened a console: a
// file named after the key's expiry and a digest of what AWS signed. It belongs to
// root and nobody else can write it.
type used struct{ path string }

// open opens the directory, and makes it where it is missing.
func (u used) open() (dir int, err error) {
	if err := unix.Mkdir(u.path, 0o700); err != nil && err != unix.EEXIST {
		return -1, &os.PathError{Op: "mkdir", Path: u.path, Err: err}
	}
	dir, err = unix.Open(u.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: u.path, Err: err}
	}
	var st unix.Stat_t
	switch err := unix.Fstat(dir, &st); {
	case err != nil:
		unix.Close(dir)
		return -1, &os.PathError{Op: "stat", Path: u.path, Err: err}
	case st.Uid != 0 || st.Mode&0o022 != 0:
		unix.Close(dir)
		return -1, fmt.Errorf("%s is not owned by root, or is writable by others", u.path)
	}
	return dir, nil
}

// countLosses has log keep its count of lost events in UsedDir.
func countLosses(log *audit.Logger) {
	if dir, err := (used{UsedDir}).open(); err == nil {
		unix.Close(dir)
		log.CountLosses(UsedDir + "/lost")
	}
}

// mark uses the push up. The error is errUsed for one that was used before; any
// other says that it cannot be recorded. Of several processes that mark the same
// push at the same time one succeeds.
func (u used) mark(key keyrecord.Key, now time.Time) error {
	dir, err := u.open()
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	u.forget(dir, now)
	fd, err := unix.Openat(dir, markName(key), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	switch {
	case err == unix.EEXIST:
		return errUsed
	case err != nil:
		return &os.PathError{Op: "create a file in", Path: u.path, Err: err}
	}
	return unix.Close(fd)
}

// has reports whether the push was used. A directory that is not there has no
// marks.
func (u used) has(key keyrecord.Key) bool {
	var st unix.Stat_t
	return unix.Lstat(u.path+"/"+markName(key), &st) == nil
}

// forget drops the marks of keys that have long expired.
func (u used) forget(dir int, now time.Time) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(fd), u.path)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return
	}
	for _, name := range names {
		expiry, _, ok := strings.Cut(name, "-")
		seconds, err := strconv.ParseInt(expiry, 10, 64)
		if ok && err == nil && now.After(time.Unix(seconds, 0).Add(remembered)) {
			unix.Unlinkat(dir, name, 0)
		}
	}
}

func markName(key keyrecord.Key) string {
	digest := sha256.Sum256(key.Signed())
	return strconv.FormatInt(key.Expires().Unix(), 10) + "-" + hex.EncodeToString(digest[:])
}
