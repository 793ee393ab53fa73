package serialgate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/audit"
)

// maxMemory is what Go's runtime may take of a watcher before it collects: three
// times what one needs at first.
const maxMemory = 8 << 20

// IsWatcher reports whether a program that was called with these arguments is to be
// the watcher, which Watch is.
func IsWatcher(args []string) bool {
	return len(args) == 2 && (args[0] == argFork || args[0] == argWatch)
}

// Watch is what the program does as the watcher. It returns the exit code.
func Watch(args []string, log *audit.Logger) int {
	var err error
	switch {
	case os.Geteuid() != 0:
		err = errors.New("must run as root") // nor may others have log say what they like
	case args[0] == argFork:
		err = fork(args[1])
	default:
		err = watch(log)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: watcher: %v\n", program, err)
		return 1
	}
	return 0
}

// fork starts the watcher and leaves it to init.
func fork(tty string) error {
	files := []*os.File{os.Stdin, os.Stdout, os.Stderr}
	if _, err := unix.FcntlInt(pidfdNumber, unix.F_GETFD, 0); err == nil {
		files = append(files, os.NewFile(pidfdNumber, "pidfd"))
	}
	_, err := os.StartProcess(thisProgram, []string{program, argWatch, tty}, &os.ProcAttr{Dir: "/", Env: []string{}, Files: files})
	return err
}

func watch(log *audit.Logger) error {
	text, err := io.ReadAll(io.LimitReader(os.Stdin, 64<<10))
	if err != nil {
		return err
	}
	var p plan
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	s, err := newSession(p)
	if err != nil {
		return err
	}
	countLosses(log)
	log.Log(p.Opened)
	// Nothing but the pidfd stays open.
	if _, err := fmt.Print(os.Getpid()); err != nil {
		return err
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for fd := range 2 {
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return err
		}
	}
	// The collector has no clock any more; what the few looks take it clears up
	// now and then.
	debug.SetMemoryLimit(maxMemory)
	debug.SetGCPercent(-1)
	why := s.await()
	if why == "" {
		return nil
	}
	e := p.Closed
	e.Message = fmt.Sprintf("hung up %s: %s", p.TTY, why)
	log.Log(e)
	return s.hangUp(why)
}
