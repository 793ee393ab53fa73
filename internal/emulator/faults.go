package emulator

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/fault"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

// Where faults strike.
const (
	layerTransport = "exchange" // any request to either service
	layerAPI       = "api"      // a call of an operation
	layerFact      = "metadata" // a fact that the metadata service gives
	layerRecord    = "record"   // the records of a user
	layerSigner    = "signer"   // the chain and the staples
	layerClock     = "clock"
	layerGateway   = "gateway" // a client of the serial console gateway
)

const (
	serviceAPI  = fault.API
	serviceIMDS = fault.IMDS
)

// A FaultKind is a fault that can be ordered.
type FaultKind struct {
	Name  string
	Value string // what it takes, such as DURATION; empty: nothing
	Layer string // where it strikes
	Doc   string // one sentence
}

// A faultKind says what a fault does, in the one field for its layer. A
// transport fault is done by package fault.
type faultKind struct {
	FaultKind
	check func(value string) error // nil: Value must be empty

	fact          string // path below meta-data/ that has the value instead
	statement     func(*keyrecord.Statement, time.Time, fault.Spec)
	record        func([]byte) []byte
	foreignSigner bool // of records
	leaf          func(*plan, fault.Spec)
	chain         func(*plan)
	staple        func(*plan, *staplePlan)
}

// A hit is a fault that strikes now.
type hit struct {
	kind *faultKind
	spec fault.Spec
}

// FaultKinds returns every fault that can be ordered, those of one layer
// together.
func FaultKinds() []FaultKind {
	var all []FaultKind
	for _, k := range faultTable() {
		all = append(all, k.FaultKind)
	}
	return all
}

func faultTable() []faultKind {
	return slices.Concat(transportFaults(), apiFaults(), gatewayFaults(), factFaults(), recordFaults(), signerFaults())
}

// InjectFault orders a fault: NAME[=VALUE][,RESTRICTION=VALUE]... as
// fault.ParseSpec reads it.
func (s *Server) InjectFault(text string) error { return s.InjectFaults([]string{text}) }

// checkFault says what is wrong with an order.
func (s *Server) checkFault(spec fault.Spec) error {
	kind := s.faultKinds[spec.Name]
	switch {
	case kind == nil:
		return fmt.Errorf("there is no fault %q; eic-emulator faults lists them", api.Cut(spec.Name))
	case kind.check == nil && spec.Value != "":
		return fmt.Errorf("fault %s takes no value", spec.Name)
	case kind.check != nil:
		if err := kind.check(spec.Value); err != nil {
			return fmt.Errorf("fault %s takes %s: %w", spec.Name, kind.Value, err)
		}
	}
	return s.checkRestrictions(kind, spec)
}

// checkRestrictions refuses those that would be ignored, or never fit.
func (s *Server) checkRestrictions(kind *faultKind, spec fault.Spec) error {
	calls, imds := kind.Layer == layerAPI, kind.fact != "" || kind.Layer == layerRecord || kind.Layer == layerSigner
	exchange := kind.Layer == layerTransport
	gateway := kind.Layer == layerGateway
	for _, r := range []struct {
		name, value string
		fits        bool
	}{
		{"service", spec.Service, exchange || calls && spec.Service == serviceAPI || imds && spec.Service == serviceIMDS},
		{"instance", spec.Instance, imds || gateway || exchange && spec.Service != serviceAPI},
		{"path", spec.Path, imds || exchange},
		{"operation", spec.Operation, calls || exchange && spec.Service != serviceIMDS && spec.Instance == ""},
		{"certificate", spec.Certificate, kind.staple != nil},
	} {
		if r.value != "" && !r.fits {
			return fmt.Errorf("fault %s cannot be restricted to %s=%s here", spec.Name, r.name, api.Cut(r.value))
		}
	}
	if spec.Instance != "" && s.machine(spec.Instance) == nil {
		return fmt.Errorf("fault %s: there is no instance %q", spec.Name, api.Cut(spec.Instance))
	}
	return nil
}

// order puts a fault that checkFault finds good on order.
func (s *Server) order(spec fault.Spec) {
	s.faults.Add(spec, s.faultKinds[spec.Name].Layer, s.now())
}

// ClearFaults takes back the faults of a name, or every fault for "", and
// returns how many there were.
func (s *Server) ClearFaults(name string) int { return s.faults.Remove(name) }

// Faults returns the faults on order, as InjectFault takes them.
func (s *Server) Faults() []string {
	var all []string
	for _, spec := range s.faults.Specs() {
		all = append(all, spec.String())
	}
	return all
}

// strikes returns what strikes a target in a layer, of those that concern it.
// A request draws once from each fault that can touch its answer, and not at
// all from the others.
func (s *Server) strikes(layer string, t fault.Target, concerns func(hit) bool) []hit {
	made := func(spec fault.Spec) hit { return hit{s.faultKinds[spec.Name], spec} }
	var hits []hit
	for _, spec := range s.faults.Strikes(layer, t, s.now(), func(spec fault.Spec) bool { return concerns == nil || concerns(made(spec)) }) {
		hits = append(hits, made(spec))
	}
	return hits
}

// withFaults puts the faults of exchanges before a handler.
func (s *Server) withFaults(service, instanceID string, h http.Handler) http.Handler {
	answers := fault.Answers{Refuse: func(w http.ResponseWriter, _ *http.Request, status int) {
		if status == fault.Throttled {
			status = http.StatusTooManyRequests
		}
		writeIMDSError(w, status)
	}}
	if service == serviceAPI {
		answers = fault.Answers{Refuse: s.refuseCall, Lost: s.loseCall}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target := fault.Target{Service: service, Instance: instanceID, Path: r.URL.Path}
		if service == serviceAPI {
			target.Operation = operationName(r)
		}
		specs := s.faults.Strikes(layerTransport, target, s.now(), nil)
		if len(specs) == 0 {
			h.ServeHTTP(w, r)
			return
		}
		s.transport.Serve(w, r, h, specs, s.now(), answers)
	})
}

// operationName is the operation of the JSON protocol, which does not take
// reading the body.
func operationName(r *http.Request) string {
	target := r.Header.Get("X-Amz-Target")
	return target[strings.LastIndexByte(target, '.')+1:]
}

func isDuration(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is not one, such as 250ms", text)
	}
	return nil
}

func isOffset(text string) error {
	if _, err := time.ParseDuration(text); err != nil {
		return fmt.Errorf("%q is not one, such as -90s", text)
	}
	return nil
}

func isStatus(text string) error {
	if n, err := strconv.Atoi(text); err != nil || n < 200 || n > 599 {
		return fmt.Errorf("%q is not one, such as 503", text)
	}
	return nil
}

func isCount(text string) error {
	if n, err := strconv.Atoi(text); err != nil || n < 0 {
		return fmt.Errorf("%q is not one, such as 10", text)
	}
	return nil
}

func isText(text string) error {
	if text == "" {
		return fmt.Errorf("it cannot be empty")
	}
	return nil
}
