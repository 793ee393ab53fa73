package emulator

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/fault"
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
	m, err := s.lookup(on.ID)
	if err != nil {
		return err
	}
	r.Expires = s.now().Add(keyLifetime).Truncate(time.Second)
	r.Statement = keyrecord.Statement{
		Expires:  now.Add(keyLifetime).Truncate(time.Second),
		Instance: m.ID,
		Caller:   caller,
		Request:  requestID,
		Key:      key,
	}
	if r.Console {
		m.rememberPush(key)
	}
	return tx.Publish(m.Machine, r)
}

// Sign returns the record of a statement, signed by the signer of the region
// that instanceID is in. The statement itself is not checked; it may well be
// about another instance.
func (s *Server) Sign(instanceID string, statement keyrecord.Statement) ([]byte, error) {
	m, err := s.lookup(instanceID)
	if err != nil {
		return nil, err
	}
	return m.signer.latest().sign(statement)
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

// keysOf returns what is served for a user to a session that sees the
// generation g of the signer; false when there is nothing.
func (s *Server) keysOf(m *machine, g *generation, user string, now time.Time, t fault.Target) (body []byte, found bool, err error) {
	s.world.Lock()
	records := m.Records.Of(user, now)
	s.world.Unlock()
	if len(records) == 0 {
		return nil, false, nil
	}
	var hits []hit
	if slices.ContainsFunc(records, func(r *world.Record) bool { return r.Raw == nil }) {
		hits = s.strikes(layerRecord, t, nil)
	}
	var b bytes.Buffer
	for _, r := range records {
		one, err := s.renderRecord(g, r, now, hits)
		if err != nil {
			return nil, false, err
		}
		b.Write(one)
	}
	return b.Bytes(), true, nil
}

// renderRecord applies the faults of records.
func (s *Server) renderRecord(g *generation, r *world.Record, now time.Time, hits []hit) ([]byte, error) {
	if len(hits) == 0 || r.Raw != nil {
		return g.render(r)
	}
	statement, by := r.Statement, g
	for _, h := range hits {
		if h.kind.statement != nil {
			h.kind.statement(&statement, now, h.spec)
		}
		if h.kind.foreignSigner {
			leaf, err := s.foreignSigner()
			if err != nil {
				return nil, err
			}
			by = &generation{leaf: leaf}
		}
	}
	body, err := by.sign(statement)
	if err != nil {
		return nil, err
	}
	for _, h := range hits {
		if h.kind.record != nil {
			body = h.kind.record(body)
		}
	}
	return body, nil
}
