package emulator

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

// What GatewayEvent.Event can be.
const (
	gatewayRefused = "refused"
	gatewayStarted = "session-started"
	gatewayEnded   = "session-ended"
	gatewayNote    = "note"
)

const (
	maxGatewayEvents = 1024
	maxGatewayText   = 256 // of what a client chose
)

// A GatewayEvent is what the serial console gateway has to say of a client. It
// is no part of the CloudTrail, which has the push.
type GatewayEvent struct {
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

func (e *GatewayEvent) about(s *keyrecord.Statement) {
	if s != nil {
		e.Caller, e.Request = s.Caller, s.Request
	}
}

// String is one line.
func (e GatewayEvent) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s gateway: %s", e.Time.UTC().Format(time.RFC3339), e.Event)
	for _, one := range []struct{ name, value string }{{"client", e.Client}, {"login", e.Login}, {"key", e.Key}, {"caller", e.Caller}, {"request", e.Request}} {
		if one.value != "" {
			fmt.Fprintf(&b, " %s=%s", one.name, plain(one.value))
		}
	}
	if e.Detail != "" {
		fmt.Fprintf(&b, ": %s", e.Detail)
	}
	return b.String()
}

// plain quotes what could be taken for something else.
func plain(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == '"' || r >= 0x7f }) {
		return fmt.Sprintf("%+q", text)
	}
	return text
}

// An eventLog keeps the latest events.
type eventLog struct {
	all []GatewayEvent
}

func (s *Server) gatewayEvent(e GatewayEvent) {
	e.Time = s.now()
	e.Login = strings.Clone(e.Login[:min(len(e.Login), maxGatewayText)])
	s.world.Lock()
	log := &s.gateway.events
	if len(log.all) >= maxGatewayEvents {
		log.all = slices.Delete(log.all, 0, 1)
	}
	log.all = append(log.all, e)
	s.world.Unlock()
	if s.options.GatewayLog == nil {
		return
	}
	s.gatewayLogMu.Lock()
	defer s.gatewayLogMu.Unlock()
	fmt.Fprintln(s.options.GatewayLog, e)
}

// GatewayEvents returns the latest events of the serial console gateway, oldest
// first, at most 1024 of them.
func (s *Server) GatewayEvents() []GatewayEvent {
	if s.gateway == nil {
		return nil
	}
	s.world.Lock()
	defer s.world.Unlock()
	return slices.Clone(s.gateway.events.all)
}
