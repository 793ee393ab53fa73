package journal

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pipeSize is how far journalctl may be ahead: the most that an unprivileged user gets.
	pipeSize = 1 << 20
	// pipePause is less than journalctl takes to fill a pipe of that size.
	pipePause = 4 * time.Millisecond
)

// A pipe is read in large pieces. journalctl writes 4 KiB at a time: to be woken for each
// takes more than to take it apart. For that the pipe is not one of os.Pipe, of which Go's
// poller is woken at every write.
type pipe struct {
	out   *os.File
	pause time.Duration
	empty bool
}

// newPipe returns a pipe, and the end that is written to.
func newPipe() (p *pipe, in *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, err
	}
	p = &pipe{out: os.NewFile(uintptr(fds[0]), "pipe")}
	// Where it stays smaller, the pause is shorter.
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize)
	if size, err := unix.FcntlInt(uintptr(fds[0]), unix.F_GETPIPE_SZ, 0); err == nil {
		p.pause = pipePause * time.Duration(size) / pipeSize
	}
	return p, os.NewFile(uintptr(fds[1]), "pipe"), nil
}

func (p *pipe) Read(b []byte) (int, error) {
	if p.empty {
		time.Sleep(p.pause)
	}
	n, err := p.out.Read(b)
	p.empty = n < len(b)
	return n, err
}
