package world

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

// A Record is what is served for one user of one instance: a statement, which
// is signed for who asks, or raw bytes, as they are.
type Record struct {
	User      string
	Statement keyrecord.Statement
	Raw       []byte    // not nil: served instead
	Console   bool      // the gateway lets it in too
	Expires   time.Time // zero: never

	number uint64

	mu     sync.Mutex
	signed map[int][]byte // by generation of the signer
}

// Signed returns the record as a generation of the signer signs it. It calls sign
// once for each.
func (r *Record) Signed(generation int, sign func(keyrecord.Statement) ([]byte, error)) ([]byte, error) {
	if r.Raw != nil {
		return r.Raw, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if body, ok := r.signed[generation]; ok {
		return body, nil
	}
	body, err := sign(r.Statement)
	if err != nil {
		return nil, err
	}
	if r.signed == nil {
		r.signed = make(map[int][]byte)
	}
	r.signed[generation] = body
	return body, nil
}

// A Keyring holds the records of one instance. What has expired is not kept.
// It is guarded by the lock of the World.
type Keyring struct {
	byUser map[string][]*Record // oldest first
	queue  []*Record            // those that expire, in the order of their push
}

func (k *Keyring) add(r *Record, now time.Time) {
	k.drop(now)
	if k.byUser == nil {
		k.byUser = make(map[string][]*Record)
	}
	k.byUser[r.User] = append(k.byUser[r.User], r)
	if !r.Expires.IsZero() {
		k.queue = append(k.queue, r)
	}
}

// drop forgets what has expired. All records live equally long, so the first
// one that lives ends the search; should the clock have been set back, Of will
// still not return the others.
func (k *Keyring) drop(now time.Time) {
	n := 0
	for n < len(k.queue) && !now.Before(k.queue[n].Expires) {
		k.remove(k.queue[n])
		n++
	}
	if n == 0 {
		return
	}
	clear(k.queue[:n])
	k.queue = k.queue[n:]
	if len(k.queue) == 0 {
		k.queue = nil
	}
}

func (k *Keyring) remove(r *Record) {
	records := k.byUser[r.User]
	if i := slices.Index(records, r); i >= 0 {
		records = slices.Delete(records, i, i+1)
	}
	if len(records) == 0 {
		delete(k.byUser, r.User)
	} else {
		k.byUser[r.User] = records
	}
}

// Of returns the records that a user has now, oldest first.
func (k *Keyring) Of(user string, now time.Time) []*Record {
	k.drop(now)
	var live []*Record
	for _, r := range k.byUser[user] {
		if r.Expires.IsZero() || now.Before(r.Expires) {
			live = append(live, r)
		}
	}
	return live
}

// Users returns who has records now, in order.
func (k *Keyring) Users(now time.Time) []string {
	k.drop(now)
	return slices.Sorted(maps.Keys(k.byUser))
}

func (k *Keyring) removeOne(r *Record) {
	k.remove(r)
	k.queue = slices.DeleteFunc(k.queue, func(other *Record) bool { return other == r })
}

// clone returns a keyring that changes of this one do not reach.
func (k *Keyring) clone() Keyring {
	c := Keyring{queue: slices.Clone(k.queue)}
	if k.byUser != nil {
		c.byUser = make(map[string][]*Record, len(k.byUser))
		for user, records := range k.byUser {
			c.byUser[user] = slices.Clone(records)
		}
	}
	return c
}
