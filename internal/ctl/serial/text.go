package serial

import (
	"fmt"
	"strings"

	"github.com/eic-agent/eic-agent/internal/ctl/output"
)

// Rows returns the report as one line.
func (r Report) Rows() []output.Row { return []output.Row{{Kind: "serial", Value: r}} }

// Text is the report for a person.
func (r Report) Text() string {
	var b strings.Builder
	for _, d := range r.Done {
		fmt.Fprintf(&b, "%s\n", d)
	}
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-17s %s\n", name, value)
		}
	}
	row(r.TTY, r.headline())
	if r.Enabled {
		row("drop-in", r.DropIn)
	}
	row("getty", r.Getty)
	program := r.Program
	if r.InUse {
		program += " (somebody is logged in or logging in)"
	}
	row("runs now", program)
	row("when_unreachable", r.WhenUnreachable)
	row("idle_timeout", r.IdleTimeout)
	row("max_session", r.MaxSession)
	row("pushed for", r.User)
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "problem: %s\n   hint: %s\n", p.What, p.Hint)
	}
	for _, l := range r.Left {
		fmt.Fprintf(&b, "left to do: %s\n", l)
	}
	return b.String()
}

func (r Report) headline() string {
	switch r.State {
	case StateLocked:
		return "on: the console is locked until a key is pushed for it"
	case StateOpen:
		return "on: opened, and asks for a name; locked again when nobody logs in, or when the session ends"
	case StateInUse:
		return "on: in use, and locked again when the session ends"
	case StatePending:
		return "on, but not locked yet: the getty was started before the gate was enabled"
	case StateOverridden:
		if r.obstructed {
			return "not in effect: the unit starts the gate, but a setting prevents it from working"
		}
		return "not locked: systemd starts another command"
	case StateStopped:
		return "on, but nothing serves it: systemd does not run " + Unit
	case StatePrepared:
		return "in place: systemd starts the gate when this system boots"
	case StateUnknown:
		return "unknown: systemd does not say what it starts"
	}
	return "off: the getty asks everyone for a name"
}
