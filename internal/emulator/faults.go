package emulator

import (
	"net/http"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/emulator/console"
	"github.com/eic-agent/eic-agent/internal/emulator/fault"
	"github.com/eic-agent/eic-agent/internal/emulator/metadata"
	"github.com/eic-agent/eic-agent/internal/emulator/signing"
)

// A FaultKind is a fault that can be ordered.
type FaultKind = fault.Kind

// The faults of calls, and of AWS's clock.
const (
	faultError     = "error"
	faultClockSkew = "clock-skew"
)

// faultRules returns every fault that can be ordered, those of one layer together.
func faultRules() []fault.Rule {
	calls := []fault.Rule{
		{
			Kind:  fault.Kind{Name: faultError, Value: "NAME", Layer: fault.LayerAPI, Doc: "The call fails with an exception of this name, in the shape of its service."},
			Check: fault.CheckText,
		},
		{
			Kind:  fault.Kind{Name: faultClockSkew, Value: "OFFSET", Layer: fault.LayerClock, Doc: "AWS's clock is ahead by OFFSET: signatures and expiry of keys follow it."},
			Check: fault.CheckOffset,
		},
	}
	return slices.Concat(fault.Exchanges(), calls, console.Faults(), metadata.Faults(), signing.Faults())
}

// FaultKinds returns every fault that can be ordered, those of one layer
// together.
func FaultKinds() []FaultKind {
	var all []FaultKind
	for _, r := range faultRules() {
		all = append(all, r.Kind)
	}
	return all
}

// InjectFault orders a fault: NAME[=VALUE][,RESTRICTION=VALUE]... as
// fault.ParseSpec reads it.
func (s *Server) InjectFault(text string) error { return s.InjectFaults([]string{text}) }

// InjectFaults orders all of the faults or, when there is something wrong with
// one of them, none.
func (s *Server) InjectFaults(texts []string) error {
	var specs []fault.Spec
	for _, text := range texts {
		spec, err := s.faults.Parse(text, func(id string) bool { return s.machine(id) != nil })
		if err != nil {
			return err
		}
		specs = append(specs, spec)
	}
	for _, spec := range specs {
		s.faults.Order(spec)
	}
	return nil
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

// withFaults puts the faults of exchanges before a handler.
func (s *Server) withFaults(service, instanceID string, h http.Handler) http.Handler {
	answers := fault.Answers{Refuse: func(w http.ResponseWriter, _ *http.Request, status int) {
		if status == fault.Throttled {
			status = http.StatusTooManyRequests
		}
		metadata.WriteError(w, status)
	}}
	if service == fault.API {
		answers = fault.Answers{Refuse: s.refuseCall, Lost: s.loseCall}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target := fault.Target{Service: service, Instance: instanceID, Path: r.URL.Path}
		if service == fault.API {
			target.Operation = operationName(r)
		}
		specs := s.faults.Strike(fault.LayerExchange, target, nil)
		if len(specs) == 0 {
			h.ServeHTTP(w, r)
			return
		}
		s.transport.Serve(w, r, h, specs, s.Now(), answers)
	})
}

// operationName is the operation of the JSON protocol, which does not take
// reading the body.
func operationName(r *http.Request) string {
	target := r.Header.Get("X-Amz-Target")
	return target[strings.LastIndexByte(target, '.')+1:]
}
