package lightsail

import (
	"slices"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// An operationShape is the model's shape Operation. The model's list of types has
// none for key pairs; AWS's examples of the CLI have the name of the call.
type operationShape struct {
	ID              string        `json:"id"`
	ResourceName    string        `json:"resourceName"`
	ResourceType    string        `json:"resourceType"`
	CreatedAt       float64       `json:"createdAt"`
	Location        locationShape `json:"location"`
	IsTerminal      bool          `json:"isTerminal"`
	Details         string        `json:"operationDetails,omitempty"`
	Type            string        `json:"operationType"`
	Status          string        `json:"status"`
	StatusChangedAt float64       `json:"statusChangedAt"`
}

// record remembers what a call did, as an operation that is over at once.
func record(tx *world.Tx, c *api.Call, resource string) *world.Operation {
	op := &world.Operation{ID: world.NewUUID(), Resource: resource, ResourceType: "KeyPair", Type: c.Op.Name, At: c.Now.UTC()}
	tx.AddOperation(c.Scope(), op)
	return op
}

func shapeOfOperation(c *api.Call, op *world.Operation) operationShape {
	return operationShape{
		ID: op.ID, ResourceName: op.Resource, ResourceType: op.ResourceType, CreatedAt: seconds(op.At), Location: location(c),
		IsTerminal: true, Details: op.Details, Type: op.Type, Status: "Succeeded", StatusChangedAt: seconds(op.At),
	}
}

// oneOperation is the answer of a call that did op; nil for one that failed.
func oneOperation(c *api.Call, op *world.Operation) any {
	if op == nil {
		return nil
	}
	return struct {
		Operation operationShape `json:"operation"`
	}{shapeOfOperation(c, op)}
}

type operationsOutput struct {
	Operations []operationShape `json:"operations"`
	Next       string           `json:"nextPageToken,omitempty"`
}

func (b Backend) getOperation(c *api.Call) (any, error) {
	id, err := c.Input.Check(api.Constraint{Name: "operationId", Required: true, Min: 1}, invalidInput)
	if err != nil {
		return nil, err
	}
	b.Lock()
	defer b.Unlock()
	for _, op := range b.RegionOf(c.Scope()).Operations {
		if op.ID == id {
			return oneOperation(c, op), nil
		}
	}
	return nil, api.ClientError("NotFoundException", "The Operation does not exist: %s", api.Cut(id))
}

// getOperations returns the latest operations first.
func (b Backend) getOperations(c *api.Call) (any, error) {
	return b.operations(c, func(*world.Operation) bool { return true })
}

func (b Backend) getOperationsForResource(c *api.Call) (any, error) {
	name, err := resourceName(c)
	if err != nil {
		return nil, err
	}
	return b.operations(c, func(op *world.Operation) bool { return op.Resource == name })
}

func (b Backend) operations(c *api.Call, wanted func(*world.Operation) bool) (any, error) {
	b.Lock()
	defer b.Unlock()
	var all []*world.Operation
	for _, op := range slices.Backward(b.RegionOf(c.Scope()).Operations) {
		if wanted(op) {
			all = append(all, op)
		}
	}
	some, next, err := pageOf(c, all)
	if err != nil {
		return nil, err
	}
	output := operationsOutput{Operations: []operationShape{}, Next: next}
	for _, op := range some {
		output.Operations = append(output.Operations, shapeOfOperation(c, op))
	}
	return output, nil
}

func resourceName(c *api.Call) (string, error) {
	return c.Input.Check(api.Constraint{Name: "resourceName", Required: true, Min: 2, Max: maxName, Match: namePattern().MatchString}, invalidInput)
}
