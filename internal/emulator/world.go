package emulator

import (
	"slices"
	"time"
)

// A scope is where resources have their names: an account in a region.
type scope struct{ account, region string }

func (c *call) scope() scope { return scope{c.caller.Account, c.region} }

// A regionState is what an account has in a region. It is kept in the state
// file as it is.
type regionState struct {
	KeyPairs      []*keyPair      `json:",omitempty"` // EC2's, oldest first
	LightsailKeys []*lightsailKey `json:",omitempty"` // oldest first
	SerialAccess  *bool           `json:",omitempty"` // nil: as the options say
}

// A keyPair is one of EC2's.
type keyPair struct {
	ID, Name    string
	Line        string // without comment
	Type        string // rsa or ed25519
	Fingerprint string
	Created     time.Time
	Tags        []tag `json:",omitempty"`
}

type tag struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

// A lightsailKey is a key pair of Lightsail.
type lightsailKey struct {
	Name        string
	Line        string
	Fingerprint string
	Created     time.Time
	Support     string
}

// regionOf needs mu.
func (s *Server) regionOf(where scope) *regionState {
	state := s.regions[where]
	if state == nil {
		state = &regionState{}
		s.regions[where] = state
	}
	return state
}

// pair returns the key pair of a name, nil when there is none.
func (r *regionState) pair(name string) *keyPair {
	for _, p := range r.KeyPairs {
		if p.Name == name {
			return p
		}
	}
	return nil
}

func (r *regionState) remove(p *keyPair) {
	r.KeyPairs = slices.DeleteFunc(r.KeyPairs, func(other *keyPair) bool { return other == p })
}
