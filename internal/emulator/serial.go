package emulator

import (
	"fmt"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/console"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

// defaultSerialPause is how long after a session no other can start.
const defaultSerialPause = 30 * time.Second

// ErrSerialSessionLimit is what StartSerialSession returns while the instance
// has a session.
var ErrSerialSessionLimit = console.ErrSessionLimit

// A GatewayEvent is what the serial console gateway has to say of a client; see
// package console.
type GatewayEvent = console.Event

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
	return s.console.StartSession(m.Machine)
}

// EndSerialSession ends the session of an instance, if it has one. A client of
// the gateway is cut off.
func (s *Server) EndSerialSession(instanceID string) error {
	m, err := s.lookup(instanceID)
	if err != nil {
		return err
	}
	return s.console.EndSession(m.Machine)
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
	return s.console.Keys(m.Machine, port), nil
}

func (s *Server) serialPause() time.Duration {
	if s.options.SerialPause == 0 {
		return defaultSerialPause
	}
	return s.options.SerialPause
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

// GatewayAddr returns the host and port of the gateway, empty before Listen and
// where there is none.
func (s *Server) GatewayAddr() string { return s.console.Address() }

// SerialPort returns what the serial port of an instance is joined to, such as
// the guest's end of a pty; empty before Listen and where it is joined to
// nothing.
func (s *Server) SerialPort(instanceID string) string {
	m := s.machine(instanceID)
	if m == nil {
		return ""
	}
	return s.console.Port(m.Machine)
}

// GatewayEvents returns the latest events of the serial console gateway, oldest
// first, at most 1024 of them.
func (s *Server) GatewayEvents() []GatewayEvent { return s.console.Events() }

// GatewayFingerprint returns the SHA-256 fingerprint of the gateway's host key,
// empty where there is no gateway.
func (s *Server) GatewayFingerprint() string { return s.console.Fingerprint() }

// KnownHosts returns the line of a known_hosts file for the gateway, empty
// before Listen and where there is none.
func (s *Server) KnownHosts() []byte { return s.console.KnownHosts() }

// WriteKnownHosts writes KnownHosts to a file.
func (s *Server) WriteKnownHosts(path string) error { return WriteFile(path, s.KnownHosts(), 0o644) }
