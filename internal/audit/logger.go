package audit

import (
	"os"
	"slices"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// A Logger records events. Its methods may be called from several goroutines.
type Logger struct {
	zap    *zap.Logger
	system *system
}

// New returns a Logger for program. Nothing is opened
// before the first event.
//
// Events other than NothingToSay go to journald, or to syslog where journald
// does not take them. In addition stderr gets one line "program: message" for
// each event when it is a terminal, and for each RunFailed when it is not. A
// nil stderr gets nothing, nor does one that leads to the journal.
func New(program string, stderr *os.File) *Logger {
	program = Clean(program, maxValue)
	system := newSystem(program)
	cores := []zapcore.Core{system.core()}
	if stderr != nil {
		cores = append(cores, newPrinter(program, stderr).core())
	}
	return &Logger{zap.New(zapcore.NewTee(cores...)), system}
}

// FinishBy sets the deadline for logging: each event waits for a
// slow daemon for a part of the remaining time.
func (l *Logger) FinishBy(deadline time.Time) {
	l.system.mu.Lock()
	defer l.system.mu.Unlock()
	l.system.deadline = deadline
}

// CountLosses keeps the count of lost events in the file at path, for
// the next event of any process: its EIC_LOST. Only this account may be able to
// write the file's directory. Without it the count ends with the process.
func (l *Logger) CountLosses(path string) {
	l.system.mu.Lock()
	defer l.system.mu.Unlock()
	l.system.losses.path = path
}

// Log records e. It reports no error. An event that neither journald nor syslog
// takes in time is lost and counted, see CountLosses.
func (l *Logger) Log(e Event) {
	level := e.Kind.level()
	if !l.zap.Core().Enabled(level) {
		return
	}
	l.zap.Log(level, Clean(e.Message, maxMessage), Encode(e)...)
}

// A core hands each enabled entry to write.
type core struct {
	zapcore.LevelEnabler
	context []zapcore.Field
	write   func(zapcore.Level, string, []zapcore.Field)
}

func (c *core) With(fs []zapcore.Field) zapcore.Core {
	return &core{c.LevelEnabler, slices.Concat(c.context, fs), c.write}
}

func (c *core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c *core) Write(e zapcore.Entry, fs []zapcore.Field) error {
	c.write(e.Level, e.Message, slices.Concat(c.context, fs))
	return nil
}

func (c *core) Sync() error { return nil }
