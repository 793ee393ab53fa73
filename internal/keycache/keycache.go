// Package keycache keeps, for the next runs, what the metadata service said: the
// session token, the signing chain with its staples, and the records of a user.
//
// Nothing in it is trusted. Chain, staples and records are bytes that AWS
// signed, and are verified on every read; records, which do not contain the user
// they were pushed for, are bound to the user with a key that is in no file. So
// write access to the directory gains nothing. A cache that cannot be
// used, for whatever reason, is a cache without entries.
package keycache

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/smallfile"
)

// patience is how long a run waits in all for what other runs are fetching: as long
// as a fetch takes on a host that two hundred logins keep busy. A run that is
// stuck costs the others no more.
const patience = time.Second

// LossesName is the file of the directory that counts lost events. It is no entry.
const LossesName = "lost-events"

// A Cache is the directory of one account. A nil *Cache is one without entries.
// It may be used by several goroutines.
type Cache struct {
	dir  int // descriptor
	left waiting
}

// Open returns the cache in the directory at path, or nil and the reason where
// there is none that can be used: the directory has to belong to this account and
// be closed to all others. An empty path is no cache, without a reason.
func Open(path string) (*Cache, error) {
	if path == "" {
		return nil, nil
	}
	dir, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err = unix.Fstat(dir, &st); err == nil {
		err = ours(&st, unix.S_IFDIR)
	}
	if err != nil {
		unix.Close(dir)
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Cache{dir: dir, left: waiting{left: patience}}, nil
}

// Close closes the directory. The cache must not be used after it.
func (c *Cache) Close() error {
	if c == nil {
		return nil
	}
	return unix.Close(c.dir)
}

// ours returns an error if a file with status st must not be used.
func ours(st *unix.Stat_t, kind uint32) error {
	switch {
	case st.Mode&unix.S_IFMT != kind:
		return errors.New("wrong file type")
	case st.Uid != uint32(os.Geteuid()):
		return errors.New("owned by another user")
	case st.Mode&0o077 != 0:
		return fmt.Errorf("must not be accessible to other users (mode %04o)", st.Mode&0o7777)
	}
	return nil
}

// load returns the entry of that name, which has at most limit bytes, and whether
// there is one.
func (c *Cache) load(name string, limit int) ([]byte, bool) {
	if c == nil {
		return nil, false
	}
	// O_NONBLOCK keeps a FIFO from holding the login.
	fd, err := unix.Openat(c.dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || ours(&st, unix.S_IFREG) != nil {
		return nil, false
	}
	data, err := smallfile.Read(fd, st.Size, limit)
	return data, err == nil
}

// store puts an entry in place, whole or not at all. That it could not is no
// error: the next run fetches again.
func (c *Cache) store(name string, data []byte) {
	if c == nil {
		return
	}
	temporary := ".new-" + strconv.Itoa(os.Getpid()) + "-" + name
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(c.dir, temporary, flags, 0o600)
	if err == unix.EEXIST {
		// Left behind by a run of this number that was killed.
		unix.Unlinkat(c.dir, temporary, 0)
		fd, err = unix.Openat(c.dir, temporary, flags, 0o600)
	}
	if err != nil {
		return
	}
	n, err := unix.Write(fd, data)
	closeErr := unix.Close(fd)
	if err != nil || closeErr != nil || n != len(data) || unix.Renameat(c.dir, temporary, c.dir, name) != nil {
		unix.Unlinkat(c.dir, temporary, 0)
	}
}

// remove removes an entry.
func (c *Cache) remove(name string) {
	if c != nil {
		unix.Unlinkat(c.dir, name, 0)
	}
}
