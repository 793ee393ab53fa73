package sshdsetup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/eic-agent/eic-agent/internal/sshd"
)

// Enable has sshd run eic-authkeys. Nothing is changed before all is checked that
// can be; what was changed is taken back when sshd does not come out of it as it
// should. An error says that it could not be tried.
func Enable(ctx context.Context, o Options) (*Report, error) {
	if os.Geteuid() != 0 {
		return refuse(Refused, "only root may change sshd's configuration"), nil
	}
	server, err := sshd.Find(ctx, o.Root)
	if err != nil {
		return refuse(Refused, err.Error(), "install OpenSSH's server"), nil
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
		notes = append(notes, "an enable that was interrupted was taken back first")
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
}

func (t *transaction) enable(ctx context.Context, previous *record) (*Report, error) {
	if err := t.server.Test(ctx); err != nil {
		if sshd.IsBroken(err) {
			return t.refuse(Refused, err.Error(), "correct it first: "+t.server.TestCommand()), nil
		}
		return nil, fmt.Errorf("whether sshd accepts its configuration is %w", err)
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
		notes, err := t.store.restore(t.o.Root, previous)
		if err == nil {
			p, refusal, err = t.plan(ctx)
		}
		if err != nil || refusal != nil {
			if err := errors.Join(err, t.store.bringBack(t.o.Root, t.earlier)); err != nil {
				return nil, err
			}
			return t.refuse(refusal.Outcome, refusal.Problem, refusal.Hint...), nil
		}
		t.report.Warnings = append(t.report.Warnings, notes...)
	}
	t.report.Warnings = append(t.report.Warnings, p.notes...)
	if len(p.changes) == 0 {
		t.report.Outcome, t.report.Reload = Enabled, "nothing to do"
		return t.report, t.report.look(ctx)
	}
	t.units = p.units
	return t.change(ctx, &record{Phase: phaseChanging, Command: t.command, Changes: p.changes})
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

// change does what r says, and takes it back where that does not end well.
func (t *transaction) change(ctx context.Context, r *record) (*Report, error) {
	if err := t.store.save(r); err != nil {
		return nil, fmt.Errorf("%s could not be written: %w", StateDir, err)
	}
	err := t.apply(r)
	reloaded := false
	if err == nil {
		err = t.check(ctx)
	}
	if err == nil {
		reloaded = true
		t.report.Reload, err = reload(ctx, t.server, t.units)
	}
	if err == nil {
		err = t.check(ctx)
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
	t.report.Outcome = Enabled
	return t.report, t.report.look(ctx)
}

func (t *transaction) apply(r *record) error {
	for i := range r.Changes {
		if err := r.Changes[i].apply(t.o.Root); err != nil {
			return err
		}
	}
	return nil
}

// check has sshd say that its configuration is good and the command is ours, as it
// will be started next.
func (t *transaction) check(ctx context.Context) error {
	next, err := sshd.Find(ctx, t.o.Root)
	if err != nil {
		return err
	}
	next.Options = next.UnitOptions
	if err := next.Test(ctx); err != nil {
		return fmt.Errorf("with the change: %w", err)
	}
	effective, err := next.Effective(ctx, sshd.Connection{})
	if err != nil {
		return err
	}
	if effective.Command != t.command || effective.User != t.o.User {
		return fmt.Errorf("sshd would use %q as %q instead (%s)", effective.Command, effective.User, effective.CommandFrom.Place())
	}
	next, err = sshd.Find(ctx, t.o.Root)
	if err != nil {
		return err
	}
	t.report.Sshd = next
	return nil
}

func (t *transaction) rollBack(ctx context.Context, r *record, why error, reloaded bool) *Report {
	t.report.Outcome, t.report.Problem = Failed, why.Error()
	notes, err := t.store.undo(t.o.Root, r)
	t.report.Warnings = append(t.report.Warnings, notes...)
	if err == nil && t.earlier != nil {
		err = t.store.bringBack(t.o.Root, t.earlier)
	}
	if err == nil && reloaded {
		t.report.Reload, err = reload(ctx, t.server, t.units)
	}
	if err != nil {
		t.report.Problem = fmt.Sprintf("%v; taking it back failed too: %v", why, err)
		t.report.Hint = []string{"see to it now, while you are logged in; eicctl sshd disable tries once more"}
		return t.report
	}
	t.report.Hint = []string{"everything is as it was before"}
	return t.report
}

// describe says what was done.
func (c Change) describe() string {
	verb := map[string]string{actionCreate: "wrote", actionEdit: "changed", actionRemove: "put away", actionMkdir: "made"}[c.Action]
	return fmt.Sprintf("%s %s (%s)", verb, c.Path, c.Why)
}

// describeUndo says what became of it.
func (c Change) describeUndo() string {
	switch c.Action {
	case actionCreate, actionMkdir:
		return "removed " + c.Path
	case actionRemove:
		return "put back " + c.Path
	}
	return "restored " + c.Path
}

// Disable takes back what enable did: afterwards everything is byte for byte as it
// was, unless somebody else changed it meanwhile.
func Disable(ctx context.Context, o Options) (*Report, error) {
	if os.Geteuid() != 0 {
		return refuse(Refused, "only root may change sshd's configuration"), nil
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
		report.Problem = "it was interrupted before sshd was reloaded"
		report.Hint = []string{"the files are as they were; run eicctl sshd disable again"}
		return report, nil
	}
	return report, store.forget()
}

// disable takes the changes of r back, and has sshd know of it.
func (o Options) disable(ctx context.Context, store *store, r *record) (report *Report, err error) {
	report = new(Report)
	report.Warnings, err = store.restore(o.Root, r)
	if err != nil {
		return nil, err
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
	if report.Reload, err = reload(ctx, server, units); err != nil {
		report.Outcome, report.Problem = Failed, fmt.Sprintf("the files are as they were, but sshd does not take them: %v", err)
		report.Hint = []string{"correct it while you are logged in, see that sshd -t is content, and reload sshd"}
		return report, nil
	}
	if report.Sshd, err = sshd.Find(ctx, o.Root); err != nil {
		return report, nil
	}
	if err := report.look(ctx); err != nil {
		return nil, err
	}
	if report.Effective.Owner == sshd.OwnerAgent {
		report.Outcome = Refused
		report.Problem = "sshd runs eic-authkeys all the same: it is set in " + report.Effective.CommandFrom.Place() + ", not as enable wrote it"
		report.Hint = []string{"take it away there"}
	}
	return report, nil
}

// nothingToDisable says so, and who has set it if it is set all the same.
func (o Options) nothingToDisable(ctx context.Context) *Report {
	r := Status(ctx, o)
	if r.Outcome == Enabled {
		return refuse(Refused, "eicctl did not enable it: it is set in "+r.Effective.CommandFrom.Place(), "take it away there")
	}
	r.Outcome, r.Problem, r.Reload = Disabled, "", "nothing to do"
	return r
}
