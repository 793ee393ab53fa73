package world

import (
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/statelog"
)

// A Snapshot is what a World held at a time, without what other packages keep in
// it.
type Snapshot struct {
	entries []statelog.Entry
	offset  time.Duration
}

// Snapshot returns what the world holds.
func (w *World) Snapshot() *Snapshot {
	w.Lock()
	defer w.Unlock()
	return &Snapshot{w.state(), time.Duration(w.offset.Load())}
}

// state is dump without blobs. It needs the lock.
func (w *World) state() []statelog.Entry {
	return slices.DeleteFunc(w.dump(), func(e statelog.Entry) bool { return strings.HasPrefix(e.Key, "blob/") })
}

// Reset makes the world what it was when the snapshot was taken. Instances that
// calls have launched since are gone.
func (t *Tx) Reset(to *Snapshot) error {
	w := t.w
	for _, e := range w.state() {
		t.entries = append(t.entries, statelog.Entry{Key: e.Key})
	}
	t.entries = append(t.entries, to.entries...)
	Set(t, &w.regions, make(map[Scope]*Region))
	offset := w.offset.Load()
	t.Undo(func() { w.offset.Store(offset) })
	w.offset.Store(int64(to.offset))
	machines := w.machines
	t.Undo(func() { w.machines = machines })
	w.machines = nil
	for _, m := range machines {
		if m.Run != nil {
			continue
		}
		before := *m
		t.Undo(func() { *m = before })
		*m = Machine{Instance: m.base, base: m.base, TokenKey: m.TokenKey, Launched: w.started, SerialNumber: m.SerialNumber}
		w.machines = append(w.machines, m)
	}
	return w.load(to.entries)
}
