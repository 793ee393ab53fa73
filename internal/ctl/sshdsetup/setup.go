// Package sshdsetup has sshd use eic-authkeys as its AuthorizedKeysCommand, and
// takes that back: eicctl sshd.
package sshdsetup

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/sshd"
	"github.com/eic-agent/eic-agent/internal/sysroot"
)

// Options say what to do on which system.
type Options struct {
	Root    string // of the system; "/" is the running one
	Program string // eic-authkeys
	Config  string // its configuration
	User    string // to run it as
	Migrate bool   // retire AWS's package's command
}

// Outcomes of enable and disable, and states that status tells.
const (
	Enabled     = "enabled"
	Disabled    = "disabled"
	Conflict    = "conflict"    // another command is configured, or would override ours
	Refused     = "refused"     // something that is needed is missing; nothing was changed
	Failed      = "failed"      // the changes were rolled back
	Pending     = "pending"     // it is done, and takes effect once sshd is restarted
	Unknown     = "unknown"     // sshd's settings are unknown
	Interrupted = "interrupted" // an enable was interrupted: run it again, or disable
)

// A Report is what eicctl sshd has to say.
type Report struct {
	Outcome string `json:"outcome"`
	// Problem says what is in the way, and Hint what to do.
	Problem string   `json:"problem,omitempty"`
	Hint    []string `json:"hint,omitempty"`
	// Changed are the paths that were changed, with what was done.
	Changed []string `json:"changed,omitempty"`
	// Reload says what the running sshd was made to do.
	Reload   string   `json:"reload,omitempty"`
	Warnings []string `json:"warnings,omitempty"`

	Sshd      *sshd.Server    `json:"sshd,omitempty"`
	Effective *sshd.Effective `json:"effective,omitempty"`
	// doubt is why what is in effect need not be what the running sshd uses.
	doubt     string
	doubtHint []string
	kept      bool // the record of enable is still needed
	// elsewhere are the addresses and ports at which anybody gets another command than
	// what is in effect.
	elsewhere []string

	// Overrides are settings in Match blocks that set another command for some
	// connections.
	Overrides []sshd.Setting `json:"overrides,omitempty"`
}

// refuse returns a report that nothing was changed.
func refuse(outcome, problem string, hint ...string) *Report {
	hint = slices.DeleteFunc(hint, func(line string) bool { return line == "" })
	return &Report{Outcome: outcome, Problem: problem, Hint: hint}
}

func (o Options) path(path string) string { return sysroot.Path(o.Root, path) }

// command is what sshd is to run: with the tokens that the chain needs.
func (o Options) command(c *config.Config) string {
	command := o.Program
	if o.Config != config.DefaultPath {
		command += " --config " + o.Config
	}
	command += " %u %f"
	for _, line := range c.Chain.Command {
		if strings.Contains(line, "%t") || strings.Contains(line, "%k") {
			return command + " %t %k"
		}
	}
	return command
}

// loadConfig reads the agent's configuration on the system.
func (o Options) loadConfig() (*config.Config, error) {
	return config.LoadIn(o.Root, o.Config)
}

// Status says which command sshd uses.
func Status(ctx context.Context, o Options) *Report {
	server, err := sshd.Find(ctx, o.Root)
	if err != nil {
		return refuse(Refused, err.Error(), "install the OpenSSH server")
	}
	r := &Report{Sshd: server}
	if os.Geteuid() != 0 && server.Live() {
		r.Warnings = append(r.Warnings, "reading the running sshd's command line requires root; only the files were read")
	}
	if err := r.look(ctx); err != nil {
		r.Outcome, r.Problem = Failed, err.Error()
		return r
	}
	r.judge()
	if record, err := loadRecord(o.path(StateDir)); err == nil && record != nil && record.Phase == phaseChanging {
		r.Outcome = Interrupted
		r.Problem = "an eicctl sshd enable was interrupted"
		r.Hint = []string{"eicctl sshd enable starts again, eicctl sshd disable rolls it back"}
	}
	return r
}

// judge says what follows of what look has found.
func (r *Report) judge() {
	switch {
	case r.doubt != "":
		r.Outcome, r.Problem, r.Hint = Unknown, r.doubt, r.doubtHint
	case r.Effective.Owner == sshd.OwnerNone:
		r.Outcome = Disabled
	case r.Effective.Owner == sshd.OwnerAgent:
		r.Outcome = Enabled
	default:
		r.Outcome = Conflict
		r.Problem = fmt.Sprintf("sshd uses %s: %s", r.Effective.Owner.Describe(), r.Effective.Command)
	}
}

// look asks sshd what is in effect, for anybody and inside each Match block, and warns of
// what is not as it seems.
func (r *Report) look(ctx context.Context) error {
	samples, err := r.Sshd.Survey(ctx)
	if err != nil {
		return err
	}
	r.Effective = &samples[0].Effective
	files, err := r.Sshd.Config()
	if err != nil {
		return err
	}
	r.Overrides = files.Overrides()
	for _, s := range r.Overrides {
		if s.Keyword == sshd.KeywordCommand && s.Value != r.Effective.Command {
			r.warn("sshd runs another command for %s: %s (%s)", whoHas(samples, s), s.Value, s.Place())
		}
		if s.Keyword == sshd.KeywordCommandUser && s.Value != r.Effective.User {
			r.warn("sshd runs the command as another user for %s: %s (%s)", whoHas(samples, s), s.Value, s.Place())
		}
	}
	for _, one := range samples[1:] {
		switch e := one.Effective; {
		case one.Err != nil || e.Command == r.Effective.Command && e.User == r.Effective.User:
		case one.Anybody:
			r.elsewhere = append(r.elsewhere, e.Connection.At())
			r.warn("%s", one.Describe())
		case one.Override.IsZero():
			r.warn("%s", one.Describe())
		}
	}
	r.checkRunning(ctx, files)
	for _, other := range r.Sshd.Others {
		r.lookAtOther(ctx, other)
	}
	if enforce, err := os.ReadFile("/sys/fs/selinux/enforce"); err == nil && string(enforce) == "1" && r.Sshd.Live() {
		r.warn("SELinux is enforcing: AuthorizedKeysCommand cannot reach the metadata service unless eic-agent's policy module or the boolean authlogin_yubikey allows it")
	}
	return nil
}

func (r *Report) warn(format string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
}

// whoHas names a connection for which sshd said that a line sets something.
func whoHas(samples []sshd.Sample, s sshd.Setting) string {
	for _, one := range samples {
		for _, from := range []sshd.Setting{one.Effective.CommandFrom, one.Effective.UserFrom} {
			if one.Err == nil && from.Keyword == s.Keyword && from.File == s.File && from.Line == s.Line && one.Effective.Connection != (sshd.Connection{}) {
				return one.Effective.Connection.String()
			}
		}
	}
	return "connections that eicctl could not ask about, if there are any"
}

// checkRunning compares the running sshd with its files.
func (r *Report) checkRunning(ctx context.Context, files *sshd.Config) {
	l, running := r.Sshd.Listener()
	if !running {
		return
	}
	if doubt := l.Doubt(); doubt != "" {
		if err := l.Greets(ctx); err != nil {
			r.doubt = fmt.Sprintf("%s, and it does not accept connections: %v", doubt, err)
			r.doubtHint = []string{"restart it: " + r.Sshd.RestartCommand()}
			if l.Replaced == "" {
				r.doubtHint = append(r.doubtHint, "if that does not help, reinstall sshd's package")
			}
			return
		}
		if l.Replaced != "" {
			r.warn("%s; restart it: %s", doubt, r.Sshd.RestartCommand())
		}
	}
	if !sameValues(commandOptions(r.Sshd.Options), commandOptions(r.Sshd.UnitOptions)) {
		r.warn("the running sshd was started with another command than its unit now has; the change takes effect when sshd is restarted")
	}
	if r.Effective.CommandFrom.Option != "" && r.Effective.UserFrom.Option != "" {
		return // its command line says it, whatever files it has read
	}
	read, err := r.Sshd.LastRead(r.Effective.Values)
	if err != nil {
		return
	}
	path, when := files.ChangedAfter(r.Sshd.Root, read.At)
	if path == "" {
		return
	}
	const form = "2006-01-02T15:04:05.00Z07:00"
	r.doubt = fmt.Sprintf("sshd's settings are unknown: %s changed at %s, after sshd (process %d) read its configuration at %s", path, when.UTC().Format(form), l.PID, read.At.UTC().Format(form))
	if !read.Exact {
		r.doubt = fmt.Sprintf("sshd's settings are unknown: %s changed at %s, and without a PidFile it is unknown whether sshd (process %d) was reloaded since", path, when.UTC().Format(form), l.PID)
	}
	r.doubtHint = []string{"after a reload, sshd uses: " + commandText(*r.Effective), "reload it: " + r.Sshd.ReloadCommand()}
}

func commandText(e sshd.Effective) string {
	if e.Command == "" {
		return "no command"
	}
	return e.Command
}

// lookAtOther says what a further sshd uses, for anybody and where that differs.
func (r *Report) lookAtOther(ctx context.Context, other *sshd.Server) {
	samples, err := other.Survey(ctx)
	if err != nil {
		r.warn("the settings of another sshd, %s, are %v", other.Name(), err)
		return
	}
	e := samples[0].Effective
	if e.Owner == sshd.OwnerNone {
		r.warn("another sshd, %s, has no AuthorizedKeysCommand", other.Name())
	} else {
		r.warn("another sshd, %s, runs %s: %s (%s)", other.Name(), e.Owner.Describe(), e.Command, e.CommandFrom.Place())
	}
	for _, one := range samples[1:] {
		if now := one.Effective; one.Err == nil && (now.Command != e.Command || now.Command != "" && now.User != e.User) {
			r.warn("another sshd, %s, for %s", other.Name(), one.Describe())
		}
	}
}

// commandOptions are the options that set a command or its user.
func commandOptions(options []sshd.Setting) []sshd.Setting {
	return slices.DeleteFunc(slices.Clone(options), func(s sshd.Setting) bool {
		return s.Keyword != sshd.KeywordCommand && s.Keyword != sshd.KeywordCommandUser
	})
}

func sameValues(a, b []sshd.Setting) bool {
	return slices.EqualFunc(a, b, func(a, b sshd.Setting) bool { return a.Keyword == b.Keyword && a.Value == b.Value })
}
