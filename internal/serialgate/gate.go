// Package serialgate locks the login prompt of a serial port until a key is pushed for
// that port, and then becomes the getty.
package serialgate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/authkeys"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// A Gate holds one port.
type Gate struct {
	ConfigPath string
	Port       int // as EC2 counts; -1: what the configuration says
	TTY        string
	Command    []string // the getty
	UserAgent  string
	Log        *audit.Logger

	line *Line
	used used
	pace
	attempts attempts
}

// pace is how long things take.
type pace struct {
	breakGlass time.Duration // before a console is opened without a key
	relook     time.Duration // between two looks in the meantime
	window     time.Duration // for a login without a key's time
	limits     limits
	deadLine   time.Duration // between two looks at a line that does not work
}

func defaultPace() pace {
	return pace{
		breakGlass: time.Minute,
		relook:     15 * time.Second,
		window:     time.Minute,
		limits:     defaultLimits(),
		deadLine:   time.Minute,
	}
}

// Run holds the port until it is opened; then it does not return, for the process
// is the getty. It returns nil when the line was hung up, or works again after it
// did not, so that the service manager restarts it. An error, a *reason.Error,
// says that the line is not a terminal.
func (g *Gate) Run(ctx context.Context) error {
	g.pace = defaultPace()
	g.used = used{UsedDir}
	countLosses(g.Log)
	return g.run(ctx)
}

func (g *Gate) run(ctx context.Context) error {
	path, err := Path(g.TTY)
	if err != nil {
		return reason.New(reason.Usage, err.Error())
	}
	if os.Geteuid() != 0 {
		return reason.New(reason.Usage, "must run as root")
	}
	// Where the line is not the gate's yet, or not any more, its keys send signals.
	// None is to end the gate, nor to have Go print its stacks; the getty gets them
	// as they were.
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGQUIT)
	g.line, err = Take(path)
	if err != nil {
		g.line = &Line{path: path}
		g.awaitLine(err)
		return nil
	}
	g.checkSetUp()
	for {
		// The memory of an attempt is freed before the long wait, in which
		// the collector would otherwise look for more every two minutes.
		debug.FreeOSMemory()
		percent := debug.SetGCPercent(-1)
		err := g.line.awaitEnter()
		debug.SetGCPercent(percent)
		if err != nil {
			return g.lost(err)
		}
		v, err := g.attempt(ctx)
		if err != nil {
			return g.lost(err)
		}
		wait := g.attempts.fail(time.Now())
		if err := g.line.say(refusal(g.line.name(), v, wait)); err != nil {
			return g.lost(err)
		}
		time.Sleep(wait)
		// Enters that came too early are no attempts.
		if err := g.line.flush(); err != nil {
			return g.lost(err)
		}
		if err := g.line.say(again); err != nil {
			return g.lost(err)
		}
	}
}

// checkSetUp reports, before anybody needs the console, what will keep it locked.
func (g *Gate) checkSetUp() {
	if err := usable(g.Command); err != nil {
		g.failed(view{port: g.Port}, err)
	}
	cfg, err := config.Load(g.ConfigPath)
	if err == nil && cfg.Serial.WhenUnreachable == "" {
		err = reason.New(reason.Config, fmt.Sprintf("[serial] when_unreachable is not set, so nothing opens the console while the metadata service is unavailable: set it to %q or %q", config.UnreachableLock, config.UnreachableOpen))
	}
	if err != nil {
		g.failed(view{port: g.Port}, err)
	}
}

// attempt looks, and opens the console where it may. It returns why not, or an
// error of the line.
func (g *Gate) attempt(ctx context.Context) (view, error) {
	v := view{port: g.Port}
	// A getty that is not there is no reason to use a push up.
	if v.err = usable(g.Command); v.err == nil {
		if err := g.line.say(looking); err != nil {
			return view{}, err
		}
		v = g.look(ctx)
		if v.breaksGlass() {
			var err error
			if v, err = g.waitOut(ctx, v); err != nil {
				return view{}, err
			}
		}
		switch {
		case v.open:
			v.err = g.openOnce(v)
		case v.breaksGlass():
			if err := g.open(v, g.window, g.brokenGlass(v)); err != nil {
				v.err = err
			}
		}
	}
	g.report(v)
	return v, nil
}

// openOnce opens the console with the push, and returns why not.
func (g *Gate) openOnce(v view) error {
	now := time.Now()
	// A clock set in the meantime makes no key live longer.
	left := min(v.key.Expires().Sub(now), v.config.Keys.MaxLifetime.Duration)
	if left < time.Second {
		return reason.New(reason.Expired, "the key expired during verification")
	}
	// The mark comes first: whatever happens now, this push opens nothing more.
	switch err := g.used.mark(v.key, now); {
	case errors.Is(err, errUsed):
		return err
	case err != nil:
		return reason.New(reason.NotRemembered, fmt.Sprintf("cannot record that the key has been used: %v", err))
	}
	if v.wouldRefuse != nil {
		g.Log.Log(*v.wouldRefuse)
	}
	return g.open(v, left, g.opened(v))
}

// waitOut waits before a console is opened without a key, for the metadata service
// to work again or the configuration to be another. It returns the first look that
// opens nothing without a key, or the last one.
func (g *Gate) waitOut(ctx context.Context, v view) (view, error) {
	if err := g.line.say(breakingGlass(v, g.breakGlass)); err != nil {
		return view{}, err
	}
	for end := time.Now().Add(g.breakGlass); ; {
		left := time.Until(end)
		if left <= 0 {
			return v, nil
		}
		time.Sleep(min(left, g.relook))
		if v = g.look(ctx); !v.breaksGlass() {
			return v, nil
		}
	}
}

// lost is what becomes of a Run whose line failed with err, and returns nil. That the
// line was hung up is no fault; of any other it waits for the end.
func (g *Gate) lost(err error) error {
	if !errors.Is(err, errHungUp) {
		g.awaitLine(err)
	}
	return nil
}

// awaitLine reports a line that does not work, once, and returns when it works
// again: a restart would only say the same again.
func (g *Gate) awaitLine(err error) {
	g.failed(view{port: g.Port}, reason.New(reason.LineUnusable, err.Error()))
	for {
		time.Sleep(g.deadLine)
		if works(g.line.path) {
			return
		}
	}
}

// report records why the console stays locked.
func (g *Gate) report(v view) {
	word := reason.Of(v.err)
	if v.open && word.RefusesRecord() {
		// The push has expired, or another process was quicker.
		v.refused = append(v.refused, v.refuse(v.key, v.err))
	}
	for _, e := range v.refused {
		e.Kind, e.Port, e.User, e.Instance = audit.GateRefused, strconv.Itoa(v.port), v.user, v.instance
		e.Message = fmt.Sprintf("%s stays locked: %s", g.line.name(), e.Message)
		g.Log.Log(e)
	}
	switch {
	case word == reason.NotPushed:
		e := g.event(v, audit.GateRefused)
		e.Reason, e.Message = word, fmt.Sprintf("%s stays locked (%s): somebody pressed Enter, but %v", g.line.name(), word, v.err)
		g.Log.Log(e)
	case !word.RefusesRecord():
		g.failed(v, v.err)
	}
}

// failed records why it is unknown whether the console may be opened,
// or why it could not be opened.
func (g *Gate) failed(v view, err error) {
	word := reason.Of(err)
	e := g.event(v, audit.GateFailed)
	e.Reason, e.Message = word, fmt.Sprintf("%s stays locked (%s): %v; %s", g.line.name(), word, err, word.Hint())
	g.Log.Log(e)
}

func (g *Gate) event(v view, kind audit.Kind) audit.Event {
	e := audit.Event{}
	if v.key.Type() != "" {
		e = authkeys.KeyEvent(v.key)
	}
	e.Kind, e.User, e.Instance = kind, v.user, v.instance
	if v.port >= 0 {
		e.Port = strconv.Itoa(v.port)
	}
	return e
}

// opened is the event of a console that a push opens.
func (g *Gate) opened(v view) audit.Event {
	e := g.event(v, audit.GateOpened)
	caller := e.Caller
	if caller == "" {
		caller = "an unnamed caller"
	}
	e.Message = fmt.Sprintf("opened %s with the key %s, pushed by %s", g.line.name(), e.Fingerprint, caller)
	return e
}

// brokenGlass is the event of a console that is opened without one.
func (g *Gate) brokenGlass(v view) audit.Event {
	e := g.event(v, audit.GateBrokenGlass)
	e.Reason = reason.Of(v.err)
	e.Message = fmt.Sprintf("opened %s WITHOUT a key (%s), because [serial] when_unreachable is %q: the metadata service was unavailable for %s: %v", g.line.name(), e.Reason, config.UnreachableOpen, config.Span(g.breakGlass), v.err)
	return e
}

// works reports whether the terminal at path can be used.
func works(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR|openQuietly, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return isTerminal(f)
}
