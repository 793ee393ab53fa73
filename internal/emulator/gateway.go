package emulator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
	faultGatewayRefuse = "gateway-refuse"
	faultGatewayCut    = "gateway-cut"
)

func gatewayFaults() []fault.Rule {
	return []fault.Rule{
		{Kind: fault.Kind{Name: faultGatewayRefuse, Layer: fault.LayerGateway, Doc: "The gateway refuses a key that it would let in."}},
		{
			Kind:  fault.Kind{Name: faultGatewayCut, Value: "DURATION", Layer: fault.LayerGateway, Doc: "The gateway cuts a session off so long after it began."},
			Check: fault.CheckDuration,
		},
	}
}

// Why the gateway ends a session.
var (
	errSessionLimit       = errors.New("the session has lasted an hour")
	errSessionEnded       = errors.New("the session was ended from outside")
	errInstanceTerminated = errors.New("the instance was terminated")
	errReset              = errors.New("the emulator was reset")
	errSessionCut         = errors.New("the session was cut, as AWS may do for maintenance")
)

// A consoleSession is a session of the gateway on an instance.
type consoleSession struct {
	machine  *machine
	line     *gateway.Line
	number   uint64 // of the machine's sessions
	deadline time.Time
	timer    *time.Timer // of the deadline
	cuts     []*time.Timer
	end      context.CancelCauseFunc
}

// A serialGateway is the part of a Server that its gateway works with.
type serialGateway struct {
	server *gateway.Server

	// the lock of the world guards these.
	listener net.Listener
	sessions map[*consoleSession]bool
	events   eventLog
}

// newGateway makes the gateway when an instance has a serial port that leads
// somewhere.
func (s *Server) newGateway() error {
	joined := slices.ContainsFunc(s.all(), func(m *machine) bool { return m.Serial != "" })
	if s.options.GatewayAddress == "" && !joined {
		return nil
	}
	if !joined {
		return errors.New("the serial console gateway needs an instance whose serial port is joined to something")
	}
	if s.options.GatewayAddress == "" {
		s.options.GatewayAddress = world.FreeLoopbackPort
	}
	if err := world.CheckAddress(s.options.GatewayAddress, s.options.AllowRemote); err != nil {
		return err
	}
	s.gateway = &serialGateway{sessions: make(map[*consoleSession]bool)}
	return s.checkTargets()
}

// checkTargets fails where two instances would have one line: the emulator is one
// end of it, and can be it only once.
func (s *Server) checkTargets() error {
	taken := make(map[gateway.Target]string)
	for _, m := range s.all() {
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

// GatewayAddr returns the host and port of the gateway, empty before Listen and
// where there is none.
func (s *Server) GatewayAddr() string {
	s.world.Lock()
	defer s.world.Unlock()
	if s.gateway == nil || s.gateway.listener == nil {
		return ""
	}
	return listenerHostPort(s.gateway.listener)
}

// SerialPort returns what the serial port of an instance is joined to, such as
// the guest's end of a pty; empty before Listen and where it is joined to
// nothing.
func (s *Server) SerialPort(instanceID string) string {
	m := s.machine(instanceID)
	if m == nil {
		return ""
	}
	s.world.Lock()
	defer s.world.Unlock()
	if m.line == nil {
		return ""
	}
	return m.line.Name()
}

// consoleLogin is what the gateway is logged in to as.
var consoleLogin = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(i-[a-f0-9]{8,30})\.port([0-9]{1,4})$`)
})

// admitConsole lets a key in that was pushed for the port in the last 60 seconds.
func (s *Server) admitConsole(c ssh.ConnMetadata, key ssh.PublicKey, proved bool) error {
	m, statement, err := s.judgeConsole(c.User(), key)
	if err == nil && proved {
		if len(s.faults.Strike(fault.LayerGateway, fault.Target{Instance: m.ID}, func(f fault.Spec) bool { return f.Name == faultGatewayRefuse })) > 0 {
			err = errors.New("the fault " + faultGatewayRefuse + " refuses it")
		}
	}
	if err != nil {
		event := GatewayEvent{Event: gatewayRefused, Client: c.RemoteAddr().String(), Login: c.User(), Key: ssh.FingerprintSHA256(key), Detail: err.Error()}
		if m != nil {
			event.Instance = m.ID
		}
		event.about(statement)
		s.gatewayEvent(event)
	}
	return err
}

// judgeConsole returns the push that lets a key in, or why there is none. The
// client does not learn why.
func (s *Server) judgeConsole(login string, key ssh.PublicKey) (*machine, *keyrecord.Statement, error) {
	parts := consoleLogin().FindStringSubmatch(login)
	if parts == nil {
		return nil, nil, errors.New("the login name is not INSTANCE-ID.port0")
	}
	m := s.machine(parts[1])
	if m == nil {
		return nil, nil, errors.New("there is no such instance")
	}
	if parts[2] != "0" {
		return m, nil, errors.New("there is no serial port but port 0")
	}
	statement, err := s.consoleKey(m, key)
	if err != nil {
		return m, nil, err
	}
	s.world.Lock()
	state, joined := m.State, m.line != nil
	s.world.Unlock()
	switch {
	case state != Running:
		return m, statement, fmt.Errorf("the instance is %s; it must be running", state)
	case !s.serialAccess(world.Scope{Account: api.AccountOf(statement.Caller), Region: m.Region}):
		return m, statement, errors.New("the account's access to the serial console was turned off after the push")
	case !joined:
		return m, statement, errors.New("the serial port of the instance is joined to nothing")
	}
	return m, statement, nil
}

// consoleKey finds a key among those that are pushed for port 0.
func (s *Server) consoleKey(m *machine, key ssh.PublicKey) (*keyrecord.Statement, error) {
	pushed, err := s.SerialKeys(m.ID, 0)
	if err != nil {
		return nil, err
	}
	blob := key.Marshal()
	for i := range pushed {
		one, _, _, _, err := ssh.ParseAuthorizedKey([]byte(pushed[i].Key))
		if err == nil && bytes.Equal(one.Marshal(), blob) {
			return &pushed[i], nil
		}
	}
	s.world.Lock()
	expired := slices.Contains(m.ConsolePushes, ssh.FingerprintSHA256(key))
	s.world.Unlock()
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

// rememberPush needs mu.
func (m *machine) rememberPush(line string) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return
	}
	if len(m.ConsolePushes) >= maxConsolePushes {
		m.ConsolePushes = slices.Delete(m.ConsolePushes, 0, 1)
	}
	m.ConsolePushes = append(m.ConsolePushes, ssh.FingerprintSHA256(key))
}

// startConsole takes the session of an instance for a client.
func (s *Server) startConsole(c ssh.ConnMetadata, key ssh.PublicKey) (*gateway.Session, error) {
	event := GatewayEvent{Event: gatewayRefused, Client: c.RemoteAddr().String(), Login: c.User(), Key: ssh.FingerprintSHA256(key)}
	m, statement, err := s.judgeConsole(c.User(), key) // what held when the key was proved may not hold any more
	if m != nil {
		event.Instance = m.ID
	}
	event.about(statement)
	var session *consoleSession
	var over context.Context
	if err == nil {
		session, over, err = s.joinConsole(m)
	}
	if err != nil {
		event.Detail = err.Error()
		s.gatewayEvent(event)
		return nil, err
	}
	event.Event = gatewayStarted
	s.gatewayEvent(event)
	return &gateway.Session{
		Line: session.line,
		Over: over,
		End: func(why error, dropped int64) {
			err := s.leaveConsole(session)
			event.Event, event.Detail = gatewayEnded, why.Error()
			if dropped > 0 {
				event.Detail += "; " + strconv.FormatInt(dropped, 10) + " bytes of output were dropped, since the client did not take them"
			}
			if err != nil {
				event.Detail += "; " + err.Error()
			}
			s.gatewayEvent(event)
		},
	}, nil
}

// joinConsole begins a session that ends by itself when its time is over.
func (s *Server) joinConsole(m *machine) (*consoleSession, context.Context, error) {
	number, err := s.startSerial(m, true)
	if err != nil {
		return nil, nil, err
	}
	cuts := s.faults.Strike(fault.LayerGateway, fault.Target{Instance: m.ID}, func(f fault.Spec) bool { return f.Name == faultGatewayCut })
	s.world.Lock()
	defer s.world.Unlock()
	if m.SerialNumber != number || !m.SerialEnded.IsZero() {
		return nil, nil, errSessionEnded // before cutConsole could see it
	}
	over, end := context.WithCancelCause(context.Background())
	session := &consoleSession{machine: m, line: m.line, number: number, end: end}
	for _, f := range cuts {
		cut, _ := time.ParseDuration(f.Value) // it was checked
		session.cuts = append(session.cuts, time.AfterFunc(cut, func() { end(errSessionCut) }))
	}
	session.deadline = m.SerialSince.Add(world.SerialSessionLimit)
	session.timer = time.AfterFunc(session.deadline.Sub(s.now()), func() { s.recheckConsole(session) })
	s.gateway.sessions[session] = true
	return session, over, nil
}

// recheckConsole ends a session whose time is over on the emulator's clock.
func (s *Server) recheckConsole(session *consoleSession) {
	s.world.Lock()
	defer s.world.Unlock()
	s.checkDeadline(session)
}

// checkDeadline needs mu.
func (s *Server) checkDeadline(session *consoleSession) {
	if left := session.deadline.Sub(s.now()); left > 0 {
		session.timer.Reset(left)
		return
	}
	session.end(errSessionLimit)
}

// clockMoved looks at every session anew.
func (s *Server) clockMoved() {
	if s.gateway == nil {
		return
	}
	s.world.Lock()
	defer s.world.Unlock()
	for session := range s.gateway.sessions {
		s.checkDeadline(session)
	}
}

// leaveConsole gives the session back.
func (s *Server) leaveConsole(session *consoleSession) error {
	s.world.Lock()
	for _, t := range append(session.cuts, session.timer) {
		t.Stop()
	}
	delete(s.gateway.sessions, session)
	s.world.Unlock()
	session.end(context.Canceled)
	return s.endSerial(session.machine, session.number)
}

// cutConsole ends the session of an instance, if the gateway has one. It needs
// mu.
func (s *Server) cutConsole(m *machine, why error) {
	if s.gateway == nil {
		return
	}
	for session := range s.gateway.sessions {
		if session.machine == m {
			session.end(why)
		}
	}
}

// bindGateway needs mu.
func (s *Server) bindGateway() (err error) {
	if s.gateway == nil {
		return nil
	}
	for _, m := range s.all() {
		if m.Serial == "" {
			continue
		}
		target, err := gateway.ParseTarget(m.Serial)
		if err != nil {
			return err // newMachine has parsed it
		}
		if m.line, err = gateway.Open(target); err != nil {
			return fmt.Errorf("cannot join the serial port of %s: %w", m.ID, err)
		}
	}
	if s.gateway.listener, err = listen(s.options.GatewayAddress); err != nil {
		return fmt.Errorf("cannot serve the serial console gateway: %w", err)
	}
	return nil
}

// closeGateway needs mu.
func (s *Server) closeGateway() {
	if s.gateway == nil {
		return
	}
	if s.gateway.listener != nil {
		s.gateway.listener.Close()
		s.gateway.listener = nil
	}
	for _, m := range s.all() {
		if m.line != nil {
			m.line.Close()
			m.line = nil
		}
	}
}
