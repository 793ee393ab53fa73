package sshdsetup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/eic-agent/eic-agent/internal/sshd"
)

// Enable has sshd run eic-authkeys. Nothing is changed before all is checked that
// can be; what was changed is taken back when sshd does not come out of it as it
// should. An error says that it could not be tried.
func Enable(ctx context.Context, o Options) (*Report, error) {
	if os.Geteuid() != 0 {
		return refuse(Refused, "changing sshd's configuration requires root"), nil
	}
	server, err := sshd.Find(ctx, o.Root)
	if err != nil {
		return refuse(Refused, err.Error(), "install the OpenSSH server"), nil
	}
	store, err := openStore(o.Root)
	if err != nil {
		return nil, err
	}
	defer store.close()
	previous, err := store.load()
	if err != nil {
		return nil, err
	}
	var notes []string
	if previous != nil && previous.Phase == phaseChanging {
		if notes, err = store.undo(o.Root, previous); err != nil {
			return nil, err
		}
		notes = append(notes, "an interrupted enable was rolled back first")
		previous = nil
	}
	t := &transaction{o: o, store: store, server: server, report: &Report{Sshd: server, Warnings: notes}}
	return t.enable(ctx, previous)
}

// A transaction is one enable.
type transaction struct {
	o       Options
	store   *store
	server  *sshd.Server
	report  *Report
	command string
	units   bool     // files of units are changed
	earlier *earlier // nil where this is the first enable
	pending []string // commands that are left to the administrator
}

func (t *transaction) enable(ctx context.Context, previous *record) (*Report, error) {
	if err := t.server.Test(ctx); err != nil {
		if sshd.IsBroken(err) {
			return t.refuse(Refused, err.Error(), "correct it first: "+t.server.TestCommand()), nil
		}
		return nil, fmt.Errorf("sshd's verdict on its configuration is %w", err)
	}
	cfg, refusal := t.o.checkNeeds(ctx, t.server)
	if refusal != nil {
		return t.refuse(refusal.Outcome, refusal.Problem, refusal.Hint...), nil
	}
	t.command = t.o.command(cfg)
	p, refusal, err := t.plan(ctx)
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		return t.refuse(refusal.Outcome, refusal.Problem, refusal.Hint...), nil
	}
	if len(p.changes) > 0 && previous != nil {
		// What is to be changed was written by us: start from what was
		// there before.
		if t.earlier, err = t.store.hold(t.o.Root, previous); err != nil {
			return nil, err
		}
		t.earlier.wasRead = t.isRead(ctx)
		notes, err := t.store.restore(t.o.Root, previous)
		if err == nil {
			p, refusal, err = t.plan(ctx)
		}
		if err != nil || refusal != nil {
			if err := errors.Join(err, t.store.bringBack(t.o.Root, t.earlier)); err != nil {
				return nil, err
			}
			if l, running := t.server.Listener(); running && t.earlier.wasRead {
				sshd.NoteRead(l.PID) // what came back is what it has read
			}
			return t.refuse(refusal.Outcome, refusal.Problem, refusal.Hint...), nil
		}
		t.report.Warnings = append(t.report.Warnings, notes...)
	}
	t.report.Warnings = append(t.report.Warnings, p.notes...)
	if len(p.changes) == 0 {
		return t.nothing(ctx)
	}
	t.units = p.units
	return t.change(ctx, &record{Phase: phaseChanging, Command: t.command, Changes: p.changes})
}

// nothing reports on what is enabled already. An sshd that has not read it yet is
// reloaded.
func (t *transaction) nothing(ctx context.Context) (*Report, error) {
	t.report.Reload = "nothing to do"
	if err := t.report.look(ctx); err != nil {
		return nil, err
	}
	if t.report.doubt != "" {
		done, err := reload(ctx, t.server, false)
		if err != nil {
			return t.refuse(Failed, err.Error(), "no file was changed"), nil
		}
		if t.report.Sshd, err = sshd.Find(ctx, t.o.Root); err != nil {
			return nil, err
		}
		t.report.Reload, t.pending = done.String(), done.pending
		t.report.doubt, t.report.Warnings = "", nil
		if err := t.report.look(ctx); err != nil {
			return nil, err
		}
	}
	t.report.judge()
	t.report.pend(t.pending)
	return t.report, nil
}

func (t *transaction) refuse(outcome, problem string, hint ...string) *Report {
	t.report.Outcome, t.report.Problem, t.report.Hint = outcome, problem, hint
	return t.report
}

// plan looks at how things are now and plans from there.
func (t *transaction) plan(ctx context.Context) (*plan, *Report, error) {
	cfg, err := t.o.loadConfig()
	if err != nil {
		return nil, nil, err
	}
	files, err := t.server.Config()
	if err != nil {
		return nil, nil, err
	}
	effective, err := t.server.Effective(ctx, sshd.Connection{})
	if err != nil {
		return nil, nil, err
	}
	return t.o.makePlan(t.server, files, effective, cfg)
}

// change applies r, and rolls it back if a step fails.
func (t *transaction) change(ctx context.Context, r *record) (*Report, error) {
	if err := t.store.save(r); err != nil {
		return nil, fmt.Errorf("cannot write %s: %w", StateDir, err)
	}
	err := t.apply(r)
	reloaded := false
	if err == nil {
		// Until then systemd answers with what it read before.
		err = readUnits(ctx, t.server, t.units)
	}
	if err == nil {
		err = t.check(ctx, false)
	}
	if err == nil {
		reloaded = true
		var done *reloading
		done, err = reload(ctx, t.server, t.units)
		t.report.Reload, t.pending = done.String(), done.pending
	}
	if err == nil {
		err = t.check(ctx, len(t.pending) == 0)
	}
	if err == nil {
		r.Phase = phaseEnabled
		err = t.store.save(r)
	}
	if err != nil {
		// What takes it back must not be interrupted by what ended this.
		return t.rollBack(context.WithoutCancel(ctx), r, err, reloaded), nil
	}
	for _, c := range r.Changes {
		t.report.Changed = append(t.report.Changed, c.describe())
	}
	if err := t.report.look(ctx); err != nil {
		return nil, err
	}
	t.report.judge()
	t.report.pend(t.pending)
	return t.report, nil
}

// pend says that a change takes effect later.
func (r *Report) pend(commands []string) {
	if len(commands) == 0 {
		return
	}
	r.Outcome = Pending
	r.Problem = "sshd keeps its old settings until it is restarted, which would end sessions"
	r.Hint = []string{"once they may end: " + strings.Join(commands, "; ")}
}

// isRead reports whether the running sshd has read its configuration as it is.
func (t *transaction) isRead(ctx context.Context) bool {
	now := &Report{Sshd: t.server}
	return now.look(ctx) == nil && now.doubt == ""
}

func (t *transaction) apply(r *record) error {
	for i := range r.Changes {
		if err := r.Changes[i].apply(t.o.Root); err != nil {
			return err
		}
	}
	return nil
}

// check has every sshd that reads the configuration say that it is good and that the
// command is ours, for anybody and inside the Match blocks that set no other: as its unit
// will start it next and, with running, as it runs.
func (t *transaction) check(ctx context.Context, running bool) error {
	found, err := sshd.Find(ctx, t.o.Root)
	if err != nil {
		return err
	}
	for _, s := range append([]*sshd.Server{found}, found.Others...) {
		if s.ConfigFile != found.ConfigFile || s != found && len(commandOptions(s.Options)) > 0 {
			continue // reported by look
		}
		next, err := s.Next(ctx)
		if err != nil {
			return err
		}
		if err := next.Test(ctx); err != nil {
			return fmt.Errorf("with the change: %w", err)
		}
		if err := t.checkSamples(ctx, next); err != nil {
			return err
		}
		if running {
			if err := t.checkSamples(ctx, s); err != nil {
				return err
			}
		}
	}
	t.report.Sshd = found
	return nil
}

func (t *transaction) checkSamples(ctx context.Context, s *sshd.Server) error {
	samples, err := s.Survey(ctx)
	if err != nil {
		return err
	}
	for i, one := range samples {
		e := one.Effective
		switch {
		case i > 0 && (one.Err != nil || !one.Override.IsZero()):
		case e.Command != t.command || e.User != t.o.User:
			return fmt.Errorf("%s would use %q as %q instead for %s (%s)", s.Name(), e.Command, e.User, one.For, e.CommandFrom.Place())
		}
	}
	return nil
}

// rollBack takes everything back, or as much as it can, and says which.
func (t *transaction) rollBack(ctx context.Context, r *record, why error, reloaded bool) *Report {
	t.report.Outcome, t.report.Problem = Failed, why.Error()
	notes, err := t.store.undo(t.o.Root, r)
	t.report.Warnings = append(t.report.Warnings, notes...)
	if err == nil && t.earlier != nil {
		err = t.store.bringBack(t.o.Root, t.earlier)
	}
	if err != nil {
		t.report.Problem = fmt.Sprintf("%v; rolling back failed: %v", why, err)
		t.report.Hint = []string{"repair sshd before you log out: eicctl sshd disable tries once more"}
		return t.report
	}
	t.report.Hint = []string{"all changes were rolled back"}
	if !reloaded {
		if err := readUnits(ctx, t.server, t.units); err != nil {
			t.report.Hint = []string{"the files were restored; to make systemd read them: systemctl daemon-reload"}
		}
		return t.report
	}
	done, err := reload(ctx, t.server, t.units)
	t.report.Reload = done.String()
	switch {
	case err != nil:
		t.report.Problem = fmt.Sprintf("%v; the files were restored, but reloading sshd failed: %v", why, err)
		t.report.Hint = []string{"repair sshd before you log out: " + t.server.ReloadCommand()}
	case len(done.pending) > 0:
		t.report.Hint = []string{"the files were restored; to make sshd read them: " + strings.Join(done.pending, "; ")}
	}
	return t.report
}

// describe says what was done.
func (c Change) describe() string {
	verb := map[string]string{actionCreate: "wrote", actionEdit: "changed", actionRemove: "removed", actionMkdir: "created"}[c.Action]
	return fmt.Sprintf("%s %s (%s)", verb, c.Path, c.Why)
}

// describeUndo says what became of it.
func (c Change) describeUndo() string {
	switch c.Action {
	case actionCreate, actionMkdir:
		return "removed " + c.Path
	case actionRemove:
		return "restored " + c.Path
	}
	return "restored " + c.Path
}

// Disable takes back what enable did: afterwards everything is byte for byte as it
// was, unless somebody else changed it in the meantime.
func Disable(ctx context.Context, o Options) (*Report, error) {
	if os.Geteuid() != 0 {
		return refuse(Refused, "changing sshd's configuration requires root"), nil
	}
	if _, err := os.Lstat(o.path(StateDir)); errors.Is(err, fs.ErrNotExist) {
		return o.nothingToDisable(ctx), nil
	}
	store, err := openStore(o.Root)
	if err != nil {
		return nil, err
	}
	defer store.close()
	r, err := store.load()
	if err != nil {
		return nil, err
	}
	if r == nil {
		return o.nothingToDisable(ctx), nil
	}
	report, err := o.disable(ctx, store, r)
	if err != nil {
		return nil, err
	}
	if report.Outcome == Failed && ctx.Err() != nil {
		// The record stays: the next disable has to reload sshd.
		report.Problem = "interrupted before sshd was reloaded"
		report.Hint = []string{"the files were restored; run eicctl sshd disable again"}
		return report, nil
	}
	if report.kept {
		return report, nil
	}
	return report, store.forget()
}

// disable takes the changes of r back, and has sshd know of it.
func (o Options) disable(ctx context.Context, store *store, r *record) (report *Report, err error) {
	report = new(Report)
	before, err := store.hold(o.Root, r)
	if err != nil {
		return nil, err
	}
	report.Warnings, err = store.restore(o.Root, r)
	if err != nil {
		report.Outcome, report.Problem = Failed, fmt.Sprintf("still enabled: %v", err)
		report.Hint = []string{"all changes were rolled back"}
		if again := store.bringBack(o.Root, before); again != nil {
			report.Problem = fmt.Sprintf("partly disabled: %v; enabling it again failed: %v", err, again)
			report.Hint = []string{"repair sshd before you log out: eicctl sshd disable tries once more"}
		}
		report.kept = true
		return report, nil
	}
	units := false
	for _, c := range r.Changes {
		report.Changed = append(report.Changed, c.describeUndo())
		units = units || c.isUnit()
	}
	report.Outcome = Disabled
	server, err := sshd.Find(ctx, o.Root)
	if err != nil {
		return report, nil // sshd was removed
	}
	report.Sshd = server
	done, err := reload(ctx, server, units)
	report.Reload = done.String()
	if err != nil {
		report.Outcome, report.Problem = Failed, fmt.Sprintf("the files were restored, but sshd does not use them: %v", err)
		report.Hint = []string{"repair it before you log out, test it with " + server.TestCommand() + ", and reload it: " + server.ReloadCommand()}
		return report, nil
	}
	if report.Sshd, err = sshd.Find(ctx, o.Root); err != nil {
		return report, nil
	}
	if err := report.look(ctx); err != nil {
		report.Outcome, report.Problem = Unknown, fmt.Sprintf("the files were restored; sshd's settings are %v", err)
		return report, nil
	}
	report.pend(done.pending)
	if report.Effective.Owner == sshd.OwnerAgent && report.Outcome == Disabled {
		report.Outcome = Refused
		report.Problem = "sshd still runs eic-authkeys: it is set in " + report.Effective.CommandFrom.Place() + ", not as enable wrote it"
		report.Hint = []string{"remove it there"}
	}
	return report, nil
}

// nothingToDisable reports that, and where the command is set if it still is.
func (o Options) nothingToDisable(ctx context.Context) *Report {
	r := Status(ctx, o)
	if r.Outcome == Enabled {
		return refuse(Refused, "eicctl did not enable it: it is set in "+r.Effective.CommandFrom.Place(), "remove it there")
	}
	r.Outcome, r.Problem, r.Reload = Disabled, "", "nothing to do"
	return r
}
