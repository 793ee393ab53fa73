package emulator

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

const (
	// defaultSerialPause is how long after a session no other can start.
	defaultSerialPause = 30 * time.Second
	// serialSessionLimit is when the gateway ends a session.
	serialSessionLimit = time.Hour
)

// ErrSerialSessionLimit is what StartSerialSession returns while the instance
// has a session.
var ErrSerialSessionLimit = errors.New("the instance has a serial console session already")

// SerialUser returns the login name that the serial console gateway uses for a
// port of an instance. A key pushed for the port is published for that name.
func SerialUser(instanceID string, port int) string {
	return instanceID + ".port" + strconv.Itoa(port)
}

// StartSerialSession takes the one serial console session that an instance can
// have. The error is ErrSerialSessionLimit while there is one, and for 30
// seconds (see Options.SerialPause) after it ended; a session that is never
// ended is over after an hour.
func (s *Server) StartSerialSession(instanceID string) error {
	m, err := s.lookup(instanceID)
	if err != nil {
		return err
	}
	_, err = s.startSerial(m, false)
	return err
}

// startSerial returns the number of the session among those of the machine.
// One of the gateway does not outlive the emulator.
func (s *Server) startSerial(m *machine, ofGateway bool) (number uint64, err error) {
	now := s.now()
	s.mu.Lock()
	busy := s.serialBusy(m, now)
	if !busy {
		m.serialSince, m.serialEnded, m.serialOfGateway = now, time.Time{}, ofGateway
		m.serialNumber++
		number = m.serialNumber
	}
	s.mu.Unlock()
	if busy {
		return 0, ErrSerialSessionLimit
	}
	if err := s.persist(); err != nil {
		return 0, errors.Join(err, s.endSerial(m, number))
	}
	return number, nil
}

// EndSerialSession ends the session of an instance, if it has one. A client of
// the gateway is cut off.
func (s *Server) EndSerialSession(instanceID string) error {
	m, err := s.lookup(instanceID)
	if err != nil {
		return err
	}
	s.mu.Lock()
	number := m.serialNumber
	s.cutConsole(m, errSessionEnded)
	s.mu.Unlock()
	return s.endSerial(m, number)
}

// endSerial ends one session, and no later one.
func (s *Server) endSerial(m *machine, number uint64) error {
	now := s.now()
	s.mu.Lock()
	if m.serialNumber == number && !m.serialSince.IsZero() && m.serialEnded.IsZero() {
		m.serialEnded = now
	}
	s.mu.Unlock()
	return s.persist()
}

// SerialKeys returns the keys that SendSerialConsoleSSHPublicKey has pushed for
// a port of an instance and that still live, oldest first: what the gateway lets
// in. SendSSHPublicKey for the same name publishes a key to the instance, and
// opens no gateway.
func (s *Server) SerialKeys(instanceID string, port int) ([]keyrecord.Statement, error) {
	m, err := s.lookup(instanceID)
	if err != nil {
		return nil, err
	}
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var live []keyrecord.Statement
	for _, r := range m.records.of(SerialUser(instanceID, port), now) {
		if r.console {
			live = append(live, r.statement)
		}
	}
	return live, nil
}

// serialBusy needs Server.mu.
func (s *Server) serialBusy(m *machine, now time.Time) bool {
	if m.serialSince.IsZero() {
		return false
	}
	ended := m.serialEnded
	if over := m.serialSince.Add(serialSessionLimit); ended.IsZero() && !now.Before(over) {
		ended = over
	}
	return ended.IsZero() || now.Before(ended.Add(s.serialPause()))
}

func (s *Server) serialPause() time.Duration {
	if s.options.SerialPause == 0 {
		return defaultSerialPause
	}
	return s.options.SerialPause
}

// serialReady says why no serial console session can be had on a running
// instance.
func (s *Server) serialReady(m *machine, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !nitro(m.Type):
		return clientError("EC2InstanceTypeInvalidException", "The instance type %s is not supported for connecting via the serial console. Only Nitro instance types are currently supported.", m.Type)
	case m.OldBIOS:
		return exception("SerialConsoleSessionUnsupportedException")
	case s.serialBusy(m, now):
		return exception("SerialConsoleSessionLimitExceededException")
	}
	return nil
}

// nitro reports whether a type has a serial console: the types on the Nitro
// system, without the bare metal ones that the User Guide excepts.
func nitro(instanceType string) bool {
	family, size, _ := strings.Cut(instanceType, ".")
	if strings.HasPrefix(size, "metal") {
		switch family {
		case "a1", "mac1", "mac2", "g5g":
			return false
		}
		return !strings.HasPrefix(family, "mac2") && !strings.HasPrefix(family, "u-")
	}
	switch family {
	case "t1", "t2", "m1", "m2", "m3", "m4", "c1", "c3", "c4", "cc1", "cc2", "cg1", "cr1", "hs1", "hi1", "h1",
		"r3", "r4", "x1", "x1e", "d2", "i2", "i3", "p2", "p3", "g2", "g3", "g3s", "f1":
		return false
	}
	return true
}

// serialAccessOperations is the switch that an account has in each region.
func (s *Server) serialAccessOperations() []operation {
	set := func(enabled bool) func(*call) (any, error) {
		return func(c *call) (any, error) {
			if err := errors.Join(c.checkKnown(), c.dryRun()); err != nil {
				return nil, err
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.regionOf(c.scope()).SerialAccess = &enabled
			return serialAccessOutput{Enabled: enabled}, nil
		}
	}
	return []operation{
		{name: "EnableSerialConsoleAccess", handle: set(true)},
		{name: "DisableSerialConsoleAccess", handle: set(false)},
		{name: "GetSerialConsoleAccessStatus", readOnly: true, handle: func(c *call) (any, error) {
			if err := errors.Join(c.checkKnown(), c.dryRun()); err != nil {
				return nil, err
			}
			return serialAccessOutput{Enabled: s.serialAccess(c.scope()), ManagedBy: "account"}, nil
		}},
	}
}

type serialAccessOutput struct {
	XMLName   xml.Name `xml:"output"`
	Enabled   bool     `xml:"serialConsoleAccessEnabled"`
	ManagedBy string   `xml:"managedBy,omitempty"`
}

func (s *Server) serialAccess(where scope) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if set := s.regionOf(where).SerialAccess; set != nil {
		return *set
	}
	return s.options.SerialAccess
}

// SetSerialAccess turns the switch of an account in a region, as
// EnableSerialConsoleAccess and DisableSerialConsoleAccess do.
func (s *Server) SetSerialAccess(account, region string, enabled bool) error {
	if account == "" || !regionPattern().MatchString(region) {
		return fmt.Errorf("%q is not an account, or %q not a region", account, region)
	}
	s.mu.Lock()
	s.regionOf(scope{account, region}).SerialAccess = &enabled
	s.mu.Unlock()
	return s.persist()
}
