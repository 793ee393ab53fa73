package emulator

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/emulator/console"
	"github.com/eic-agent/eic-agent/internal/emulator/metadata"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// A machine is an instance and what the emulator has open for it.
type machine struct {
	*world.Machine

	// The lock of the world guards these.
	listener, listener6 net.Listener
	stop                context.CancelFunc // of serving them
}

// addInstances adds those that the options name.
func (s *Server) addInstances() error {
	s.world.Lock()
	defer s.world.Unlock()
	for _, instance := range s.options.Instances {
		m, err := world.NewMachine(instance, s.options.AllowRemote)
		if err != nil {
			return err
		}
		if err := s.world.Add(m); err != nil {
			return err
		}
		s.instances = append(s.instances, &machine{Machine: m})
	}
	if len(s.instances) == 0 {
		return fmt.Errorf("expected at least one instance")
	}
	return nil
}

// all returns the instances, in the order in which they came.
func (s *Server) all() []*machine {
	s.instancesMu.RLock()
	defer s.instancesMu.RUnlock()
	return s.instances
}

// launched makes an instance of a call ready to be used. It needs the lock of the
// world.
func (s *Server) launched(tx *world.Tx, launched *world.Machine) error {
	m := &machine{Machine: launched}
	if err := s.signers.Issue(tx, launched); err != nil {
		return err
	}
	if s.api != nil {
		if err := s.bindMetadata(m); err != nil {
			return err
		}
	}
	s.instancesMu.Lock()
	s.instances = append(slices.Clip(s.instances), m)
	s.instancesMu.Unlock()
	tx.Undo(func() { s.forget(m) })
	if s.serveMore != nil {
		s.serveMore(m)
	}
	return nil
}

// terminated ends what an instance has open. It needs the lock of the world.
func (s *Server) terminated(m *world.Machine) {
	s.console.Cut(m, console.ErrTerminated)
}

// Instances returns the instances as they are now, derived fields filled in.
func (s *Server) Instances() []Instance {
	s.world.Lock()
	defer s.world.Unlock()
	var all []Instance
	for _, m := range s.world.Machines() {
		all = append(all, m.Instance)
	}
	return all
}

// SetState changes the state of an instance.
func (s *Server) SetState(instanceID string, state State) error {
	if !state.Valid() {
		return fmt.Errorf("%q is not a state of an instance", state)
	}
	return s.update(instanceID, func(tx *world.Tx, m *machine) error {
		tx.SetState(m.Machine, state)
		return nil
	})
}

// SetTokens says whether the metadata service of an instance insists on
// version 2.
func (s *Server) SetTokens(instanceID string, tokens Tokens) error {
	if tokens != TokensRequired && tokens != TokensOptional {
		return fmt.Errorf("tokens must be %s or %s, not %q", TokensRequired, TokensOptional, tokens)
	}
	return s.change(instanceID, world.Changes{Tokens: &tokens})
}

// SetMetadataOff turns the metadata service of an instance off, or on again.
func (s *Server) SetMetadataOff(instanceID string, off bool) error {
	return s.change(instanceID, world.Changes{MetadataOff: &off})
}

// SetOldBIOS says whether the BIOS of an instance is too old for the serial
// console.
func (s *Server) SetOldBIOS(instanceID string, old bool) error {
	return s.change(instanceID, world.Changes{OldBIOS: &old})
}

// SetUserData sets the user data of an instance; "" means none.
func (s *Server) SetUserData(instanceID, data string) error {
	return s.change(instanceID, world.Changes{UserData: &data})
}

func (s *Server) change(instanceID string, c world.Changes) error {
	return s.update(instanceID, func(tx *world.Tx, m *machine) error {
		tx.Change(m.Machine, c)
		return nil
	})
}

// update changes the world about one instance.
func (s *Server) update(instanceID string, f func(*world.Tx, *machine) error) error {
	m, err := s.lookup(instanceID)
	if err != nil {
		return err
	}
	return s.world.Update(func(tx *world.Tx) error { return f(tx, m) })
}

// machine returns nil when there is no such instance.
func (s *Server) machine(instanceID string) *machine {
	for _, m := range s.all() {
		if m.ID == instanceID {
			return m
		}
	}
	return nil
}

func (s *Server) lookup(instanceID string) (*machine, error) {
	m := s.machine(instanceID)
	if m == nil {
		return nil, fmt.Errorf("no such instance: %q", instanceID)
	}
	return m, nil
}

// SetMetadata makes the metadata service of an instance serve body at path, a
// path below /latest/meta-data/ without slashes at its ends, whatever it would
// serve there otherwise. A nil body makes the path one that does not exist,
// with all that is below it but for what is set there.
func (s *Server) SetMetadata(instanceID, path string, body []byte) error {
	return s.SetServed(instanceID, metadata.Root+path, body)
}

// SetServed is SetMetadata for a path below /latest/, such as user-data or
// dynamic/instance-identity/document.
func (s *Server) SetServed(instanceID, path string, body []byte) error {
	path = strings.Trim(path, "/")
	if err := world.CheckServedPath(path); err != nil {
		return err
	}
	return s.update(instanceID, func(tx *world.Tx, m *machine) error {
		tx.SetServed(m.Machine, path, body)
		return nil
	})
}

// RestoreServed takes back what SetServed and SetMetadata have set at a path
// below /latest/ and below it; "" means everything. What the instance was given at
// the start (Instance.Served) is served again.
func (s *Server) RestoreServed(instanceID, path string) error {
	return s.update(instanceID, func(tx *world.Tx, m *machine) error {
		tx.RestoreServed(m.Machine, strings.Trim(path, "/"))
		return nil
	})
}
