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
	Conflict    = "conflict"    // another command is in use, or would be in the way
	Refused     = "refused"     // something that is needed is missing; nothing was changed
	Failed      = "failed"      // what was changed was taken back
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
	// Overrides are settings in Match blocks that have another command for some
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
		return refuse(Refused, err.Error(), "install OpenSSH's server")
	}
	r := &Report{Sshd: server}
	if os.Geteuid() != 0 && server.Live() {
		r.Warnings = append(r.Warnings, "only root can see how the running sshd was started, and ask it: this is what the files say")
	}
	if err := r.look(ctx); err != nil {
		r.Outcome, r.Problem = Failed, err.Error()
		return r
	}
	switch r.Effective.Owner {
	case sshd.OwnerNone:
		r.Outcome = Disabled
	case sshd.OwnerAgent:
		r.Outcome = Enabled
	default:
		r.Outcome = Conflict
		r.Problem = fmt.Sprintf("sshd uses %s: %s", r.Effective.Owner.Describe(), r.Effective.Command)
	}
	if record, err := loadRecord(o.path(StateDir)); err == nil && record != nil && record.Phase == phaseChanging {
		r.Outcome = Interrupted
		r.Problem = "an eicctl sshd enable was interrupted"
		r.Hint = []string{"eicctl sshd enable starts anew, eicctl sshd disable takes back what was done"}
	}
	return r
}

// look fills in what is in effect, and warns of what is not as it seems.
func (r *Report) look(ctx context.Context) error {
	effective, err := r.Sshd.Effective(ctx, sshd.Connection{})
	if err != nil {
		return err
	}
	r.Effective = &effective
	files, err := r.Sshd.Config()
	if err != nil {
		return err
	}
	r.Overrides = files.Overrides()
	for _, s := range r.Overrides {
		if s.Keyword == sshd.KeywordCommand {
			r.Warnings = append(r.Warnings, fmt.Sprintf("for some connections another command is used: %s (%s)", s.Value, s.Place()))
		}
	}
	unit := commandOptions(r.Sshd.UnitOptions)
	if running := commandOptions(r.Sshd.Options); len(r.Sshd.Listeners) > 0 && !sameValues(running, unit) {
		r.Warnings = append(r.Warnings, "the running sshd was started with another command than its unit has now: it changes when sshd is restarted")
	}
	for _, l := range r.Sshd.Listeners[min(1, len(r.Sshd.Listeners)):] {
		r.Warnings = append(r.Warnings, fmt.Sprintf("a second sshd runs, process %d, which is not looked at: %s", l.PID, l.Args))
	}
	if enforce, err := os.ReadFile("/sys/fs/selinux/enforce"); err == nil && string(enforce) == "1" && r.Sshd.Live() {
		r.Warnings = append(r.Warnings, "SELinux is enforcing: it keeps what sshd runs from the metadata service unless a policy module for eic-agent, or the boolean authlogin_yubikey, allows it")
	}
	return nil
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
