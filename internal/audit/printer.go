package audit

import (
	"io"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
)

// A printer writes events to stderr.
type printer struct {
	program string
	w       io.Writer
	// isTerminal is called at the first event.
	isTerminal func() bool
	// isJournal says that stderr is the journal's, which has the events already.
	isJournal func() bool
	// takes says that the kernel takes a line at once.
	takes func() bool

	mu  sync.Mutex // guards out
	out outlet
}

func newPrinter(program string, stderr *os.File) *printer {
	return &printer{
		program:    program,
		w:          stderr,
		out:        outlet{limit: sendLimit},
		isTerminal: sync.OnceValue(func() bool { return isTerminal(stderr) }),
		isJournal:  sync.OnceValue(func() bool { return isJournal(stderr) }),
		takes:      func() bool { return takes(stderr) },
	}
}

func (p *printer) core() zapcore.Core {
	return &core{LevelEnabler: zap.LevelEnablerFunc(p.shows), write: p.write}
}

func (p *printer) shows(level zapcore.Level) bool {
	return level >= zapcore.ErrorLevel && !p.isJournal() || p.isTerminal()
}

// write prints one line in one piece.
func (p *printer) write(_ zapcore.Level, message string, _ []zapcore.Field) {
	line := []byte(p.program + ": " + message + "\n")
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.takes() {
		// Only the scheduler of a busy host is waited for.
		p.out.limit = max(p.out.limit, busyLimit)
	}
	p.out.send(func() error {
		_, err := p.w.Write(line)
		return err
	})
}

// busyLimit is how long a write may take that does not block.
const busyLimit = time.Second

// takes reports whether a write to f would not block.
func takes(f *os.File) bool {
	conn, err := f.SyscallConn()
	if err != nil {
		return false
	}
	ready := false
	err = conn.Control(func(fd uintptr) {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(poll, 0)
		ready = err == nil && n == 1 && poll[0].Revents == unix.POLLOUT
	})
	return err == nil && ready
}

func isTerminal(f *os.File) bool {
	conn, err := f.SyscallConn()
	if err != nil {
		return false
	}
	terminal := false
	err = conn.Control(func(fd uintptr) {
		_, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		terminal = err == nil
	})
	return err == nil && terminal
}

// isJournal reports whether f is what systemd gives a service for StandardError=journal.
func isJournal(f *os.File) bool {
	conn, err := f.SyscallConn()
	if err != nil {
		return false
	}
	journal := false
	err = conn.Control(func(fd uintptr) {
		peer, err := unix.Getpeername(int(fd))
		address, ok := peer.(*unix.SockaddrUnix)
		journal = err == nil && ok && address.Name == "/run/systemd/journal/stdout"
	})
	return err == nil && journal
}
