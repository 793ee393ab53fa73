package emulator

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/eic-agent/eic-agent/internal/emulator/console"
	"github.com/eic-agent/eic-agent/internal/emulator/fault"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// maxSnapshots bounds the snapshots that are kept.
const maxSnapshots = 64

// A snapshot is what Reset goes back to.
type snapshot struct {
	world  *world.Snapshot
	faults []fault.Spec
}

type snapshots struct {
	mu    sync.Mutex
	start *snapshot
	named map[string]*snapshot
}

func (s *Server) takeSnapshot() *snapshot { return &snapshot{s.world.Snapshot(), s.faults.Specs()} }

// Snapshot remembers the state under a name, for Reset: instances, key pairs,
// pushed keys, faults and clock. It lives as long as the Server.
func (s *Server) Snapshot(name string) error {
	taken := s.takeSnapshot()
	s.snapshots.mu.Lock()
	defer s.snapshots.mu.Unlock()
	if s.snapshots.named == nil {
		s.snapshots.named = make(map[string]*snapshot)
	}
	if name == "" {
		return errors.New("a snapshot needs a name")
	}
	if _, ok := s.snapshots.named[name]; !ok && len(s.snapshots.named) >= maxSnapshots {
		return fmt.Errorf("there are already %d snapshots", maxSnapshots)
	}
	s.snapshots.named[name] = taken
	return nil
}

// Reset makes everything what it was when the snapshot of that name was taken or,
// for "", when the Server was made. The signing chain stays, and so do session
// tokens; the request log is emptied.
func (s *Server) Reset(name string) error {
	s.snapshots.mu.Lock()
	to := s.snapshots.start
	if name != "" {
		to = s.snapshots.named[name]
	}
	s.snapshots.mu.Unlock()
	if to == nil {
		return fmt.Errorf("no such snapshot: %q", name)
	}
	err := s.world.Update(func(tx *world.Tx) error {
		for _, m := range s.all() {
			s.console.Cut(m.Machine, console.ErrReset)
		}
		if err := tx.Reset(to.world); err != nil {
			return err
		}
		return s.syncInstances(tx)
	})
	if err != nil {
		return err
	}
	s.faults.Remove("")
	for _, spec := range to.faults {
		s.faults.Order(spec)
	}
	s.gate.Limiter.Reset()
	s.console.ClockMoved()
	s.ResetRequests()
	return nil
}

// syncInstances opens what new instances need, and closes what gone ones had. It
// needs the lock of the world.
func (s *Server) syncInstances(tx *world.Tx) error {
	now := s.world.Machines()
	for _, m := range s.all() {
		if !slices.Contains(now, m.Machine) {
			s.forget(m)
		}
	}
	for _, m := range now {
		if one := s.machine(m.ID); one == nil {
			if err := s.launched(tx, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// forget needs the lock of the world.
func (s *Server) forget(m *machine) {
	s.instancesMu.Lock()
	s.instances = slices.DeleteFunc(slices.Clone(s.instances), func(other *machine) bool { return other == m })
	s.instancesMu.Unlock()
	m.closeMetadata()
}
