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
	state := "off: the getty asks everybody for a name"
	if r.Enabled {
		state = "on: the console is locked until a key is pushed for it"
	}
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-17s %s\n", name, value)
		}
	}
	row(r.TTY, state)
	if r.Enabled {
		row("drop-in", r.DropIn)
	}
	row("getty", r.Getty)
	program := r.Program
	if r.InUse {
		program += " (somebody is logged in, or about to)"
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
