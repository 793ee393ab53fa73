package emulator

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

// keyLifetime is how long a pushed key is served.
const keyLifetime = 60 * time.Second

// A record is what is served for one user of one instance.
type record struct {
	user    string
	body    []byte
	expires time.Time // zero: never
}

// Push publishes key for user as the API would, and returns what was signed.
// An empty caller is left out of the record. It differs from the API in that
// key and user are taken as they are, whatever the state of the instance; only
// a key that is not one line, or that would be read as a field, is refused.
func (s *Server) Push(instanceID, user, key, caller string) (keyrecord.Statement, error) {
	return s.push(instanceID, user, key, caller, newRequestID())
}

func (s *Server) push(instanceID, user, key, caller, requestID string) (keyrecord.Statement, error) {
	if key == "" || key[0] == '#' || strings.ContainsAny(key, "\r\n") {
		return keyrecord.Statement{}, fmt.Errorf("a key must be one line that does not begin with #")
	}
	statement := keyrecord.Statement{
		Expires:  s.options.Now().Add(keyLifetime).Truncate(time.Second),
		Instance: instanceID,
		Caller:   caller,
		Request:  requestID,
		Key:      key,
	}
	body, err := s.Sign(instanceID, statement)
	if err != nil {
		return keyrecord.Statement{}, err
	}
	if err := s.publish(instanceID, record{user, body, statement.Expires}); err != nil {
		return keyrecord.Statement{}, err
	}
	return statement, nil
}

// Sign returns the record of a statement, signed by the signer of the region
// that instanceID is in. The statement itself is not checked; it may well be
// about another instance.
func (s *Server) Sign(instanceID string, statement keyrecord.Statement) ([]byte, error) {
	m, err := s.lookup(instanceID)
	if err != nil {
		return nil, err
	}
	signed := statement.SignedBytes()
	signature, err := m.signer.leaf.SignPSS(signed)
	if err != nil {
		return nil, err
	}
	return keyrecord.Encode(signed, signature), nil
}

// Publish adds bytes, as they are, to what the metadata service serves for a
// user. They stay until Withdraw.
func (s *Server) Publish(instanceID, user string, body []byte) error {
	return s.publish(instanceID, record{user: user, body: append([]byte(nil), body...)})
}

func (s *Server) publish(instanceID string, r record) error {
	m, err := s.lookup(instanceID)
	if err != nil {
		return err
	}
	if r.user == "" || strings.Contains(r.user, "/") {
		return fmt.Errorf("%q cannot be a user: the metadata service has no path for it", r.user)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.dropExpired(s.options.Now())
	m.records = append(m.records, r)
	return nil
}

// Withdraw removes everything that is served for a user.
func (s *Server) Withdraw(instanceID, user string) error {
	m, err := s.lookup(instanceID)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := m.records[:0]
	for _, r := range m.records {
		if r.user != user {
			kept = append(kept, r)
		}
	}
	m.records = kept
	return nil
}

// dropExpired needs Server.mu.
func (m *machine) dropExpired(now time.Time) {
	kept := m.records[:0]
	for _, r := range m.records {
		if r.expires.IsZero() || now.Before(r.expires) {
			kept = append(kept, r)
		}
	}
	m.records = kept
}

// newRequestID returns a version 4 UUID.
func newRequestID() string {
	var u [16]byte
	rand.Read(u[:])
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
