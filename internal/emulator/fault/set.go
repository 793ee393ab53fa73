package fault

import (
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Target is what a fault may strike: one exchange, or a part of one.
type Target struct {
	Service, Instance, Path, Operation string
}

// A Set holds the faults that are on order. The zero Set holds none. Which of
// several exchanges is struck depends on their order alone.
type Set struct {
	size atomic.Int64 // to pass quickly when there are none

	mu     sync.Mutex
	orders []*order
}

type order struct {
	spec   Spec
	layer  string
	given  time.Time
	seen   int // exchanges that fitted
	struck int
}

// Add orders a fault at the time now. Only Strikes of the same layer meets it.
func (s *Set) Add(spec Spec, layer string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orders = append(s.orders, &order{spec: spec, layer: layer, given: now})
	s.size.Store(int64(len(s.orders)))
}

// Remove takes back the faults of a name, or every fault for "", and returns
// how many there were.
func (s *Set) Remove(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.orders)
	s.orders = slices.DeleteFunc(s.orders, func(o *order) bool { return name == "" || o.spec.Name == name })
	s.size.Store(int64(len(s.orders)))
	return before - len(s.orders)
}

// Specs returns the faults on order, oldest first.
func (s *Set) Specs() []Spec {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Spec
	for _, o := range s.orders {
		all = append(all, o.spec)
	}
	return all
}

// Strikes returns the faults of a layer that strike the target at the time now,
// and counts that they did. A fault that does not concern the exchange passes
// it over, uncounted; nil means that each does. Concerns must not use the Set.
func (s *Set) Strikes(layer string, t Target, now time.Time, concerns func(Spec) bool) []Spec {
	if s.size.Load() == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Spec
	for _, o := range s.orders {
		if o.layer == layer && o.spec.fits(t) && o.live(now) && (concerns == nil || concerns(o.spec)) && o.strikes() {
			all = append(all, o.spec)
		}
	}
	return all
}

func (s Spec) fits(t Target) bool {
	return (s.Service == "" || s.Service == t.Service) &&
		(s.Instance == "" || s.Instance == t.Instance) &&
		(s.Operation == "" || s.Operation == t.Operation) &&
		(s.Path == "" || strings.HasPrefix(t.Path, s.Path))
}

func (o *order) live(now time.Time) bool {
	age := now.Sub(o.given)
	return age >= o.spec.From && (o.spec.Until == 0 || age < o.spec.Until) && (o.spec.Times == 0 || o.struck < o.spec.Times)
}

// strikes counts an exchange that fits.
func (o *order) strikes() bool {
	o.seen++
	n := o.seen - o.spec.After
	if n <= 0 {
		return false
	}
	if share := o.spec.Share; share > 0 && share < 1 {
		// A little more than nothing makes up for binary fractions.
		const nudge = 1e-9
		if math.Floor(float64(n)*share+nudge) == math.Floor(float64(n-1)*share+nudge) {
			return false
		}
	}
	o.struck++
	return true
}
