package serialgate

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/audit"
)

// The arguments with which this program starts itself as the watcher. They are not
// for people, and do nothing without the descriptors that go with them.
const (
	argFork  = "--watcher-start"
	argWatch = "--watcher"
)

const (
	program = "eic-serial-getty"
	// thisProgram is the program that runs, also where another version of it
	// has been installed in the meantime.
	thisProgram = "/proc/self/exe"
)

// pidfdNumber is the watcher's descriptor of the getty's process.
const pidfdNumber = 3

// A plan is what the watcher is to see to.
type plan struct {
	TTY    string
	Device uint64 // of TTY
	PID    int    // of the getty
	HasFD  bool   // whether pidfdNumber is its pidfd
	// Left is the time in which a login has to begin.
	Left   time.Duration
	Limits limits
	// Opened is recorded before the watcher is ready, and Closed with another
	// message when the line is hung up.
	Opened, Closed audit.Event
}

// limits bound a prompt and a session.
type limits struct {
	Idle    time.Duration // without input; 0: no limit
	Session time.Duration // in all; 0: no limit

	Warning time.Duration // before a session is ended
	Login   time.Duration // for the password, after Left
	Grace   time.Duration // for the getty to end by itself
	Settle  time.Duration // that a child of login has to live to be a session
	// Coarse is how coarse the kernel's times of a terminal are.
	Coarse time.Duration
}

func defaultLimits() limits {
	return limits{
		Warning: time.Minute,
		Login:   time.Minute,
		Grace:   5 * time.Second,
		Settle:  15 * time.Second,
		Coarse:  8 * time.Second, // Linux, tty_update_time
	}
}

// A watcher is the process that watches this one.
type watcher struct{ pid int }

// stop ends the watcher of a process that has not become the getty.
func (w *watcher) stop() { unix.Kill(w.pid, unix.SIGTERM) }

// startTime is how long the watcher may take to be ready.
const startTime = 10 * time.Second

// startWatcher starts the watcher of this process and waits until it watches. It is
// a grandchild, left to init: this process has no child when it becomes the getty,
// and gets no signal of one.
func startWatcher(p plan) (*watcher, error) {
	planOut, planIn, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer planOut.Close()
	defer planIn.Close()
	readyOut, readyIn, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer readyOut.Close()
	files := []*os.File{planOut, readyIn, ErrorOutput(os.Stderr)}
	if fd, err := unix.PidfdOpen(os.Getpid(), 0); err == nil {
		pidfd := os.NewFile(uintptr(fd), "pidfd")
		defer pidfd.Close()
		files = append(files, pidfd)
		p.HasFD = true
	}
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	process, err := os.StartProcess(thisProgram, []string{program, argFork, p.TTY}, &os.ProcAttr{
		Dir: "/", Env: []string{}, Files: files, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	readyIn.Close()
	if err != nil {
		return nil, err
	}
	// It fits into the pipe.
	_, writeErr := planIn.Write(text)
	planIn.Close()
	if state, err := process.Wait(); err != nil || !state.Success() {
		return nil, fmt.Errorf("it exited: %v, %v", state, err)
	}
	readyOut.SetReadDeadline(time.Now().Add(startTime))
	ready := make([]byte, 16)
	n, err := readyOut.Read(ready)
	if writeErr != nil || err != nil {
		return nil, errors.Join(writeErr, err)
	}
	var pid int
	if _, err := fmt.Sscan(string(ready[:n]), &pid); err != nil {
		return nil, errors.New("it is not ready")
	}
	return &watcher{pid}, nil
}
