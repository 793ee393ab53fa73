package audit

import (
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
)

const (
	// journalSocket is where go-systemd sends to.
	journalSocket = "/run/systemd/journal/socket"
	// facility is authpriv.
	facility = "10"
	// patience is how long a process waits in all for a full queue of
	// journald.
	patience = 5 * time.Millisecond
)

// A system records events with journald, or with syslog where journald is
// missing or does not take them.
type system struct {
	program string

	mu       sync.Mutex // guards what follows
	patience time.Duration
	journald outlet
	syslog   outlet
}

func newSystem(program string) *system {
	return &system{
		program:  program,
		patience: patience,
		journald: outlet{limit: readySendLimit},
		syslog:   outlet{limit: sendLimit},
	}
}

func (s *system) core() zapcore.Core {
	return &core{LevelEnabler: zapcore.InfoLevel, write: s.write}
}

func (s *system) write(level zapcore.Level, message string, fs []zapcore.Field) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pri := priority(level)
	if s.toJournal(pri, message, fs) {
		return
	}
	line := syslogLine(message, fs)
	s.syslog.send(func() error { return sendSyslog(pri, s.program, line) })
}

// toJournal reports whether journald took the event.
//
// go-systemd can neither be given a deadline nor does its socket, which is not
// connected, wake up when there is room in the queue again. So it is asked to
// send only when there is room; the outlet is for the case that somebody else
// takes the last place.
func (s *system) toJournal(pri journal.Priority, message string, fs []zapcore.Field) bool {
	if s.journald.hung {
		return false
	}
	start := time.Now()
	ready := journalReady(s.patience)
	s.patience = max(0, s.patience-time.Since(start))
	if !ready {
		return false
	}
	vars := map[string]string{
		"SYSLOG_IDENTIFIER": s.program,
		"SYSLOG_FACILITY":   facility,
	}
	for _, f := range fs {
		vars[f.Key] = f.String
	}
	return s.journald.send(func() error { return journal.Send(message, pri, vars) })
}

// journalReady reports whether journald is there and has room for a datagram,
// or makes some within wait.
func journalReady(wait time.Duration) bool {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: journalSocket}); err != nil {
		return false
	}
	deadline := time.Now().Add(wait)
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		left := unix.NsecToTimespec(int64(max(0, time.Until(deadline))))
		_, err := unix.Ppoll(p, &left, nil)
		if err != unix.EINTR {
			return err == nil && p[0].Revents == unix.POLLOUT
		}
	}
}

// priority returns syslog's number for a level. Levels above error are there
// for what an administrator has to see at once.
func priority(level zapcore.Level) journal.Priority {
	switch level {
	case zapcore.DebugLevel:
		return journal.PriDebug
	case zapcore.InfoLevel:
		return journal.PriInfo
	case zapcore.WarnLevel:
		return journal.PriWarning
	case zapcore.ErrorLevel:
		return journal.PriErr
	}
	return journal.PriCrit
}
