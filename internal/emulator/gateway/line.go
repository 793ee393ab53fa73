package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	reopenAfter = 200 * time.Millisecond // a port that went away, again and again
	writeSlice  = 250 * time.Millisecond // of a write to a guest that reads nothing
	chunk       = 32 << 10
)

// A Line is one serial port, held open for as long as the emulator runs: like
// the wire of a UART it does not hang up when a client comes or goes. What the
// guest writes while nobody listens is lost.
type Line struct {
	device device
	stop   context.CancelFunc
	done   chan struct{}
	tap    atomic.Pointer[backlog] // of the session that there is

	sending sync.Mutex // input, or a break: they do not overtake each other

	mu   sync.Mutex
	port port // nil while there is none
}

// A device opens what a Line is joined to.
type device interface {
	open() (port, error)
	name() string
	// sendBreak returns errNoBreak where there is no such thing.
	sendBreak(ctx context.Context, p port, length time.Duration) error
	close()
}

// A port is a device while it is open. Close ends a Read that waits.
type port interface {
	io.ReadWriteCloser
	SetWriteDeadline(time.Time) error
}

// Open joins a Line to its target. A socket that nobody serves yet is no error:
// it is tried again until somebody does.
func Open(t Target) (*Line, error) {
	d, err := t.device()
	if err != nil {
		return nil, err
	}
	first, err := d.open()
	if err != nil && t.kind != targetSocket {
		d.close()
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &Line{device: d, stop: stop, done: make(chan struct{})}
	l.use(first)
	go l.run(ctx, first)
	return l, nil
}

func (t Target) device() (device, error) {
	switch t.kind {
	case targetPty:
		return newPty(t.path)
	case targetTTY:
		return newTTY(t.path), nil
	case targetSocket:
		return socket{t.path}, nil
	}
	return nil, errors.New("the serial port is not connected")
}

// Name says what the Line is joined to: for a pty, the path of the guest's end.
func (l *Line) Name() string { return l.device.name() }

// Close closes the port, and removes a link that Open made.
func (l *Line) Close() {
	l.stop()
	l.use(nil)
	<-l.done
	l.device.close()
}

// use replaces the port.
func (l *Line) use(p port) {
	l.mu.Lock()
	old := l.port
	l.port = p
	l.mu.Unlock()
	if old != nil {
		old.Close()
	}
}

func (l *Line) current() port {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.port
}

// run carries the guest's output to the session until ctx is done.
func (l *Line) run(ctx context.Context, p port) {
	defer close(l.done)
	defer func() { l.use(nil) }()
	buffer := make([]byte, chunk)
	for ctx.Err() == nil {
		if p == nil {
			var err error
			if p, err = l.device.open(); err != nil {
				p = nil
				select {
				case <-ctx.Done():
				case <-time.After(reopenAfter):
				}
				continue
			}
			l.use(p)
			if ctx.Err() != nil {
				return
			}
		}
		n, err := p.Read(buffer)
		if tap := l.tap.Load(); n > 0 && tap != nil {
			tap.put(buffer[:n], patience)
		}
		if err != nil {
			l.use(nil)
			p = nil
			select { // one that opens and ends at once is no reason to spin
			case <-ctx.Done():
			case <-time.After(reopenAfter):
			}
		}
	}
}

// listen begins to keep the guest's output for a session.
func (l *Line) listen() *backlog {
	b := newBacklog()
	if old := l.tap.Swap(b); old != nil {
		old.close()
	}
	return b
}

// unlisten ends it.
func (l *Line) unlisten(b *backlog) {
	l.tap.CompareAndSwap(b, nil)
	b.close()
}

// write gives input to the guest. A guest that reads nothing is waited for until
// ctx is done; input for one that is not there is lost.
func (l *Line) write(ctx context.Context, data []byte) {
	for len(data) > 0 && ctx.Err() == nil {
		n, more := l.writeSome(data)
		if data = data[n:]; !more {
			return
		}
	}
}

// writeSome reports false when there is nobody to write to.
func (l *Line) writeSome(data []byte) (n int, more bool) {
	l.sending.Lock()
	defer l.sending.Unlock()
	p := l.current()
	if p == nil {
		return 0, false
	}
	_ = p.SetWriteDeadline(time.Now().Add(writeSlice)) // without one, the write waits
	n, err := p.Write(data)
	return n, err == nil || errors.Is(err, os.ErrDeadlineExceeded)
}

// sendBreak sends a break of the length that RFC 4335 recommends at most and at
// least. Of input that comes at the same time it may be before or after.
func (l *Line) sendBreak(ctx context.Context, length time.Duration) error {
	l.sending.Lock()
	defer l.sending.Unlock()
	p := l.current()
	if p == nil {
		return errors.New("the port is not open")
	}
	return l.device.sendBreak(ctx, p, min(max(length, 500*time.Millisecond), 3*time.Second))
}

// A socket is a device at a path of the file system.
type socket struct{ path string }

func (s socket) open() (port, error) { return net.DialTimeout("unix", s.path, time.Second) }

func (s socket) name() string { return "unix:" + s.path }

func (socket) sendBreak(context.Context, port, time.Duration) error { return errNoBreak }

func (socket) close() {}
