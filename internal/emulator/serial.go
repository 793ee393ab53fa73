package emulator

import (
	"errors"
	"fmt"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

// defaultSerialPause is how long after a session no other can start.
const defaultSerialPause = 30 * time.Second

// ErrSerialSessionLimit is what StartSerialSession returns while the instance
// has a session.
var ErrSerialSessionLimit = errors.New("the instance has a serial console session already")

// SerialUser returns the login name that the serial console gateway uses for a
// port of an instance. A key pushed for the port is published for that name.
func SerialUser(instanceID string, port int) string { return world.SerialUser(instanceID, port) }

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
	err = s.world.Update(func(tx *world.Tx) error {
		if s.world.SerialBusy(m.Machine, s.serialPause()) {
			return ErrSerialSessionLimit
		}
		number = tx.StartSerial(m.Machine, ofGateway)
		return nil
	})
	return number, err
}

// EndSerialSession ends the session of an instance, if it has one. A client of
// the gateway is cut off.
func (s *Server) EndSerialSession(instanceID string) error {
	m, err := s.lookup(instanceID)
	if err != nil {
		return err
	}
	s.world.Lock()
	number := m.SerialNumber
	s.cutConsole(m, errSessionEnded)
	s.world.Unlock()
	return s.endSerial(m, number)
}

// endSerial ends one session, and no later one.
func (s *Server) endSerial(m *machine, number uint64) error {
	return s.world.Update(func(tx *world.Tx) error {
		tx.EndSerial(m.Machine, number)
		return nil
	})
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
	s.world.Lock()
	defer s.world.Unlock()
	var live []keyrecord.Statement
	for _, r := range m.Records.Of(SerialUser(instanceID, port), now) {
		if r.Console {
			live = append(live, r.Statement)
		}
	}
	return live, nil
}

func (s *Server) serialPause() time.Duration {
	if s.options.SerialPause == 0 {
		return defaultSerialPause
	}
	return s.options.SerialPause
}

func (s *Server) serialAccess(where world.Scope) bool {
	s.world.Lock()
	defer s.world.Unlock()
	return s.world.SerialAccessOf(where, s.options.SerialAccess)
}

// SetSerialAccess turns the switch of an account in a region, as
// EnableSerialConsoleAccess and DisableSerialConsoleAccess do.
func (s *Server) SetSerialAccess(account, region string, enabled bool) error {
	if account == "" || !api.RegionPattern().MatchString(region) {
		return fmt.Errorf("%q is not an account, or %q not a region", account, region)
	}
	return s.world.Update(func(tx *world.Tx) error {
		tx.SetSerialAccess(world.Scope{Account: account, Region: region}, enabled)
		return nil
	})
}
