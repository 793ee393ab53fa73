// Package serial answers `eicctl serial`: it turns the gate of the serial console
// on and off, and says how it stands.
package serial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/atomicfile"
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

	dropInDir  = "/etc/systemd/system/" + Unit + ".d"
	dropInName = "50-eic-serial-getty.conf"
	dropInPath = dropInDir + "/" + dropInName
)

// A System is the host that the gate is on.
type System struct {
	// Root is its root file system: / unless it is an image.
	Root string
	// Systemctl runs systemctl with arguments, where Root is /.
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

	gate bool // Program is the gate, or was it
}

// A Problem is what keeps the console from being opened, or from being locked.
type Problem struct {
	What string `json:"what"`
	Hint string `json:"hint"`

	locksOut bool // nothing would ever open the console
}

func (r *Report) problem(hint, format string, args ...any) {
	r.Problems = append(r.Problems, Problem{What: fmt.Sprintf(format, args...), Hint: hint})
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
	r.Enabled = err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.problem("run this as root", "the drop-in cannot be read: %v", err)
	}
	command, err := s.gettyCommand()
	switch {
	case err != nil:
		r.problem("the gate can stand in front of agetty only, where it asks for name and password", "%v", err)
	case r.Enabled && string(text) != dropInText(command):
		r.problem("run eicctl serial enable again", "the drop-in is not what the unit and this version would have it")
	}
	r.Getty = strings.TrimPrefix(command, "-")
	if _, err := os.Stat(s.path(Binary)); err != nil {
		hint := "install the package eic-agent again"
		if r.Enabled {
			hint += ", or run eicctl serial disable: as it is nobody can log in on the serial console"
		}
		r.problem(hint, "%s is missing", Binary)
	}
	s.checkConfig(&r)
	s.running(ctx, &r)
	if r.Enabled && r.Program != "" && !r.gate && !r.InUse {
		r.problem("systemctl restart "+Unit, "%s does not have the gate yet", Unit)
	}
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
		r.problem("run eicctl serial enable with --when-unreachable lock or open", "[serial] when_unreachable is not set: the console stays locked while the metadata service cannot be reached")
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
	if !cfg.Users.Permits(r.User) {
		r.lockOut(`let it be pushed for, such as with allow = ["i-*.port0", ...]`, "[users] lets no key be pushed for %s, so that nothing opens the console", r.User)
	}
	if !cfg.Users.Maps(r.User) {
		r.lockOut(`add a row with users = ["i-*.port0"]`, "no [[users.map]] row lets anybody push keys for %s, so that nothing opens the console", r.User)
	}
}

func limit(l config.Limit) string {
	if l.Duration.Duration == 0 {
		return ""
	}
	return l.Duration.String()
}

// loadConfig reads the host's configuration; a missing file is the default one.
func (s *System) loadConfig() (*config.Config, error) {
	return config.LoadIn(s.root(), config.DefaultPath)
}

// running finds out what runs on the port.
func (s *System) running(ctx context.Context, r *Report) {
	if !s.booted() {
		return
	}
	out, err := s.Systemctl(ctx, "show", "-p", "MainPID", Unit)
	if err != nil {
		r.problem("see systemctl status "+Unit, "systemctl does not say what runs on the port: %v", err)
		return
	}
	pid, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(out), "MainPID="))
	if err != nil || pid == 0 {
		return
	}
	comm, err := os.ReadFile(s.path("/proc/" + strconv.Itoa(pid) + "/comm"))
	if err != nil {
		return
	}
	r.Program = strings.TrimSpace(string(comm))
	r.gate = isGate(r.Program)
	if r.Program == "agetty" {
		// It was given the rest of a key's life.
		cmdline, err := os.ReadFile(s.path("/proc/" + strconv.Itoa(pid) + "/cmdline"))
		r.gate = err == nil && strings.Contains(string(cmdline), "agetty\x00--timeout\x00")
	}
	r.InUse = r.Program != "agetty" && !isGate(r.Program) && !strings.HasPrefix(r.Program, "(")
}

// isGate reports whether a process of that name is the gate: the kernel keeps 15
// bytes of it.
func isGate(name string) bool { return name == filepath.Base(Binary)[:15] }

// ErrChoice is what Enable returns where nobody has chosen what becomes of the
// console while the metadata service cannot be reached.
var ErrChoice = errors.New("what is to become of the console while the metadata service cannot be reached?")

// A Refusal is why nothing was changed.
type Refusal struct{ Problem }

func (r *Refusal) Error() string { return r.What }

func refuse(hint, format string, args ...any) error {
	return &Refusal{Problem{What: fmt.Sprintf(format, args...), Hint: hint}}
}

// Enable turns the gate on. whenUnreachable is "" where the configuration is to
// have it. The getty is started again only where nobody is logged in there, or
// with now. An error that is no *Refusal and not ErrChoice may leave part of it
// done; Enable can be repeated.
func (s *System) Enable(ctx context.Context, whenUnreachable string, now bool) (Report, error) {
	before := s.Status(ctx)
	command, err := s.gettyCommand()
	if err != nil {
		return before, refuse("the gate can stand in front of agetty only, where it asks for name and password; see systemctl cat "+Unit, "%v", err)
	}
	if _, err := os.Stat(s.path(Binary)); err != nil {
		return before, refuse("install the package eic-agent", "%s is missing: nobody could log in on the serial console", Binary)
	}
	cfg, err := s.loadConfig()
	if err != nil {
		return before, refuse("correct the file: as it is nothing would open the console", "%v", err)
	}
	for _, p := range before.Problems {
		if p.locksOut {
			return before, &Refusal{p}
		}
	}
	done, err := s.choose(cfg.Serial.WhenUnreachable, whenUnreachable)
	if err != nil {
		return before, err
	}
	changed := false
	text := []byte(dropInText(command))
	if old, err := os.ReadFile(s.path(dropInPath)); err != nil || !bytes.Equal(old, text) {
		if err := atomicfile.MkdirAll(filepath.Dir(s.dropIn()), 0o755); err != nil {
			return before, err
		}
		if err := replace(s.dropIn(), text, 0o644, os.Geteuid(), os.Getegid()); err != nil {
			return before, err
		}
		done = append(done, "wrote "+s.dropIn())
		changed = true
	}
	return s.apply(ctx, done, changed, now)
}

// Disable turns the gate off, and takes away what Enable wrote to the configuration.
func (s *System) Disable(ctx context.Context, now bool) (Report, error) {
	var done []string
	changed := false
	switch err := os.Remove(s.dropIn()); {
	case err == nil:
		done, changed = append(done, "removed "+s.dropIn()), true
		// Only if nothing else is in it.
		os.Remove(filepath.Dir(s.dropIn()))
	case !errors.Is(err, fs.ErrNotExist):
		return s.Status(ctx), err
	}
	forgotten, err := s.forget()
	if err != nil {
		return s.Status(ctx), err
	}
	return s.apply(ctx, append(done, forgotten...), changed, now)
}

// apply has systemd take over what was done. changed says that the unit is another
// one now.
func (s *System) apply(ctx context.Context, done []string, changed, now bool) (Report, error) {
	report := func(left []string, err error) (Report, error) {
		r := s.Status(ctx)
		r.Done, r.Left = done, left
		return r, err
	}
	if !s.booted() {
		return report(nil, nil)
	}
	if _, err := s.Systemctl(ctx, "daemon-reload"); err != nil {
		return report(nil, fmt.Errorf("systemctl daemon-reload: %w", err))
	}
	r := s.Status(ctx)
	restart := "systemctl restart " + Unit
	switch {
	case r.Program == "", !changed && (r.InUse || r.Enabled == r.gate):
		return report(nil, nil)
	case r.InUse && !now:
		return report([]string{restart + ", or nothing: it takes effect when whoever is logged in on " + tty + " leaves, whom a restart would throw out"}, nil)
	}
	if _, err := s.Systemctl(ctx, "restart", Unit); err != nil {
		return report(nil, fmt.Errorf("%s: %w", restart, err))
	}
	done = append(done, "restarted "+Unit)
	s.settle(ctx)
	return report(nil, nil)
}

// settle waits a moment for the restarted getty: until then its process has a name
// in parentheses, from systemd.
func (s *System) settle(ctx context.Context) {
	for range 20 {
		var r Report
		if s.running(ctx, &r); r.Program != "" && r.Program[0] != '(' {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}
