package serial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/eic-agent/eic-agent/internal/atomicfile"
	"github.com/eic-agent/eic-agent/internal/config"
)

// ErrChoice is what Enable returns where nobody has chosen what becomes of the
// console while the metadata service cannot be reached.
var ErrChoice = errors.New("choose what happens to the console while the metadata service is unreachable")

// A Refusal is why nothing was changed.
type Refusal struct{ Problem }

func (r *Refusal) Error() string { return r.What }

func refuse(hint, format string, args ...any) error {
	return &Refusal{Problem{What: fmt.Sprintf(format, args...), Hint: hint}}
}

// Enable turns the gate on. whenUnreachable is "" where the configuration is to
// have it. The getty is started again only where nobody is logged in there, or
// with now. Where systemd would start something else in the end, the files are put
// back; the error says so. Enable can be repeated.
func (s *System) Enable(ctx context.Context, whenUnreachable string, now bool) (Report, error) {
	before := s.Status(ctx)
	command, cfg, err := s.check(&before)
	if err != nil {
		return before, err
	}
	saved, err := s.save(dropInPath, oldDropInPath, checkLink, settingsPath, config.DefaultPath)
	if err != nil {
		return before, err
	}
	done, err := s.choose(cfg.Serial.WhenUnreachable, whenUnreachable)
	if refusal := (*Refusal)(nil); errors.Is(err, ErrChoice) || errors.As(err, &refusal) {
		return before, err
	}
	changed := false
	if err == nil {
		var wrote []string
		wrote, changed, err = s.writeDropIn(dropInText(command))
		done = append(done, wrote...)
	}
	if err == nil {
		var linked []string
		linked, err = s.linkCheck()
		done = append(done, linked...)
	}
	var r Report
	if err == nil {
		r, err = s.apply(ctx, done, changed, now)
	}
	if err != nil {
		err = s.rollBack(ctx, saved, err)
		r = s.Status(ctx)
	}
	return r, err
}

// hasSystemd reports whether systemd is installed.
func (s *System) hasSystemd() bool {
	for _, path := range []string{"/usr/lib/systemd/systemd", "/lib/systemd/systemd"} {
		if _, err := os.Stat(s.path(path)); err == nil {
			return true
		}
	}
	return false
}

// check says why the gate is not to be turned on, or what it has to become.
func (s *System) check(before *Report) (command string, cfg *config.Config, err error) {
	getty, err := s.gettyCommand()
	if errors.Is(err, errNoUnit) && !s.hasSystemd() {
		return "", nil, refuse("start eic-serial-getty from the configuration of the init system that is there: see eic-serial-getty(8)",
			"this system does not use systemd: there is no %s to change", Unit)
	}
	if err != nil {
		return "", nil, refuse("the gate works only with an agetty that asks for name and password; see systemctl cat "+Unit, "%v", err)
	}
	if _, err := os.Stat(s.path(Binary)); err != nil {
		return "", nil, refuse("install the package eic-agent", "%s is missing: nobody could log in on the serial console", Binary)
	}
	if cfg, err = s.loadConfig(); err != nil {
		return "", nil, refuse("correct the file: otherwise nothing can open the console", "%v", err)
	}
	for _, p := range before.Problems {
		if p.locksOut {
			return "", nil, &Refusal{p}
		}
	}
	files, err := s.unitFiles()
	if err != nil {
		return "", nil, err
	}
	later, err := s.after(files)
	if err != nil {
		return "", nil, err
	}
	if len(later) > 0 {
		line := later[len(later)-1]
		return "", nil, refuse(fmt.Sprintf("rename it so that it sorts before %s, or take the line out of it", dropInName),
			"%s sets %s, and systemd reads it after the drop-in of the gate", line.place(), line.line())
	}
	if other := s.inPlace(); other != "" {
		return "", nil, refuse("remove it", "%s stands in the place of the drop-in of the gate", other)
	}
	e, err := s.read(slices.DeleteFunc(files, isOwn))
	if err != nil {
		return "", nil, err
	}
	for _, key := range []string{"StandardInput", "Restart"} { // which the drop-in sets
		delete(e.last, key)
	}
	for _, p := range e.obstacles() {
		if p.locksOut {
			return "", nil, &Refusal{p}
		}
	}
	return getty.Value, cfg, nil
}

func (s *System) writeDropIn(text string) (done []string, changed bool, err error) {
	if old, err := os.ReadFile(s.path(dropInPath)); err != nil || string(old) != text {
		if err := atomicfile.MkdirAll(filepath.Dir(s.dropIn()), 0o755); err != nil {
			return nil, false, err
		}
		if err := replace(s.dropIn(), []byte(text), 0o644, os.Geteuid(), os.Getegid()); err != nil {
			return nil, false, err
		}
		done, changed = append(done, "wrote "+s.dropIn()), true
	}
	switch err := os.Remove(s.entry(oldDropInPath)); {
	case err == nil:
		done, changed = append(done, "removed "+s.entry(oldDropInPath)), true
	case !errors.Is(err, fs.ErrNotExist):
		return done, changed, err
	}
	return done, changed, nil
}

// Disable turns the gate off, and takes away what Enable wrote to the configuration.
func (s *System) Disable(ctx context.Context, now bool) (Report, error) {
	var done []string
	changed := false
	for _, path := range []string{dropInPath, oldDropInPath, checkLink} {
		switch err := os.Remove(s.entry(path)); {
		case err == nil:
			done = append(done, "removed "+s.entry(path))
			changed = changed || path != checkLink
			// Only if nothing else is in it.
			os.Remove(filepath.Dir(s.entry(path)))
		case !errors.Is(err, fs.ErrNotExist):
			return s.Status(ctx), err
		}
	}
	forgotten, err := s.forget()
	if err != nil {
		return s.Status(ctx), err
	}
	r, err := s.apply(ctx, append(done, forgotten...), changed, now)
	if !r.Enabled {
		r.Problems = []Problem{} // of a gate that there is not
	}
	return r, err
}

// apply has systemd take over what was done, and reads back whether it did. changed says
// that the unit is another one now.
func (s *System) apply(ctx context.Context, done []string, changed, now bool) (Report, error) {
	report := func(left []string, err error) (Report, error) {
		r := s.Status(ctx)
		r.Done, r.Left = done, left
		if err == nil && r.failed != "" {
			err = errors.New(r.failed)
		}
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
	case r.failed != "", r.Program == "", !changed && (r.InUse || r.Enabled == r.gate):
		return report(nil, nil)
	case r.InUse && !now:
		return report([]string{restart + " (ends the session on " + tty + "), or wait: the change takes effect when that session ends"}, nil)
	}
	if _, err := s.Systemctl(ctx, "restart", Unit); err != nil {
		return report(nil, fmt.Errorf("%s: %w", restart, err))
	}
	done = append(done, "restarted "+Unit)
	s.settle(ctx)
	return report(nil, nil)
}

// settle waits up to 10 s for the restarted getty: until then its process has a name
// in parentheses, from systemd.
func (s *System) settle(ctx context.Context) {
	for range 200 {
		var r Report
		if s.running(ctx, &r); r.Program != "" && r.Program[0] != '(' {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// A kept is a file as it was; text is nil where there was none.
type kept struct {
	path     string
	dir      string // the nearest directory that was there
	link     string // what it was a link to
	text     []byte
	mode     fs.FileMode
	uid, gid int
}

func (s *System) save(paths ...string) ([]kept, error) {
	var list []kept
	for _, path := range paths {
		k := kept{path: s.entry(path), dir: filepath.Dir(s.entry(path))}
		for k.dir != "/" {
			if _, err := os.Stat(k.dir); err == nil {
				break
			}
			k.dir = filepath.Dir(k.dir)
		}
		st, err := os.Lstat(k.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case st.Mode().Type() == fs.ModeSymlink:
			if k.link, err = os.Readlink(k.path); err != nil {
				return nil, err
			}
		default:
			if k.text, err = os.ReadFile(k.path); err != nil {
				return nil, err
			}
			k.mode = st.Mode().Perm()
			if system, ok := st.Sys().(*syscall.Stat_t); ok {
				k.uid, k.gid = int(system.Uid), int(system.Gid)
			}
		}
		list = append(list, k)
	}
	return list, nil
}

// rollBack puts the files back as they were, has systemd read them, and returns why
// together with what became of that.
func (s *System) rollBack(ctx context.Context, saved []kept, why error) error {
	var failed []error
	for _, k := range saved {
		failed = append(failed, k.restore())
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("%w; rolling back failed too: %v", why, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if !s.booted() {
		return fmt.Errorf("%w; rolled back", why)
	}
	// What takes it back must not be interrupted by what ended this.
	ctx = context.WithoutCancel(ctx)
	_, err := s.Systemctl(ctx, "daemon-reload")
	var r Report
	if s.running(ctx, &r); err == nil && !r.InUse && r.gate {
		_, err = s.Systemctl(ctx, "restart", Unit)
	}
	if err != nil {
		return fmt.Errorf("%w; the files are as they were, but systemd has not read them: %v", why, err)
	}
	return fmt.Errorf("%w; rolled back", why)
}

func (k kept) restore() error {
	if k.link != "" {
		if now, err := os.Readlink(k.path); err == nil && now == k.link {
			return nil
		}
		if err := os.Remove(k.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return os.Symlink(k.link, k.path)
	}
	if k.text != nil {
		if now, err := os.ReadFile(k.path); err == nil && bytes.Equal(now, k.text) {
			return nil
		}
		return replace(k.path, k.text, k.mode, k.uid, k.gid)
	}
	if err := os.Remove(k.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for dir := filepath.Dir(k.path); len(dir) > len(k.dir); dir = filepath.Dir(dir) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) {
			return err
		}
	}
	return nil
}
