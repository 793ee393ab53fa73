package console

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

// What Event.Event can be.
const (
	refused = "refused"
	started = "session-started"
	ended   = "session-ended"
	note    = "note"
)

const (
	maxEvents = 1024
	maxText   = 256 // of what a client chose
)

// An Event is what the serial console gateway has to say of a client. It
// is no part of the CloudTrail, which has the push.
type Event struct {
	Time     time.Time `json:"time"`
	Event    string    `json:"event"` // refused, session-started, session-ended or note
	Client   string    `json:"client"`
	Login    string    `json:"login,omitempty"`    // as the client gave it; its first 256 bytes
	Instance string    `json:"instance,omitempty"` // where there is one
	Key      string    `json:"key,omitempty"`      // SHA-256 fingerprint
	Caller   string    `json:"caller,omitempty"`   // who pushed it
	Request  string    `json:"request,omitempty"`  // of the push
	Detail   string    `json:"detail,omitempty"`   // why
}

func (e *Event) about(s *keyrecord.Statement) {
	if s != nil {
		e.Caller, e.Request = s.Caller, s.Request
	}
}

// String is one line.
func (e Event) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s gateway: %s", e.Time.UTC().Format(time.RFC3339), e.Event)
	for _, one := range []struct{ name, value string }{{"client", e.Client}, {"login", e.Login}, {"key", e.Key}, {"caller", e.Caller}, {"request", e.Request}} {
		if one.value != "" {
			fmt.Fprintf(&b, " %s=%s", one.name, api.Plain(one.value))
		}
	}
	if e.Detail != "" {
		fmt.Fprintf(&b, ": %s", e.Detail)
	}
	return b.String()
}

func (c *Console) event(e Event) {
	e.Time = c.o.World.Now()
	e.Login = strings.Clone(e.Login[:min(len(e.Login), maxText)])
	c.o.World.Lock()
	if len(c.events) >= maxEvents {
		c.events = slices.Delete(c.events, 0, 1)
	}
	c.events = append(c.events, e)
	c.o.World.Unlock()
	if c.o.Log == nil {
		return
	}
	c.logMu.Lock()
	defer c.logMu.Unlock()
	fmt.Fprintln(c.o.Log, e)
}

// Events returns the latest events, oldest first, at most 1024 of them.
func (c *Console) Events() []Event {
	c.o.World.Lock()
	defer c.o.World.Unlock()
	return slices.Clone(c.events)
}
