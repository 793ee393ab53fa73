package world

import (
	"slices"
	"strings"
	"time"
)

// A Scope is where resources have their names: an account in a region.
type Scope struct{ Account, Region string }

func (s Scope) key() string { return s.Account + "/" + s.Region }

// A Region is what an account has in a region.
type Region struct {
	KeyPairs      []*KeyPair      // EC2's, oldest first
	LightsailKeys []*LightsailKey // oldest first
	DefaultKey    *LightsailKey   // of Lightsail; nil until it is asked for
	Operations    []*Operation    // of Lightsail, oldest first
	Endpoints     []*Endpoint     // of EC2 Instance Connect, oldest first
	SerialAccess  *bool           // nil: as the options say
}

// A Tag is a tag of a resource of EC2 or Lightsail.
type Tag struct {
	Key   string `xml:"key" json:"key"`
	Value string `xml:"value" json:"value,omitempty"`
}

// A KeyPair is one of EC2's.
type KeyPair struct {
	ID, Name    string
	Line        string // without comment
	Type        string // rsa or ed25519
	Fingerprint string
	Created     time.Time
	Tags        []Tag `json:",omitempty"`
}

// A LightsailKey is a key pair of Lightsail.
type LightsailKey struct {
	Name        string
	Line        string
	Fingerprint string
	Created     time.Time
	ID          string // UUID, in the ARN
	Tags        []Tag  `json:",omitempty"`
	Private     []byte `json:",omitempty"` // PEM; of the default key pair only
}

// maxOperations bounds the operations of Lightsail that are remembered.
const maxOperations = 1000

// An Operation is Lightsail's record of a call that changed something.
type Operation struct {
	ID, Resource, ResourceType, Type string
	Details                          string `json:",omitempty"`
	At                               time.Time
}

// An Endpoint is an EC2 Instance Connect Endpoint.
type Endpoint struct {
	ID               string
	Subnet, VPC      string
	Zone             string
	Created          time.Time
	PreserveClientIP bool
	SecurityGroups   []string
	IPAddressType    string
	Token            string `json:",omitempty"` // of the client
	State            string // create-complete or delete-complete
	Tags             []Tag  `json:",omitempty"`
}

// RegionOf needs the lock.
func (w *World) RegionOf(where Scope) *Region {
	r := w.regions[where]
	if r == nil {
		r = &Region{}
		w.regions[where] = r
	}
	return r
}

// Pair returns the key pair of a name, nil when there is none.
func (r *Region) Pair(name string) *KeyPair {
	return find(r.KeyPairs, func(p *KeyPair) bool { return p.Name == name })
}

// LightsailKey returns the key pair of a name, nil when there is none.
func (r *Region) LightsailKey(name string) *LightsailKey {
	return find(r.LightsailKeys, func(k *LightsailKey) bool { return k.Name == name })
}

func find[T any](all []*T, is func(*T) bool) *T {
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i]
	}
	return nil
}

// add and remove keep the slices that readers may still hold as they are.
func add[T any](t *Tx, list *[]*T, item *T, key string) {
	Set(t, list, append(slices.Clip(*list), item))
	t.save(key, item)
}

func remove[T any](t *Tx, list *[]*T, item *T, key string) {
	Set(t, list, slices.DeleteFunc(slices.Clone(*list), func(other *T) bool { return other == item }))
	t.save(key, nil)
}

// AddPair adds a key pair, and gives it to the instances that name it as theirs
// and have no key yet: for them the import comes before the launch.
func (t *Tx) AddPair(where Scope, p *KeyPair) {
	add(t, &t.w.RegionOf(where).KeyPairs, p, "pair/"+where.key()+"/"+p.ID)
	for _, m := range t.w.launchWith(where, p) {
		Set(t, &m.LaunchKey, p.Line+" "+p.Name)
		t.SaveMachine(m)
	}
}

// launchWith returns the instances that p is to be the launch key of.
func (w *World) launchWith(where Scope, p *KeyPair) []*Machine {
	var all []*Machine
	for _, m := range w.machines {
		if m.KeyName == p.Name && m.Region == where.Region && m.LaunchKey == "" && (m.Account == "" || m.Account == where.Account) {
			all = append(all, m)
		}
	}
	return all
}

// RemovePair removes a key pair.
func (t *Tx) RemovePair(where Scope, p *KeyPair) {
	remove(t, &t.w.RegionOf(where).KeyPairs, p, "pair/"+where.key()+"/"+p.ID)
}

// SavePair keeps what was changed of a key pair.
func (t *Tx) SavePair(where Scope, p *KeyPair) { t.save("pair/"+where.key()+"/"+p.ID, p) }

// AddLightsailKey adds a key pair of Lightsail.
func (t *Tx) AddLightsailKey(where Scope, k *LightsailKey) {
	add(t, &t.w.RegionOf(where).LightsailKeys, k, "lightsail/"+where.key()+"/"+k.ID)
}

// RemoveLightsailKey removes a key pair of Lightsail.
func (t *Tx) RemoveLightsailKey(where Scope, k *LightsailKey) {
	remove(t, &t.w.RegionOf(where).LightsailKeys, k, "lightsail/"+where.key()+"/"+k.ID)
}

// SaveLightsailKey keeps what was changed of a key pair of Lightsail.
func (t *Tx) SaveLightsailKey(where Scope, k *LightsailKey) {
	t.save("lightsail/"+where.key()+"/"+k.ID, k)
}

// SetDefaultKey sets the default key pair of Lightsail.
func (t *Tx) SetDefaultKey(where Scope, k *LightsailKey) {
	Set(t, &t.w.RegionOf(where).DefaultKey, k)
	t.save("default/"+where.key(), k)
}

// AddOperation remembers an operation of Lightsail, and forgets the oldest where
// there are too many.
func (t *Tx) AddOperation(where Scope, o *Operation) {
	r := t.w.RegionOf(where)
	add(t, &r.Operations, o, "operation/"+where.key()+"/"+o.ID)
	if len(r.Operations) > maxOperations {
		oldest := r.Operations[0]
		remove(t, &r.Operations, oldest, "operation/"+where.key()+"/"+oldest.ID)
	}
}

// AddEndpoint adds an EC2 Instance Connect Endpoint.
func (t *Tx) AddEndpoint(where Scope, e *Endpoint) {
	add(t, &t.w.RegionOf(where).Endpoints, e, "endpoint/"+where.key()+"/"+e.ID)
}

// RemoveEndpoint removes an EC2 Instance Connect Endpoint.
func (t *Tx) RemoveEndpoint(where Scope, e *Endpoint) {
	remove(t, &t.w.RegionOf(where).Endpoints, e, "endpoint/"+where.key()+"/"+e.ID)
}

// SaveEndpoint keeps what was changed of an endpoint.
func (t *Tx) SaveEndpoint(where Scope, e *Endpoint) {
	t.save("endpoint/"+where.key()+"/"+e.ID, e)
}

// SetSerialAccess turns the serial console of an account in a region on or off.
func (t *Tx) SetSerialAccess(where Scope, enabled bool) {
	Set(t, &t.w.RegionOf(where).SerialAccess, &enabled)
	t.save("serial/"+where.key(), enabled)
}

// scopeOf reads what Scope.key has written; rest is what follows.
func scopeOf(key string) (where Scope, rest string, ok bool) {
	parts := strings.SplitN(key, "/", 3)
	if len(parts) < 2 {
		return Scope{}, "", false
	}
	if len(parts) == 3 {
		rest = parts[2]
	}
	return Scope{parts[0], parts[1]}, rest, true
}
