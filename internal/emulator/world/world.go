// Package world is what the emulator holds: instances, key pairs and everything
// else that calls change, under one lock, with a clock and a state file. It knows
// nothing of the protocols by which it is read and changed.
package world

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/statelog"
)

// A World is the state of an emulator. Its methods may be called from any
// goroutine, unless they say that they need the lock.
type World struct {
	clock   func() time.Time
	offset  atomic.Int64
	started time.Time

	sync.Mutex // guards what follows, and the mutable parts of machines
	machines   []*Machine
	regions    map[Scope]*Region
	blobs      map[string][]byte // of other packages, by key
	log        *statelog.Log     // nil where nothing is kept
	keeping    bool              // Keep was called
	lastRecord uint64
}

// New returns a World without instances. clock is the host's.
func New(clock func() time.Time) *World {
	return &World{clock: clock, started: clock(), regions: make(map[Scope]*Region), blobs: make(map[string][]byte)}
}

// Now returns the time on the emulator's clock.
func (w *World) Now() time.Time { return w.clock().Add(time.Duration(w.offset.Load())) }

// HostNow returns the time on the clock of the host, which callers share.
func (w *World) HostNow() time.Time { return w.clock() }

// Started returns when the emulator was started, on its clock.
func (w *World) Started() time.Time { return w.started }

// Advance moves the emulator's clock ahead of the host's by d more than it is.
func (w *World) Advance(d time.Duration) { w.offset.Add(int64(d)) }

// ResetClock sets the emulator's clock back to the host's.
func (w *World) ResetClock() { w.offset.Store(0) }

// Machines returns all instances, in the order in which they came. It needs the
// lock.
func (w *World) Machines() []*Machine { return w.machines }

// Machine returns nil when there is no such instance. It needs the lock.
func (w *World) Machine(id string) *Machine {
	for _, m := range w.machines {
		if m.ID == id {
			return m
		}
	}
	return nil
}

// Add adds an instance that the options name. It needs the lock, and is not kept
// in the state file.
func (w *World) Add(m *Machine) error {
	if w.Machine(m.ID) != nil {
		return fmt.Errorf("instance %s is given twice", m.ID)
	}
	m.Launched = w.started
	w.machines = append(w.machines, m)
	return nil
}

// A Tx is a change to the world in the making.
type Tx struct {
	w       *World
	entries []statelog.Entry
	undo    []func()
}

// Update calls f with the lock held. It returns when what f has saved is on the
// disk. When f fails, or that cannot be written, everything that f passed to Tx
// how to undo is undone, and the world is as if f had not been called.
func (w *World) Update(f func(*Tx) error) error {
	tx := &Tx{w: w}
	w.Lock()
	if err := f(tx); err != nil {
		tx.rollBack()
		w.Unlock()
		return err
	}
	if !w.keeping || len(tx.entries) == 0 {
		w.Unlock()
		return nil
	}
	change := w.log.Queue(tx.entries, tx.rollBack)
	w.Unlock()
	return w.log.Wait(change)
}

// Undo has f called, with the lock held, if the change fails. Later ones are
// called first.
func (t *Tx) Undo(f func()) { t.undo = append(t.undo, f) }

func (t *Tx) rollBack() {
	for _, f := range slices.Backward(t.undo) {
		f()
	}
	t.undo = nil
}

// save keeps a value under a key; nil removes it.
func (t *Tx) save(key string, value any) {
	if !t.w.keeping {
		return
	}
	var raw json.RawMessage
	if value != nil {
		raw = marshal(value)
	}
	t.entries = append(t.entries, statelog.Entry{Key: key, Value: raw})
}

// marshal is for the types of this package, which all can be marshalled.
func marshal(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("world: %T: %v", v, err))
	}
	return raw
}

// Set assigns a value, and assigns the old one again if the change fails.
func Set[T any](t *Tx, to *T, value T) {
	old := *to
	*to = value
	t.Undo(func() { *to = old })
}

// SetBlob keeps bytes of another package under a key.
func (t *Tx) SetBlob(key string, data []byte) {
	old, had := t.w.blobs[key]
	t.w.blobs[key] = data
	t.Undo(func() {
		if delete(t.w.blobs, key); had {
			t.w.blobs[key] = old
		}
	})
	t.save("blob/"+key, data)
}

// Blob returns what SetBlob has kept, nil when it has not. It needs the lock.
func (w *World) Blob(key string) []byte { return w.blobs[key] }

// BlobKeys returns the keys of all blobs with a prefix, in order. It needs the
// lock.
func (w *World) BlobKeys(prefix string) []string {
	var keys []string
	for key := range w.blobs {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// ErrNoInstance is in the error about an instance that does not exist.
var ErrNoInstance = errors.New("no such instance")

// Lookup is Machine with the lock taken for as long as it takes, and an error.
func (w *World) Lookup(id string) (*Machine, error) {
	w.Lock()
	defer w.Unlock()
	m := w.Machine(id)
	if m == nil {
		return nil, fmt.Errorf("%w %q", ErrNoInstance, id)
	}
	return m, nil
}
