// Package ec2 is what the API of EC2, version 2016-11-15, has for key pairs,
// instances and EC2 Instance Connect Endpoints. Each operation is one row of a
// table in the file with its handler.
package ec2

import (
	"encoding/xml"
	"slices"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// Name is the service's signing name.
const Name = "ec2"

// A Backend is what the operations need beside the world.
type Backend struct {
	*world.World

	// Permissive takes RSA keys of every length.
	Permissive bool

	// SerialAccess is the switch of accounts that have not set theirs.
	SerialAccess bool

	// Launched is called for an instance that RunInstances makes, Terminated for one
	// that is gone, with the lock held.
	Launched   func(*world.Tx, *world.Machine) error
	Terminated func(*world.Machine)
}

// Service returns the API.
func Service(b Backend) *api.Service {
	return &api.Service{
		Name: Name, Protocol: api.EC2Query{}, Words: api.EC2Words(),
		Operations: slices.Concat(b.keyPairOperations(), b.tagOperations(), b.serialOperations(), b.instanceOperations(), b.launchOperations(), b.endpointOperations()),
	}
}

// timestampForm is how EC2 writes a time.
const timestampForm = "2006-01-02T15:04:05.000Z"

// filterParams are the parameters of a Describe call with filters and pages.
func filterParams(more ...string) []string {
	return append([]string{"Filter.#.Name", "Filter.#.Value.#", "MaxResults", "NextToken"}, more...)
}

// one is a property with one value.
func one(value string) []string { return []string{value} }

// done is the answer of the calls that say only that they succeeded.
type done struct {
	XMLName xml.Name `xml:"output"`
	Return  bool     `xml:"return"`
}
