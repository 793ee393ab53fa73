package emulator

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/fault"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

// keyLifetime is how long a pushed key is served.
const keyLifetime = 60 * time.Second

// Push publishes key for user as the API would, and returns what was signed.
// An empty caller is left out of the record. It differs from the API in that
// key and user are taken as they are, whatever the state of the instance; only
// a key that is not one line, or that would be read as a field, is refused.
func (s *Server) Push(instanceID, user, key, caller string) (keyrecord.Statement, error) {
	m, err := s.lookup(instanceID)
	if err != nil {
		return keyrecord.Statement{}, err
	}
	statement, err := s.push(m, user, key, caller, newRequestID(), s.awsNow())
	if err != nil {
		return keyrecord.Statement{}, err
	}
	return statement, s.persist()
}

// push publishes a key that is pushed at the time awsNow on AWS's clock.
func (s *Server) push(m *machine, user, key, caller, requestID string, awsNow time.Time) (keyrecord.Statement, error) {
	return s.publishKey(m, &record{user: user}, key, caller, requestID, awsNow)
}

// pushConsole publishes a key for a serial port, and has the gateway let it in.
func (s *Server) pushConsole(m *machine, port int, key string, c *call) error {
	_, err := s.publishKey(m, &record{user: SerialUser(m.ID, port), console: true}, key, c.caller.ARN, c.requestID, c.now)
	if err == nil {
		s.mu.Lock()
		m.rememberPush(key)
		s.mu.Unlock()
	}
	return err
}

func (s *Server) publishKey(m *machine, r *record, key, caller, requestID string, awsNow time.Time) (keyrecord.Statement, error) {
	if key == "" || key[0] == '#' || strings.ContainsAny(key, "\r\n") {
		return keyrecord.Statement{}, fmt.Errorf("a key must be one line that does not begin with #")
	}
	now := s.now()
	r.expires = now.Add(keyLifetime).Truncate(time.Second)
	r.statement = keyrecord.Statement{
		Expires:  awsNow.Add(keyLifetime).Truncate(time.Second),
		Instance: m.ID,
		Caller:   caller,
		Request:  requestID,
		Key:      key,
	}
	// Signing now, and not when first asked, keeps a long list of keys
	// quick to serve.
	if _, err := m.signer.latest().render(r); err != nil {
		return keyrecord.Statement{}, err
	}
	if err := s.publish(m, r); err != nil {
		return keyrecord.Statement{}, err
	}
	return r.statement, nil
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
	m, err := s.lookup(instanceID)
	if err != nil {
		return err
	}
	if err := s.publish(m, &record{user: user, raw: append([]byte{}, body...)}); err != nil {
		return err
	}
	return s.persist()
}

func (s *Server) publish(m *machine, r *record) error {
	if r.user == "" || strings.Contains(r.user, "/") {
		return fmt.Errorf("%q cannot be a user: the metadata service has no path for it", r.user)
	}
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	m.records.add(r, now)
	return nil
}

// Withdraw removes everything that is served for a user.
func (s *Server) Withdraw(instanceID, user string) error {
	m, err := s.lookup(instanceID)
	if err != nil {
		return err
	}
	s.mu.Lock()
	m.records.removeUser(user)
	s.mu.Unlock()
	return s.persist()
}

// keysOf returns what is served for a user to a session that sees the
// generation g of the signer; false when there is nothing.
func (s *Server) keysOf(m *machine, g *generation, user string, now time.Time, t fault.Target) (body []byte, found bool, err error) {
	s.mu.Lock()
	records := m.records.of(user, now)
	s.mu.Unlock()
	if len(records) == 0 {
		return nil, false, nil
	}
	var hits []hit
	if slices.ContainsFunc(records, func(r *record) bool { return r.raw == nil }) {
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
func (s *Server) renderRecord(g *generation, r *record, now time.Time, hits []hit) ([]byte, error) {
	if len(hits) == 0 || r.raw != nil {
		return g.render(r)
	}
	statement, by := r.statement, g
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

// newRequestID returns a version 4 UUID.
func newRequestID() string {
	var u [16]byte
	rand.Read(u[:])
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// newHexID returns the 17 digits that the ids of EC2 have.
func newHexID() string {
	var b [9]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])[:17]
}
