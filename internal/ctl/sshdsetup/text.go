package sshdsetup

import (
	"fmt"
	"strings"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/output"
	"github.com/eic-agent/eic-agent/internal/sshd"
)

// maxLine bounds one line of what is shown.
const maxLine = 1000

// Rows returns the report as one line.
func (r *Report) Rows() []output.Row { return []output.Row{{Kind: "sshd", Value: r}} }

// Text returns the report as lines for a person. Problem and Hint are not among
// them.
func (r *Report) Text() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s %s\n", name, audit.Clean(fmt.Sprintf(format, args...), maxLine))
	}
	line("sshd:", "%s", r.headline())
	if r.Sshd != nil {
		line("program:", "%s, %s", r.Sshd.Program, version(r.Sshd))
	}
	if e := r.Effective; e != nil && e.Command != "" {
		line("command:", "%s", e.Command)
		line("as user:", "%s", e.User)
		line("set in:", "%s", e.CommandFrom.Place())
		if e.UserFrom.File != e.CommandFrom.File {
			line("user in:", "%s", e.UserFrom.Place())
		}
	}
	for _, c := range r.Changed {
		line("changed:", "%s", c)
	}
	if r.Reload != "" {
		line("running:", "%s", r.Reload)
	}
	for _, w := range r.Warnings {
		line("note:", "%s", w)
	}
	return b.String()
}

func (r *Report) headline() string {
	switch {
	case r.Outcome == Enabled && len(r.elsewhere) > 0:
		return "runs eic-authkeys, but not at " + strings.Join(r.elsewhere, ", ")
	case r.Outcome == Enabled:
		return "runs eic-authkeys"
	case r.Outcome == Disabled && (r.Effective == nil || r.Effective.Owner == sshd.OwnerNone):
		return "does not run eic-authkeys, nor another AuthorizedKeysCommand"
	case r.Effective != nil:
		return "runs " + r.Effective.Owner.Describe()
	}
	return "unchanged"
}

func version(s *sshd.Server) string {
	if s.VersionText != "" {
		return s.VersionText
	}
	return "OpenSSH, unknown version"
}
