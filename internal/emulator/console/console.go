// Package console plays the EC2 Serial Console: whom its gateway lets in, one session
// an instance, and a log of both.
package console

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/fault"
	"github.com/eic-agent/eic-agent/internal/emulator/gateway"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

// The faults of the gateway.
const (
	faultRefuse = "gateway-refuse"
	faultCut    = "gateway-cut"
)

// Faults returns those of the gateway.
func Faults() []fault.Rule {
	return []fault.Rule{
		{Kind: fault.Kind{Name: faultRefuse, Layer: fault.LayerGateway, Doc: "The gateway refuses valid keys."}},
		{
			Kind:  fault.Kind{Name: faultCut, Value: "DURATION", Layer: fault.LayerGateway, Doc: "The gateway ends a session DURATION after it began."},
			Check: fault.CheckDuration,
		},
	}
}

// Why the gateway ends a session.
var (
	errSessionLimit = errors.New("the session has lasted an hour")
	errSessionEnded = errors.New("the session was ended from outside")
	ErrTerminated   = errors.New("the instance was terminated")
	ErrReset        = errors.New("the emulator was reset")
	errSessionCut   = errors.New("the session was cut, as AWS may do for maintenance")
)

// A clientSession is one of the gateway on an instance.
type clientSession struct {
	machine  *world.Machine
	line     *gateway.Line
	number   uint64 // of the machine's sessions
	deadline time.Time
	timer    *time.Timer // of the deadline
	cuts     []*time.Timer
	end      context.CancelCauseFunc
}

// Options configure a Console.
type Options struct {
	World  *world.World
	Faults *fault.Orders

	// Address is where Bind binds the gateway. If it is empty, that is a free port of
	// 127.0.0.1, or there is no gateway if no instance has a serial port that is joined
	// to something.
	Address     string
	AllowRemote bool

	Pause  time.Duration // after a session, in which no other can start
	Access bool          // the switch of accounts that have not set theirs
	Log    io.Writer     // gets a line for each Event; nil: nobody
}

// A Console is the serial console of all instances. Its methods may be called from
// any goroutine, unless they say that they need the lock of the world.
type Console struct {
	o       Options
	enabled bool          // there is a gateway
	hostKey crypto.Signer // nil where there never was one
	server  *gateway.Server
	logMu   sync.Mutex // of Options.Log

	// The lock of the world guards these.
	listener net.Listener
	sessions map[*clientSession]bool
	events   []Event
	lines    map[*world.Machine]*gateway.Line
}

// New returns a Console. It has a gateway when an instance of the world has a serial
// port that leads somewhere.
func New(o Options) (*Console, error) {
	o.World.Lock()
	machines := o.World.Machines()
	o.World.Unlock()
	c := &Console{o: o, sessions: make(map[*clientSession]bool), lines: make(map[*world.Machine]*gateway.Line)}
	joined := slices.ContainsFunc(machines, func(m *world.Machine) bool { return m.Serial != "" })
	switch {
	case o.Address == "" && !joined:
		return c, nil
	case !joined:
		return nil, errors.New("the serial console gateway needs an instance whose serial port is joined to something")
	case o.Address == "":
		c.o.Address = world.FreeLoopbackPort
	}
	if err := world.CheckAddress(c.o.Address, o.AllowRemote); err != nil {
		return nil, err
	}
	c.enabled = true
	return c, checkTargets(machines)
}

// Enabled reports whether there is a gateway.
func (c *Console) Enabled() bool { return c.enabled }

// checkTargets fails where two instances would have one line: the emulator is one
// end of it, and can be it only once.
func checkTargets(machines []*world.Machine) error {
	taken := make(map[gateway.Target]string)
	for _, m := range machines {
		if m.Serial == "" || m.Serial == "pty" {
			continue
		}
		target, err := gateway.ParseTarget(m.Serial)
		if err != nil {
			return err // newMachine has parsed it
		}
		if other, ok := taken[target]; ok {
			return fmt.Errorf("the serial ports of %s and %s are joined to the same %s", other, m.ID, m.Serial)
		}
		taken[target] = m.ID
	}
	return nil
}

// consoleLogin is what the gateway is logged in to as.
var consoleLogin = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(i-[a-f0-9]{8,30})\.port([0-9]{1,4})$`)
})

// admit lets a key in that was pushed for the port in the last 60 seconds.
func (c *Console) admit(conn ssh.ConnMetadata, key ssh.PublicKey, proved bool) error {
	m, statement, err := c.judge(conn.User(), key)
	if err == nil && proved {
		if len(c.o.Faults.Strike(fault.LayerGateway, fault.Target{Instance: m.ID}, func(f fault.Spec) bool { return f.Name == faultRefuse })) > 0 {
			err = errors.New("the fault " + faultRefuse + " refuses it")
		}
	}
	if err != nil {
		event := Event{Event: refused, Client: conn.RemoteAddr().String(), Login: conn.User(), Key: ssh.FingerprintSHA256(key), Detail: err.Error()}
		if m != nil {
			event.Instance = m.ID
		}
		event.about(statement)
		c.event(event)
	}
	return err
}

// judge returns the push that lets a key in, or why there is none. The
// client does not learn why.
func (c *Console) judge(login string, key ssh.PublicKey) (*world.Machine, *keyrecord.Statement, error) {
	parts := consoleLogin().FindStringSubmatch(login)
	if parts == nil {
		return nil, nil, errors.New("the login name is not INSTANCE-ID.port0")
	}
	m, err := c.o.World.Lookup(parts[1])
	if err != nil {
		return nil, nil, errors.New("there is no such instance")
	}
	if parts[2] != "0" {
		return m, nil, errors.New("there is no serial port but port 0")
	}
	statement, err := c.keyOf(m, key)
	if err != nil {
		return m, nil, err
	}
	c.o.World.Lock()
	state, joined := m.State, c.lines[m] != nil
	c.o.World.Unlock()
	switch {
	case state != world.Running:
		return m, statement, fmt.Errorf("the instance is %s; it must be running", state)
	case !c.access(world.Scope{Account: api.AccountOf(statement.Caller), Region: m.Region}):
		return m, statement, errors.New("the account's access to the serial console was turned off after the push")
	case !joined:
		return m, statement, errors.New("the serial port of the instance is joined to nothing")
	}
	return m, statement, nil
}

// keyOf finds a key among those that are pushed for port 0.
func (c *Console) keyOf(m *world.Machine, key ssh.PublicKey) (*keyrecord.Statement, error) {
	pushed := c.Keys(m, 0)
	blob := key.Marshal()
	for i := range pushed {
		one, _, _, _, err := ssh.ParseAuthorizedKey([]byte(pushed[i].Key))
		if err == nil && bytes.Equal(one.Marshal(), blob) {
			return &pushed[i], nil
		}
	}
	c.o.World.Lock()
	expired := slices.Contains(m.ConsolePushes, ssh.FingerprintSHA256(key))
	c.o.World.Unlock()
	switch {
	case expired:
		return nil, errors.New("the 60 seconds of the key are over")
	case len(pushed) == 0:
		return nil, errors.New("no key was pushed for the port in the last 60 seconds")
	}
	return nil, errors.New("it is not the key that was pushed for the port")
}

// maxConsolePushes bounds what is remembered only to say that a key has expired.
const maxConsolePushes = 64

// RememberPush remembers a key that is pushed for the port of an instance. It needs
// the lock of the world.
func RememberPush(m *world.Machine, line string) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return
	}
	if len(m.ConsolePushes) >= maxConsolePushes {
		m.ConsolePushes = slices.Delete(m.ConsolePushes, 0, 1)
	}
	m.ConsolePushes = append(m.ConsolePushes, ssh.FingerprintSHA256(key))
}

// start takes the session of an instance for a client.
func (c *Console) start(conn ssh.ConnMetadata, key ssh.PublicKey) (*gateway.Session, error) {
	event := Event{Event: refused, Client: conn.RemoteAddr().String(), Login: conn.User(), Key: ssh.FingerprintSHA256(key)}
	m, statement, err := c.judge(conn.User(), key) // what held when the key was proved may not hold any more
	if m != nil {
		event.Instance = m.ID
	}
	event.about(statement)
	var session *clientSession
	var over context.Context
	if err == nil {
		session, over, err = c.join(m)
	}
	if err != nil {
		event.Detail = err.Error()
		c.event(event)
		return nil, err
	}
	event.Event = started
	c.event(event)
	return &gateway.Session{
		Line: session.line,
		Over: over,
		End: func(why error, dropped int64) {
			err := c.leave(session)
			event.Event, event.Detail = ended, why.Error()
			if dropped > 0 {
				event.Detail += "; " + strconv.FormatInt(dropped, 10) + " bytes of output were dropped, since the client did not take them"
			}
			if err != nil {
				event.Detail += "; " + err.Error()
			}
			c.event(event)
		},
	}, nil
}

// join begins a session that ends by itself when its time is over.
func (c *Console) join(m *world.Machine) (*clientSession, context.Context, error) {
	number, err := c.startSession(m, true)
	if err != nil {
		return nil, nil, err
	}
	cuts := c.o.Faults.Strike(fault.LayerGateway, fault.Target{Instance: m.ID}, func(f fault.Spec) bool { return f.Name == faultCut })
	c.o.World.Lock()
	defer c.o.World.Unlock()
	if m.SerialNumber != number || !m.SerialEnded.IsZero() {
		return nil, nil, errSessionEnded // before Cut could see it
	}
	over, end := context.WithCancelCause(context.Background())
	session := &clientSession{machine: m, line: c.lines[m], number: number, end: end}
	for _, f := range cuts {
		cut, _ := time.ParseDuration(f.Value) // it was checked
		session.cuts = append(session.cuts, time.AfterFunc(cut, func() { end(errSessionCut) }))
	}
	session.deadline = m.SerialSince.Add(world.SerialSessionLimit)
	session.timer = time.AfterFunc(session.deadline.Sub(c.o.World.Now()), func() { c.recheck(session) })
	c.sessions[session] = true
	return session, over, nil
}

// recheck ends a session whose time is over on the emulator's clock.
func (c *Console) recheck(session *clientSession) {
	c.o.World.Lock()
	defer c.o.World.Unlock()
	c.checkDeadline(session)
}

// checkDeadline needs mu.
func (c *Console) checkDeadline(session *clientSession) {
	if left := session.deadline.Sub(c.o.World.Now()); left > 0 {
		session.timer.Reset(left)
		return
	}
	session.end(errSessionLimit)
}

// ClockMoved looks at every session anew.
func (c *Console) ClockMoved() {
	c.o.World.Lock()
	defer c.o.World.Unlock()
	for session := range c.sessions {
		c.checkDeadline(session)
	}
}

// leave gives the session back.
func (c *Console) leave(session *clientSession) error {
	c.o.World.Lock()
	for _, t := range append(session.cuts, session.timer) {
		t.Stop()
	}
	delete(c.sessions, session)
	c.o.World.Unlock()
	session.end(context.Canceled)
	return c.endSession(session.machine, session.number)
}

// Cut ends the session of an instance, if the gateway has one. It needs the lock of
// the world.
func (c *Console) Cut(m *world.Machine, why error) {
	for session := range c.sessions {
		if session.machine == m {
			session.end(why)
		}
	}
}
