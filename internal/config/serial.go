package config

import (
	"fmt"
	"time"
)

// The values of [serial] when_unreachable.
const (
	UnreachableLock = "lock"
	UnreachableOpen = "open"
)

// Serial is the configuration of the serial console. It does not affect sshd.
type Serial struct {
	// WhenUnreachable says what happens to the console while the metadata
	// service does not work: UnreachableLock or UnreachableOpen. It is ""
	// where the administrator has not chosen; then it stays locked.
	WhenUnreachable string `toml:"when_unreachable"`
	// IdleTimeout is how long a session may go without input, and MaxSession
	// how long it may last. Zero is without limit.
	IdleTimeout Limit `toml:"idle_timeout"`
	MaxSession  Limit `toml:"max_session"`
	// Port is the EC2 serial port number. EC2 has only port 0, so that
	// no key opens another.
	Port int `toml:"port"`
}

// A Limit is a Duration for which "" is none.
type Limit struct{ Duration }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Limit) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		l.Duration = Duration{}
		return nil
	}
	return l.Duration.UnmarshalText(text)
}

const (
	// minLimit is twice the time for which a session is warned.
	minLimit = 2 * time.Minute
	maxLimit = 7 * 24 * time.Hour
	maxPort  = 255
)

func (s *Serial) check() error {
	switch s.WhenUnreachable {
	case "", UnreachableLock, UnreachableOpen:
	default:
		return fmt.Errorf("serial.when_unreachable: %.40q is neither %q nor %q", s.WhenUnreachable, UnreachableLock, UnreachableOpen)
	}
	for _, l := range []struct {
		key   string
		value Limit
	}{{"serial.idle_timeout", s.IdleTimeout}, {"serial.max_session", s.MaxSession}} {
		switch d := l.value.Duration; {
		case d.broken != "":
			return fmt.Errorf("%s: %s is not a duration like \"15m\"", l.key, d.broken)
		case d.Duration != 0 && (d.Duration < minLimit || d.Duration > maxLimit):
			return fmt.Errorf("%s: %v is neither \"\" nor between %s and %s", l.key, d, Span(minLimit), Span(maxLimit))
		}
	}
	if s.Port < 0 || s.Port > maxPort {
		return fmt.Errorf("serial.port: %d is not between 0 and %d", s.Port, maxPort)
	}
	return nil
}
