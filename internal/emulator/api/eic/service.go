// Package eic is the API of EC2 Instance Connect, version 2018-04-02.
package eic

import (
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// Name is the service's signing name.
const Name = "ec2-instance-connect"

// A Backend is what the operations need besides the world.
type Backend struct {
	*world.World

	// Permissive takes keys of every type, size and length.
	Permissive bool

	// SerialAccess is the switch of accounts that have not set theirs.
	SerialAccess bool

	// SerialPause is how long after a serial console session no other can
	// start.
	SerialPause time.Duration

	// Push adds a key to what the metadata service serves. now is AWS's clock.
	Push func(tx *world.Tx, m *world.Machine, r *world.Record, key, caller, request string, now time.Time) error
}

// Service returns the API.
func Service(b Backend) *api.Service {
	resource := func(c *api.Call) string {
		id, _, _ := c.Input.Text("InstanceId")
		return c.ARN("ec2", "instance/"+id)
	}
	return &api.Service{
		Name: Name, Target: "AWSEC2InstanceConnectService.", Protocol: api.JSON(api.OneMember), Words: api.JSONWords(),
		Operations: []api.Operation{
			{Name: "SendSSHPublicKey", Resource: resource, Handle: b.sendSSHPublicKey, Trail: trailSSHKey, Response: trailOutput},
			{Name: "SendSerialConsoleSSHPublicKey", Resource: resource, Handle: b.sendSerialKey, Trail: trailSSHKey, Response: trailOutput},
		},
	}
}

func trailOutput(_ *api.Call, output any) any {
	out := output.(pushOutput)
	return map[string]any{"requestId": out.RequestId, "success": out.Success}
}
