package fault

import (
	"fmt"
	"time"
)

// Orders are the faults on order, of the kinds that there are. Its methods may be
// called from any goroutine.
type Orders struct {
	Set
	rules map[string]Rule
	now   func() time.Time
}

// NewOrders returns Orders of some kinds, by a clock.
func NewOrders(now func() time.Time, rules []Rule) *Orders {
	o := &Orders{rules: make(map[string]Rule), now: now}
	for _, r := range rules {
		o.rules[r.Name] = r
	}
	return o
}

// Parse reads an order, as ParseSpec does, and refuses one that no fault knows or
// that would be ignored. exists reports whether there is an instance of an ID.
func (o *Orders) Parse(text string, exists func(instanceID string) bool) (Spec, error) {
	spec, err := ParseSpec(text)
	if err != nil {
		return spec, err
	}
	rule, known := o.rules[spec.Name]
	switch {
	case !known:
		return spec, fmt.Errorf("there is no fault %.64q; eic-emulator faults lists them", spec.Name)
	case rule.Check == nil && spec.Value != "":
		return spec, fmt.Errorf("fault %s takes no value", spec.Name)
	case rule.Check != nil:
		if err := rule.Check(spec.Value); err != nil {
			return spec, fmt.Errorf("fault %s takes %s: %w", spec.Name, rule.Value, err)
		}
	}
	if err := rule.restricts(spec); err != nil {
		return spec, err
	}
	if spec.Instance != "" && !exists(spec.Instance) {
		return spec, fmt.Errorf("fault %s: there is no instance %.64q", spec.Name, spec.Instance)
	}
	return spec, nil
}

// restricts refuses restrictions that would be ignored, or never fit.
func (r Rule) restricts(spec Spec) error {
	calls, imds := r.Layer == LayerAPI, r.Fact || r.Layer == LayerRecord || r.Layer == LayerSigner
	exchange := r.Layer == LayerExchange
	gateway := r.Layer == LayerGateway
	for _, one := range []struct {
		name, value string
		fits        bool
	}{
		{"service", spec.Service, exchange || calls && spec.Service == API || imds && spec.Service == IMDS},
		{"instance", spec.Instance, imds || gateway || exchange && spec.Service != API},
		{"path", spec.Path, imds || exchange},
		{"operation", spec.Operation, calls || exchange && spec.Service != IMDS && spec.Instance == ""},
		{"certificate", spec.Certificate, r.Staple},
	} {
		if one.value != "" && !one.fits {
			return fmt.Errorf("fault %s cannot be restricted to %s=%.64s here", spec.Name, one.name, one.value)
		}
	}
	return nil
}

// Order puts a fault that Parse finds good on order.
func (o *Orders) Order(spec Spec) { o.Add(spec, o.rules[spec.Name].Layer, o.now()) }

// Strike returns what strikes a target in a layer now, of what concerns it. A
// request draws once from each fault that can touch its answer, and not at all from
// the others.
func (o *Orders) Strike(layer string, t Target, concerns func(Spec) bool) []Spec {
	return o.Strikes(layer, t, o.now(), concerns)
}
