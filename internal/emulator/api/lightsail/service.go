// Package lightsail is what the API of Lightsail, version 2016-11-28, has for
// key pairs.
package lightsail

import (
	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// Name is the service's signing name.
const Name = "lightsail"

// A Backend is what the operations need.
type Backend struct {
	*world.World

	// Permissive takes keys of every type.
	Permissive bool
}

// Service returns the API.
func Service(b Backend) *api.Service {
	resource := func(c *api.Call) string { return c.ARN("lightsail", "KeyPair/*") }
	output := func(_ *api.Call, output any) any { return output }
	return &api.Service{
		Name: Name, Target: "Lightsail_20161128.", Protocol: api.JSON(errorBody), Words: api.JSONWords(),
		Operations: []api.Operation{
			{Name: "ImportKeyPair", Resource: resource, Handle: b.importKeyPair, Response: output},
			{Name: "CreateKeyPair", Resource: resource, Handle: b.createKeyPair, Response: withoutKey},
			{Name: "GetKeyPair", Resource: resource, ReadOnly: true, Handle: b.getKeyPair},
			{Name: "GetKeyPairs", Resource: resource, ReadOnly: true, Handle: b.getKeyPairs},
			{Name: "DeleteKeyPair", Resource: resource, Handle: b.deleteKeyPair, Response: output},
			{Name: "DownloadDefaultKeyPair", Resource: resource, Handle: b.downloadDefaultKeyPair, Response: withoutKey},
			{Name: "TagResource", Resource: resource, Handle: b.tagResource, Response: output},
			{Name: "UntagResource", Resource: resource, Handle: b.untagResource, Response: output},
			{Name: "GetOperation", ReadOnly: true, Handle: b.getOperation},
			{Name: "GetOperations", ReadOnly: true, Handle: b.getOperations},
			{Name: "GetOperationsForResource", ReadOnly: true, Handle: b.getOperationsForResource},
			{Name: "GetRegions", ReadOnly: true, Handle: b.getRegions},
		},
	}
}

// errorBody has the members of the model's exceptions.
func errorBody(e *api.Error) any {
	return struct {
		Type    string `json:"__type"`
		Code    string `json:"code"`
		Docs    string `json:"docs,omitempty"`
		Message string `json:"message"`
		Tip     string `json:"tip,omitempty"`
	}{Type: e.Code, Code: e.Code, Message: e.Message}
}

func invalidInput(format string, args ...any) *api.Error {
	return api.ClientError("InvalidInputException", format, args...)
}
