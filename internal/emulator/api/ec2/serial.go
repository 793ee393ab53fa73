package ec2

import (
	"encoding/xml"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// serialOperations are about the switch that an account has in each region.
func (b Backend) serialOperations() []api.Operation {
	set := func(enabled bool) func(*api.Call) (any, error) {
		return func(c *api.Call) (any, error) {
			if err := c.DryRun(); err != nil {
				return nil, err
			}
			return serialOutput{Enabled: enabled}, b.Update(func(tx *world.Tx) error {
				tx.SetSerialAccess(c.Scope(), enabled)
				return nil
			})
		}
	}
	return []api.Operation{
		{Name: "EnableSerialConsoleAccess", Handle: set(true)},
		{Name: "DisableSerialConsoleAccess", Handle: set(false)},
		{Name: "GetSerialConsoleAccessStatus", ReadOnly: true, Handle: func(c *api.Call) (any, error) {
			if err := c.DryRun(); err != nil {
				return nil, err
			}
			b.Lock()
			defer b.Unlock()
			return serialOutput{Enabled: b.SerialAccessOf(c.Scope(), b.SerialAccess), ManagedBy: "account"}, nil
		}},
	}
}

type serialOutput struct {
	XMLName   xml.Name `xml:"output"`
	Enabled   bool     `xml:"serialConsoleAccessEnabled"`
	ManagedBy string   `xml:"managedBy,omitempty"`
}
