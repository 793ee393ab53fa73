package emulator

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

// A record is what is served for one user of one instance: a statement, which
// is signed for who asks, or raw bytes, as they are.
type record struct {
	user      string
	statement keyrecord.Statement
	raw       []byte    // not nil: served instead
	console   bool      // the gateway lets it in too
	expires   time.Time // zero: never

	mu     sync.Mutex
	signed map[int][]byte // by generation of the signer
}

// A keyring holds the records of one instance. What has expired is not kept.
// It is guarded by Server.mu.
type keyring struct {
	byUser map[string][]*record // oldest first
	queue  []*record            // those that expire, in the order of their push
}

func (k *keyring) add(r *record, now time.Time) {
	k.drop(now)
	if k.byUser == nil {
		k.byUser = make(map[string][]*record)
	}
	k.byUser[r.user] = append(k.byUser[r.user], r)
	if !r.expires.IsZero() {
		k.queue = append(k.queue, r)
	}
}

// drop forgets what has expired. All records live equally long, so the first
// one that lives ends the search; should the clock have been set back, of will
// still not return the others.
func (k *keyring) drop(now time.Time) {
	n := 0
	for n < len(k.queue) && !now.Before(k.queue[n].expires) {
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

func (k *keyring) remove(r *record) {
	records := k.byUser[r.user]
	if i := slices.Index(records, r); i >= 0 {
		records = slices.Delete(records, i, i+1)
	}
	if len(records) == 0 {
		delete(k.byUser, r.user)
	} else {
		k.byUser[r.user] = records
	}
}

func (k *keyring) removeUser(user string) {
	delete(k.byUser, user)
	k.queue = slices.DeleteFunc(k.queue, func(r *record) bool { return r.user == user })
}

// of returns the records that a user has now, oldest first.
func (k *keyring) of(user string, now time.Time) []*record {
	k.drop(now)
	var live []*record
	for _, r := range k.byUser[user] {
		if r.expires.IsZero() || now.Before(r.expires) {
			live = append(live, r)
		}
	}
	return live
}

// users returns who has records now, in order.
func (k *keyring) users(now time.Time) []string {
	k.drop(now)
	return slices.Sorted(maps.Keys(k.byUser))
}
