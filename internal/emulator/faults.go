package emulator

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

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
	return slices.Concat(transportFaults(), apiFaults(), factFaults(), recordFaults(), signerFaults())
}

// InjectFault orders a fault: NAME[=VALUE][,RESTRICTION=VALUE]... as
// fault.ParseSpec reads it.
func (s *Server) InjectFault(text string) error { return s.InjectFaults([]string{text}) }

// checkFault says what is wrong with an order.
func (s *Server) checkFault(spec fault.Spec) error {
	kind := s.faultKinds[spec.Name]
	switch {
	case kind == nil:
		return fmt.Errorf("there is no fault %q; eic-emulator faults lists them", cut(spec.Name))
	case kind.check == nil && spec.Value != "":
		return fmt.Errorf("fault %s takes no value", spec.Name)
	case kind.check != nil:
		if err := kind.check(spec.Value); err != nil {
			return fmt.Errorf("fault %s takes %s: %w", spec.Name, kind.Value, err)
		}
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

// strikes returns what strikes a target in a layer.
func (s *Server) strikes(layer string, t fault.Target) []hit {
	var hits []hit
	for _, spec := range s.faults.Strikes(layer, t, s.now()) {
		hits = append(hits, hit{s.faultKinds[spec.Name], spec})
	}
	return hits
}

// withFaults puts the faults of exchanges before a handler.
func (s *Server) withFaults(service, instanceID string, h http.Handler) http.Handler {
	refuse := func(w http.ResponseWriter, _ *http.Request, status int) { writeIMDSError(w, status) }
	if service == serviceAPI {
		refuse = s.refuseCall
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target := fault.Target{Service: service, Instance: instanceID, Path: r.URL.Path}
		if service == serviceAPI {
			target.Operation = operationName(r)
		}
		specs := s.faults.Strikes(layerTransport, target, s.now())
		if len(specs) == 0 {
			h.ServeHTTP(w, r)
			return
		}
		s.transport.Serve(w, r, h, specs, s.now(), refuse)
	})
}

// operationName is the operation of the JSON protocol, which does not take
// reading the body.
func operationName(r *http.Request) string {
	target := r.Header.Get("X-Amz-Target")
	return target[strings.LastIndexByte(target, '.')+1:]
}

// refuseCall answers with a status in the words of the service.
func (s *Server) refuseCall(w http.ResponseWriter, r *http.Request, status int) {
	c := &call{requestID: newRequestID(), now: s.awsNow(), service: s.serviceOf(r)}
	e := &apiError{status, "ServiceUnavailable", "The request has failed due to a temporary failure of the server."}
	switch {
	case status == http.StatusTooManyRequests:
		e = c.service.words.throttled
	case status == http.StatusInternalServerError:
		e = &apiError{status, c.service.words.fault, "An internal error has occurred."}
	case status < 500:
		e = &apiError{status, "RequestRefused", http.StatusText(status)}
	}
	c.service.protocol.writeError(w, c, e)
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
