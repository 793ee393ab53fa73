package emulator

import (
	"fmt"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/console"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

// keyLifetime is how long a pushed key is served.
const keyLifetime = 60 * time.Second

// Push publishes key for user as the API would, and returns what was signed.
// An empty caller is left out of the record. It differs from the API in that
// key and user are taken as they are, whatever the state of the instance; only
// a key that is not one line, or that would be read as a field, is refused.
func (s *Server) Push(instanceID, user, key, caller string) (keyrecord.Statement, error) {
	r := &world.Record{User: user}
	err := s.update(instanceID, func(tx *world.Tx, m *machine) error {
		return s.pushed(tx, m.Machine, r, key, caller, world.NewUUID(), s.awsNow())
	})
	if err != nil {
		return keyrecord.Statement{}, err
	}
	return r.Statement, nil
}

// pushed publishes a key that is pushed at the time now on AWS's clock. A key for
// the serial console is let in by the gateway too.
func (s *Server) pushed(tx *world.Tx, on *world.Machine, r *world.Record, key, caller, requestID string, now time.Time) error {
	if key == "" || key[0] == '#' || strings.ContainsAny(key, "\r\n") {
		return fmt.Errorf("a key must be one line that does not begin with #")
	}
	r.Expires = s.Now().Add(keyLifetime).Truncate(time.Second)
	r.Statement = keyrecord.Statement{
		Expires:  now.Add(keyLifetime).Truncate(time.Second),
		Instance: on.ID,
		Caller:   caller,
		Request:  requestID,
		Key:      key,
	}
	if r.Console {
		console.RememberPush(on, key)
	}
	return tx.Publish(on, r)
}

// Sign returns the record of a statement, signed by the signer of the region
// that instanceID is in. The statement itself is not checked; it may well be
// about another instance.
func (s *Server) Sign(instanceID string, statement keyrecord.Statement) ([]byte, error) {
	m, err := s.lookup(instanceID)
	if err != nil {
		return nil, err
	}
	return s.signers.Of(m.Machine).Latest().Sign(statement)
}

// Publish adds bytes, as they are, to what the metadata service serves for a
// user. They stay until Withdraw.
func (s *Server) Publish(instanceID, user string, body []byte) error {
	return s.update(instanceID, func(tx *world.Tx, m *machine) error {
		return tx.Publish(m.Machine, &world.Record{User: user, Raw: append([]byte{}, body...)})
	})
}

// Withdraw removes everything that is served for a user.
func (s *Server) Withdraw(instanceID, user string) error {
	return s.update(instanceID, func(tx *world.Tx, m *machine) error {
		tx.Withdraw(m.Machine, func(r *world.Record) bool { return r.User == user })
		return nil
	})
}
