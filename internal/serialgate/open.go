package serialgate

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// openQuietly opens a terminal without waiting for a carrier and without making it
// the controlling one.
const openQuietly = unix.O_NOCTTY | unix.O_NONBLOCK

// usable returns why the command cannot be run as the getty: a *reason.Error.
func usable(command []string) error {
	err := CheckCommand(command)
	if err == nil {
		if errno := unix.Access(command[0], unix.X_OK); errno != nil {
			err = &os.PathError{Op: "run", Path: command[0], Err: errno}
		}
	}
	if err != nil {
		return reason.New(reason.GettyFailed, err.Error())
	}
	return nil
}

// open turns this process into the getty, for a login that has to begin before left is
// over, and has the watcher record e before. It returns only with an error, and then the
// console is locked as before.
//
// The getty has to be this process, not a child: it takes over the session and the
// foreground of the terminal, and what systemd and utmp know of them.
func (g *Gate) open(v view, left time.Duration, e audit.Event) error {
	fault := func(err error) error { return reason.New(reason.GettyFailed, err.Error()) }
	command, err := withTimeout(g.Command, left)
	if err != nil {
		return fault(err)
	}
	limits := g.limits
	limits.Idle = cmp.Or(limits.Idle, v.config.Serial.IdleTimeout.Duration.Duration)
	limits.Session = cmp.Or(limits.Session, v.config.Serial.MaxSession.Duration.Duration)
	closed := e
	closed.Kind, closed.Reason = audit.GateClosed, ""
	// Of the record of this process journald might see the getty as the author: it
	// reads /proc when it comes to it.
	watcher, err := startWatcher(plan{
		TTY: g.line.path, Device: g.line.rdev, PID: os.Getpid(), Left: left, Limits: limits, Opened: e, Closed: closed,
	})
	if err != nil {
		return fault(fmt.Errorf("cannot start the watcher: %w", err))
	}
	if err := g.line.restore(); err != nil {
		watcher.stop()
		return fault(err)
	}
	err = becomeGetty(command)
	watcher.stop()
	if err := g.line.mute(); err != nil {
		return fault(err)
	}
	return fault(fmt.Errorf("cannot run %s: %w", command[0], err))
}

// becomeGetty runs the command in this process, with the line for standard output
// and error, as agetty has them where it stands alone. All else that is open is
// closed by it. It returns only with an error.
func becomeGetty(command []string) error {
	stderr, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return err
	}
	defer unix.Close(stderr)
	for fd := 1; fd <= 2; fd++ {
		if err := unix.Dup3(0, fd, 0); err != nil {
			return err
		}
	}
	// The journal is the standard error of the gate alone. Among systemd's credentials may
	// be agetty.autologin and login.noauth of util-linux 2.40: a login without a password.
	env := slices.DeleteFunc(os.Environ(), func(e string) bool {
		return strings.HasPrefix(e, "JOURNAL_STREAM=") || strings.HasPrefix(e, "CREDENTIALS_DIRECTORY=")
	})
	err = syscall.Exec(command[0], command, env)
	unix.Dup3(stderr, 2, 0)
	return err
}

// ErrorOutput returns stderr, or nil where it is the terminal that is also standard
// input: errors go to the journal, not to the line.
func ErrorOutput(stderr *os.File) *os.File {
	var in, out unix.Stat_t
	if unix.Fstat(0, &in) != nil || unix.Fstat(int(stderr.Fd()), &out) != nil || out.Mode&unix.S_IFMT == unix.S_IFCHR && in.Rdev == out.Rdev {
		return nil
	}
	return stderr
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
