package audit

import (
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"go.uber.org/zap/zapcore"
)

const (
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
	syslog   outlet
}

func newSystem(program string) *system {
	return &system{
		program:  program,
		patience: patience,
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
	start := time.Now()
	err := sendJournal(journalRecord(pri, s.program, message, fs), s.patience)
	s.patience = max(0, s.patience-time.Since(start))
	if err == nil {
		return
	}
	line := syslogLine(message, fs)
	s.syslog.send(func() error { return sendSyslog(pri, s.program, line) })
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
