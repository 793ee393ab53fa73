package keycache

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// waiting is the time that a run may still wait for others.
type waiting struct {
	mu   sync.Mutex
	left time.Duration
}

// lead lets one run at a time fetch what name stands for. The first that asks
// leads: done ends that and has to be called. Those that ask in the meantime wait until the
// leader is done or their own patience is over, and get waited = true. What they
// need may be in the cache then; if not, each fetches it for itself, all at
// once, since who waited once does not wait again.
func (c *Cache) lead(ctx context.Context, name string) (waited bool, done func()) {
	done = func() {}
	if c == nil {
		return false, done
	}
	const flags = unix.O_RDWR | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Openat(c.dir, name+".lock", flags, 0o600)
	if err != nil {
		return false, done
	}
	if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == nil {
		// The kernel releases it when the process exits.
		return false, func() { unix.Close(fd) }
	}
	c.left.mu.Lock()
	defer c.left.mu.Unlock()
	start := time.Now()
	free := make(chan struct{})
	go func() {
		// A shared lock is had by all who wait, at the same moment. If
		// nobody waits for it any more it ends with the process.
		for unix.Flock(fd, unix.LOCK_SH) == unix.EINTR {
		}
		unix.Close(fd)
		close(free)
	}()
	timer := time.NewTimer(c.left.left)
	defer timer.Stop()
	select {
	case <-free:
	case <-timer.C:
	case <-ctx.Done():
	}
	c.left.left = max(0, c.left.left-time.Since(start))
	return true, done
}
