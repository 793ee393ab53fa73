// Package doctor answers `eicctl doctor`: whether this host lets a pushed key log
// in, from sshd outwards, and if not, what to fix. It changes nothing, except that the
// probe writes one message to the journal.
//
// Every check ends in one of three ways: ok, problem or unknown. A check that depends on
// one that failed is skipped and its result unknown, so that one cause makes one problem.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/version"
)

// The ways in which a check ends.
const (
	OK      = "ok"
	Problem = "problem"
	Unknown = "could-not-tell"
)

const (
	// patience is how long an examination takes at most.
	patience = 20 * time.Second
	// maxText bounds a sentence, and maxFix a fix, in bytes.
	maxText = 700
	maxFix  = 4000
)

// A Report is an examination as it is shown: no text in it has control characters.
type Report struct {
	User     string    `json:"user,omitempty"` // whose login was looked at
	Time     time.Time `json:"time"`
	Version  string    `json:"version"`
	OK       int       `json:"ok"`
	Problems int       `json:"problems"`
	Unknown  int       `json:"could_not_tell"`
	Findings []Finding `json:"findings"`
}

// A Finding is the result of one check.
type Finding struct {
	Area string `json:"area"`
	// ID is the problem's, one of Catalog, or the check's own where there is
	// none. It never changes.
	ID     string `json:"id"`
	Status string `json:"status"`
	Text   string `json:"text"` // one sentence
	// Fix is a command, or a sentence where none would do; "" where there is
	// nothing to put right.
	Fix string `json:"fix,omitempty"`
	// Command says that the fix is one: for a shell of root on this host.
	Command bool `json:"fix_is_command,omitempty"`
}

// An Area is a group of checks. The areas are shown in this order.
type Area string

// The areas, from sshd outwards.
const (
	Server      Area = "sshd"
	Command     Area = "command"
	Login       Area = "user"
	Settings    Area = "configuration"
	Metadata    Area = "metadata service"
	Clock       Area = "clock"
	Instance    Area = "instance"
	Chain       Area = "signing chain"
	Records     Area = "pushed keys"
	Cache       Area = "cache"
	Journal     Area = "journal"
	SELinux     Area = "SELinux"
	Programs    Area = "programs"
	SerialPorts Area = "serial console"
)

// Options say what to look at.
type Options struct {
	User string // whose login is of interest, or ""
	From string // the address from which the user comes, or ""
	// ConfigPath is the agent's configuration, or "" for the one that sshd's
	// command names.
	ConfigPath string
}

// findings collects what the checks of one area come to.
type findings struct {
	area Area
	all  []Finding
}

func (f *findings) add(status, id string, fix fix, text string) {
	f.all = append(f.all, Finding{
		Area: string(f.area), ID: id, Status: status,
		Text: audit.Clean(text, maxText), Fix: audit.Clean(fix.text, maxFix), Command: fix.command && len(fix.text) <= maxFix,
	})
}

func (f *findings) ok(id, format string, args ...any) {
	f.add(OK, id, fix{}, fmt.Sprintf(format, args...))
}

func (f *findings) problem(p *Entry, fix fix, format string, args ...any) {
	f.add(Problem, p.ID, fix, fmt.Sprintf(format, args...))
}

// unknown is for what is unknown; the text says why.
func (f *findings) unknown(id, format string, args ...any) {
	f.add(Unknown, id, fix{}, fmt.Sprintf(format, args...))
}

// Run examines this host, within patience.
func Run(ctx context.Context, o Options) Report {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	now := time.Now()
	return newReport(o.User, now, examine(ctx, now, o))
}

func newReport(user string, now time.Time, all []Finding) Report {
	r := Report{
		User: audit.Clean(user, 256), Time: now.UTC(), Version: version.String(),
		Findings: all,
	}
	for _, f := range all {
		switch f.Status {
		case OK:
			r.OK++
		case Problem:
			r.Problems++
		default:
			r.Unknown++
		}
	}
	return r
}

// because is the text of a check that is skipped since another failed.
func because(why string) string {
	return "skipped: " + cmp.Or(why, "an earlier check failed")
}
