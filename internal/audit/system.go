package audit

import (
	"strconv"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
)

const (
	// facility is authpriv.
	facility       = "10"
	facilityNumber = 10
	// hungFor is how long a daemon that hung is skipped.
	hungFor = 10 * time.Second
)

// A system records events with journald, or with syslog where journald is
// missing or does not take them.
type system struct {
	program string

	mu       sync.Mutex    // guards what follows
	patience time.Duration // slowTime
	deadline time.Time     // when this process has to be done; zero: never
	hungAt   time.Time     // when nobody took an event, last
	losses   losses
	journald progress
}

func newSystem(program string) *system { return &system{program: program, patience: slowTime} }

func (s *system) core() zapcore.Core {
	return &core{LevelEnabler: zapcore.InfoLevel, write: s.write}
}

func (s *system) write(level zapcore.Level, message string, fs []zapcore.Field) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lost := s.losses.take()
	if lost > 0 {
		n := strconv.Itoa(lost)
		fs = append(fs, zap.String(FieldLost, n))
		message += "; earlier messages that neither journald nor syslog accepted: " + n
	}
	if !s.handOver(priority(level), message, fs) {
		s.losses.add(lost + 1)
	}
}

// handOver reports whether journald or syslog took the event.
func (s *system) handOver(pri journal.Priority, message string, fs []zapcore.Field) bool {
	limit := s.limit(time.Now())
	err := deliver(journalSocket, journalRecord(pri, s.program, message, fs), limit, s.journald.seen)
	if err == nil {
		return true
	}
	packet := syslogPacket(pri, s.program, syslogLine(message, fs), time.Now())
	limit = s.limit(time.Now())
	if err == unix.EAGAIN {
		// Journald may be behind /dev/log, too: it has been waited for.
		limit = 0
	}
	if deliver(syslogSocket, packet, limit, nil) == nil {
		return true
	}
	s.hungAt = time.Now()
	return false
}

// limit returns how long an event may wait: a quarter of what is left of the
// deadline, so that several events keep it.
func (s *system) limit(now time.Time) time.Duration {
	if !s.hungAt.IsZero() && now.Sub(s.hungAt) < hungFor {
		return 0
	}
	if s.deadline.IsZero() {
		return s.patience
	}
	return max(0, min(s.patience, s.deadline.Sub(now)/4))
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
