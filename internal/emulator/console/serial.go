package console

import (
	"errors"

	"github.com/eic-agent/eic-agent/internal/emulator/world"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

// ErrSessionLimit is what StartSession returns while the instance
// has a session.
var ErrSessionLimit = errors.New("the instance has a serial console session already")

// StartSession takes the one serial console session that an instance can have. The
// error is ErrSessionLimit while there is one, and for the pause after it ended; a
// session that is never ended is over after an hour.
func (c *Console) StartSession(m *world.Machine) error {
	_, err := c.startSession(m, false)
	return err
}

// startSession returns the number of the session among those of the machine.
// One of the gateway does not outlive the emulator.
func (c *Console) startSession(m *world.Machine, ofGateway bool) (number uint64, err error) {
	err = c.o.World.Update(func(tx *world.Tx) error {
		if c.o.World.SerialBusy(m, c.o.Pause) {
			return ErrSessionLimit
		}
		number = tx.StartSerial(m, ofGateway)
		return nil
	})
	return number, err
}

// EndSession ends the session of an instance, if it has one. A client of the
// gateway is cut off.
func (c *Console) EndSession(m *world.Machine) error {
	c.o.World.Lock()
	number := m.SerialNumber
	c.Cut(m, errSessionEnded)
	c.o.World.Unlock()
	return c.endSession(m, number)
}

// endSession ends one session, and no later one.
func (c *Console) endSession(m *world.Machine, number uint64) error {
	return c.o.World.Update(func(tx *world.Tx) error {
		tx.EndSerial(m, number)
		return nil
	})
}

// Keys returns the keys that SendSerialConsoleSSHPublicKey has pushed for a port of
// an instance and that still live, oldest first: what the gateway lets in.
func (c *Console) Keys(m *world.Machine, port int) []keyrecord.Statement {
	now := c.o.World.Now()
	c.o.World.Lock()
	defer c.o.World.Unlock()
	var live []keyrecord.Statement
	for _, r := range m.Records.Of(world.SerialUser(m.ID, port), now) {
		if r.Console {
			live = append(live, r.Statement)
		}
	}
	return live
}

func (c *Console) access(where world.Scope) bool {
	c.o.World.Lock()
	defer c.o.World.Unlock()
	return c.o.World.SerialAccessOf(where, c.o.Access)
}
