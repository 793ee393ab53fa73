// Package serial implements `eicctl serial`: it enables and disables the gate of the
// serial console, and reports its state.
package serial

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/instance"
	"github.com/eic-agent/eic-agent/internal/serialgate"
	"github.com/eic-agent/eic-agent/internal/sysroot"
)

const (
	tty = "ttyS0" // what EC2's port 0 is on Linux
	// Unit is the getty that the gate is put in front of.
	Unit = "serial-getty@" + tty + ".service"
	// Binary is where the gate is installed.
	Binary = "/usr/bin/eic-serial-getty"

	dropInDir = "/etc/systemd/system/" + Unit + ".d"
	// Of the drop-ins that set ExecStart systemd takes the last, by name: after
	// override.conf, as systemctl edit writes it, and most others.
	dropInName    = "zz-eic-serial-getty.conf"
	dropInPath    = dropInDir + "/" + dropInName
	oldDropInPath = dropInDir + "/50-eic-serial-getty.conf" // of earlier versions
)

// A System is the host that the gate is on.
type System struct {
	// Root is its root file system: / unless it is an image.
	Root string
	// Systemctl runs systemctl with arguments, where Root is /; nil for an image.
	Systemctl func(ctx context.Context, args ...string) (string, error)
}

func (s *System) root() string {
	if s.Root == "" {
		return "/"
	}
	return s.Root
}

// path returns where a file of the host is: no link leads out of Root.
func (s *System) path(name string) string { return sysroot.Path(s.root(), name) }

// entry returns where the directory entry of a file of the host is, which may be a
// link.
func (s *System) entry(name string) string { return sysroot.Entry(s.root(), name) }

func (s *System) dropIn() string { return s.entry(dropInPath) }

// booted reports whether systemd runs the host (sd_booted(3)).
func (s *System) booted() bool {
	st, err := os.Stat(s.path("/run/systemd/system"))
	return err == nil && st.IsDir() && s.Systemctl != nil
}

// A Report says how the gate stands, and what was done.
type Report struct {
	TTY     string `json:"tty"`
	Enabled bool   `json:"enabled"` // the drop-in is in place
	State   string `json:"state"`   // what that comes to: one of the states
	DropIn  string `json:"drop_in"`
	// Getty is the command that the gate becomes, as the distribution has it.
	Getty           string `json:"getty,omitempty"`
	WhenUnreachable string `json:"when_unreachable,omitempty"`
	IdleTimeout     string `json:"idle_timeout,omitempty"`
	MaxSession      string `json:"max_session,omitempty"`
	Instance        string `json:"instance,omitempty"`
	User            string `json:"user,omitempty"` // for whom a key is to be pushed
	// Program is what runs on the port now, and InUse whether somebody is
	// logged in there or about to.
	Program  string    `json:"program,omitempty"`
	InUse    bool      `json:"in_use"`
	Problems []Problem `json:"problems"`
	Done     []string  `json:"done,omitempty"`
	// Left is what remains to be done.
	Left []string `json:"left,omitempty"`

	gate       bool   // Program is the gate, or was it
	failed     string // why the drop-in does not lock the console
	obstructed bool   // systemd starts the gate all the same
}

// A Problem is what keeps the console from being opened, or from being locked.
type Problem struct {
	What string `json:"what"`
	Hint string `json:"hint"`

	locksOut bool // nothing would ever open the console
	open     bool // something else than the gate has the console
	dropIn   bool // the drop-in is not as enable wrote it
}

func (r *Report) problem(hint, format string, args ...any) {
	r.Problems = append(r.Problems, Problem{What: fmt.Sprintf(format, args...), Hint: hint})
}

// opened is problem for something else than the gate that has the console.
func (r *Report) opened(hint, format string, args ...any) {
	r.problem(hint, format, args...)
	r.Problems[len(r.Problems)-1].open = true
}

// changed is problem for a drop-in that is not as enable wrote it.
func (r *Report) changed(format string, args ...any) {
	r.problem("run eicctl serial enable again", format, args...)
	r.Problems[len(r.Problems)-1].dropIn = true
}

// Changed returns how the drop-in differs from what eicctl serial enable wrote. One that
// somebody else wrote is ignored.
func (r Report) Changed() (Problem, bool) {
	i := slices.IndexFunc(r.Problems, func(p Problem) bool { return p.dropIn })
	if i < 0 {
		return Problem{}, false
	}
	return r.Problems[i], true
}

// lockOut is problem for one with which nothing would ever open the console.
func (r *Report) lockOut(hint, format string, args ...any) {
	r.problem(hint, format, args...)
	r.Problems[len(r.Problems)-1].locksOut = true
}

// Status says how the gate stands.
func (s *System) Status(ctx context.Context) Report {
	r := Report{TTY: tty, DropIn: s.dropIn(), Problems: []Problem{}}
	text, err := os.ReadFile(s.path(dropInPath))
	if errors.Is(err, fs.ErrNotExist) {
		if text, err = os.ReadFile(s.path(oldDropInPath)); err == nil {
			r.DropIn = s.entry(oldDropInPath)
		}
	}
	r.Enabled = err == nil
	if errors.Is(err, fs.ErrNotExist) && s.checks() {
		r.opened("run eicctl serial enable again, or eicctl serial disable", "the console is not locked: %s, which eicctl serial enable wrote, is missing", r.DropIn)
		r.Problems[len(r.Problems)-1].dropIn = true
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.problem("run this as root", "the drop-in cannot be read: %v", err)
	}
	command, err := s.gettyCommand()
	switch {
	case err != nil:
		r.problem("the gate works only with an agetty that asks for name and password", "%v", err)
	case r.Enabled && !strings.Contains(string(text), writtenBy):
		r.problem("run eicctl serial enable again", "eicctl serial enable did not write %s", r.DropIn)
	case r.Enabled && !strings.Contains(string(text), " -- "+strings.TrimPrefix(command.Value, "-")+"\n"):
		r.changed("the gate starts a getty other than the one in %s", command.place())
	case r.Enabled && string(text) != dropInText(command.Value):
		r.changed("the drop-in differs from what this version writes")
	}
	r.Getty = strings.TrimPrefix(command.Value, "-")
	if _, err := os.Stat(s.path(Binary)); err != nil {
		hint := "install the package eic-agent"
		if r.Enabled {
			hint += " again, or run eicctl serial disable: as it is nobody can log in on the serial console"
		}
		r.problem(hint, "%s is missing: eic-agent is not installed", Binary)
	}
	s.checkConfig(&r)
	s.compare(ctx, &r)
	return r
}

// checkConfig looks for what in the configuration keeps the console locked.
func (s *System) checkConfig(r *Report) {
	cfg, err := s.loadConfig()
	if err != nil {
		r.problem("correct the file", "%v", err)
		return
	}
	r.WhenUnreachable = cfg.Serial.WhenUnreachable
	if r.Enabled && r.WhenUnreachable == "" {
		r.problem("run eicctl serial enable with --when-unreachable lock or open", "[serial] when_unreachable is not set, so nothing opens the console while the metadata service is unavailable")
	}
	r.IdleTimeout, r.MaxSession = limit(cfg.Serial.IdleTimeout), limit(cfg.Serial.MaxSession)
	if cfg.Serial.Port != 0 {
		r.lockOut("take port out of [serial]", "[serial] port is %d, and EC2 has no serial port but 0", cfg.Serial.Port)
	}
	id, err := instance.Identify(os.DirFS(s.root()))
	switch {
	case cfg.Instance.Attest == config.AttestIMDS || err == nil && id == "":
		return // the metadata service will tell
	case err != nil:
		if s.booted() {
			r.lockOut("the gate cannot be opened here", "%v", err)
		}
		return
	}
	r.Instance, r.User = id, serialgate.User(id, 0)
	if !cfg.Users.Enforce {
		return
	}
	if !cfg.Users.Permits(r.User) {
		r.lockOut(`allow it, for example with allow = ["i-*.port0", ...]`, "[users] denies %s, so nothing can open the console", r.User)
	}
	if !cfg.Users.Maps(r.User) {
		r.lockOut(`add a row with users = ["i-*.port0"]`, "no [[users.map]] row allows keys for %s, so nothing can open the console", r.User)
	}
}

func limit(l config.Limit) string {
	if l.Duration.Duration == 0 {
		return ""
	}
	return l.Duration.Duration.String()
}

// loadConfig reads the host's configuration; a missing file is the default one.
func (s *System) loadConfig() (*config.Config, error) {
	return config.LoadIn(s.root(), config.DefaultPath)
}
