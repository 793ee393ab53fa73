package emulator

import (
	"fmt"

	"github.com/eic-agent/eic-agent/internal/emulator/statelog"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// ErrStateFile is in the error of New when the state file cannot be written.
var ErrStateFile = statelog.ErrWrite

// ErrStateInUse is in the error of New while another emulator has the state file.
var ErrStateInUse = statelog.ErrInUse

// restore reads the state file, or begins one, and makes what is missing.
func (s *Server) restore() (err error) {
	if err := s.world.Restore(s.options.StateFile); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.world.Close()
		}
	}()
	s.addLaunched()
	err = s.world.Update(func(tx *world.Tx) error {
		if err := s.signers.Load(tx); err != nil {
			return fmt.Errorf("cannot use the state file %s: %w", s.options.StateFile, err)
		}
		for _, m := range s.all() {
			if err := s.signers.Issue(tx, m.Machine); err != nil {
				return fmt.Errorf("cannot use the state file %s: %w", s.options.StateFile, err)
			}
		}
		return s.console.Load(tx)
	})
	if err != nil {
		return err
	}
	return s.world.Keep()
}

// addLaunched adds the instances that calls had launched.
func (s *Server) addLaunched() {
	s.world.Lock()
	defer s.world.Unlock()
	for _, m := range s.world.Machines() {
		if s.machine(m.ID) == nil {
			s.instances = append(s.instances, &machine{Machine: m})
		}
	}
}
