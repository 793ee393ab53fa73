package gateway

import (
	"sync"
	"time"
)

const (
	// maxBacklog bounds what a session holds of the guest's output.
	maxBacklog = 256 << 10
	// patience is how long the guest waits for a client that takes nothing at
	// all. From then on its output is dropped until the client takes some.
	patience = 2 * time.Second
)

// A backlog is the guest's output on its way to the client of a session.
type backlog struct {
	room, data chan struct{} // each holds at most one signal
	done       chan struct{}
	close      func()

	mu      sync.Mutex
	waiting []byte
	dropped int64

	stalled bool // only put uses it
}

func newBacklog() *backlog {
	b := &backlog{room: make(chan struct{}, 1), data: make(chan struct{}, 1), done: make(chan struct{})}
	b.close = sync.OnceFunc(func() { close(b.done) })
	return b
}

// put returns when p is in the backlog, dropped, or the session over. Only one
// goroutine may use it.
func (b *backlog) put(p []byte, patience time.Duration) {
	if p = b.add(p); len(p) == 0 {
		b.stalled = false
		return
	}
	if !b.stalled {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		for len(p) > 0 {
			select {
			case <-b.room:
				timer.Reset(patience)
				p = b.add(p)
				continue
			case <-b.done:
				return
			case <-timer.C:
				b.stalled = true
			}
			break
		}
	}
	b.mu.Lock()
	b.dropped += int64(len(p))
	b.mu.Unlock()
}

// add takes what there is room for and returns the rest.
func (b *backlog) add(p []byte) []byte {
	b.mu.Lock()
	n := min(len(p), maxBacklog-len(b.waiting))
	b.waiting = append(b.waiting, p[:n]...)
	b.mu.Unlock()
	if n > 0 {
		signal(b.data)
	}
	return p[n:]
}

// take waits for output and moves it to p. It returns 0 when the session is
// over.
func (b *backlog) take(p []byte) int {
	for {
		b.mu.Lock()
		n := copy(p, b.waiting)
		b.waiting = b.waiting[n:]
		if len(b.waiting) == 0 {
			b.waiting = nil
		}
		b.mu.Unlock()
		if n > 0 {
			signal(b.room)
			return n
		}
		select {
		case <-b.data:
		case <-b.done:
			return 0
		}
	}
}

// lost returns how much was dropped.
func (b *backlog) lost() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropped
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // there is one already
	}
}
