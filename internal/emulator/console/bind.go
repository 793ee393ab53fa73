package console

import (
	"context"
	"fmt"
	"net"

	"github.com/eic-agent/eic-agent/internal/emulator/gateway"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// Address returns the host and port of the gateway, empty before Bind and where
// there is none.
func (c *Console) Address() string {
	c.o.World.Lock()
	defer c.o.World.Unlock()
	if c.listener == nil {
		return ""
	}
	return world.HostPort(c.listener)
}

// Port returns what the serial port of an instance is joined to, such as the
// guest's end of a pty; empty before Bind and where it is joined to nothing.
func (c *Console) Port(m *world.Machine) string {
	c.o.World.Lock()
	defer c.o.World.Unlock()
	if line := c.lines[m]; line != nil {
		return line.Name()
	}
	return ""
}

// Bind binds the gateway, and joins the serial ports. It needs the lock of the
// world.
func (c *Console) Bind() (err error) {
	if !c.enabled {
		return nil
	}
	for _, m := range c.o.World.Machines() {
		if m.Serial == "" {
			continue
		}
		target, err := gateway.ParseTarget(m.Serial)
		if err != nil {
			return err // NewMachine has parsed it
		}
		if c.lines[m], err = gateway.Open(target); err != nil {
			delete(c.lines, m)
			return fmt.Errorf("cannot join the serial port of %s: %w", m.ID, err)
		}
	}
	listener, err := net.Listen("tcp", c.o.Address)
	if err != nil {
		return fmt.Errorf("cannot serve the serial console gateway: %w", err)
	}
	c.listener = listener
	return nil
}

// Listener returns what Bind has bound. It needs the lock of the world.
func (c *Console) Listener() net.Listener { return c.listener }

// Serve serves the gateway until ctx is done.
func (c *Console) Serve(ctx context.Context, listener net.Listener) error {
	return c.server.Serve(ctx, listener)
}

// Close releases what Bind has bound. It needs the lock of the world.
func (c *Console) Close() {
	if c.listener != nil {
		c.listener.Close()
		c.listener = nil
	}
	for m, line := range c.lines {
		line.Close()
		delete(c.lines, m)
	}
}
