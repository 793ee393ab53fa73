package emulator

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/control"
	"github.com/eic-agent/eic-agent/internal/emulator/fault"
	"github.com/eic-agent/eic-agent/internal/emulator/tunnel"
)

// APIHandler returns the API: EC2 Instance Connect and Lightsail in AWS JSON
// 1.1, EC2 and STS in their query protocols, all at /, told apart by what the
// request says it is. Every request must be signed by a credential of the
// Options, with Signature Version 4, for a region and for its service.
//
// Below /_emu/ is the control endpoint, which asks for no signature.
func (s *Server) APIHandler() http.Handler {
	calls := s.log.Handler("", s.withFaults(fault.API, "", http.HandlerFunc(s.serveCall)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, control.Root) {
			s.control.ServeHTTP(w, r)
			return
		}
		calls.ServeHTTP(w, r)
	})
}

const apiHelp = `eic-emulator plays the AWS side of EC2 Instance Connect, for tests.

This is its API: EC2 Instance Connect, and what EC2, Lightsail and STS have for
key pairs and instances. AWS SDKs and the aws command find it with
AWS_ENDPOINT_URL=http://HOST:PORT or --endpoint-url. Below /_emu/ is the control
endpoint; GET /_emu/ lists what it takes.
`

// serveCall answers a call, and a person who looks what this is.
func (s *Server) serveCall(w http.ResponseWriter, r *http.Request) {
	asks := r.Method == http.MethodGet || r.Method == http.MethodHead
	if asks && r.URL.Path == "/" && r.URL.RawQuery == "" && r.Header.Get("Authorization") == "" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, apiHelp) // the client may be gone
		return
	}
	switch {
	case r.Method == http.MethodConnect:
		s.tunnel.Connect(w, r)
	case r.URL.Path == tunnel.Path:
		s.tunnel.Open(w, r)
	default:
		s.gate.ServeHTTP(w, r)
	}
}

// called is called for every answered call.
func (s *Server) called(c *api.Call, output any, refusal *api.Error) {
	s.log.Call(c, refusal)
	s.trail.Write(c, output, refusal)
}

// orderedError returns the exception that the fault "error" has ordered for the
// call, if it has.
func (s *Server) orderedError(c *api.Call) error {
	for _, spec := range s.faults.Strike(fault.LayerAPI, fault.Target{Service: fault.API, Path: "/", Operation: c.Op.Name}, nil) {
		return api.Exception(spec.Value)
	}
	return nil
}

// awsNow is the time on AWS's clock, by which keys expire: the emulator's,
// moved by the fault "clock-skew".
func (s *Server) awsNow() time.Time { return s.Now().Add(s.skew()) }

func (s *Server) skew() time.Duration {
	var all time.Duration
	for _, spec := range s.faults.Strike(fault.LayerClock, fault.Target{}, nil) {
		if skew, err := time.ParseDuration(spec.Value); err == nil {
			all += skew
		}
	}
	return all
}

// refuseCall answers with a status in the words of the service.
func (s *Server) refuseCall(w http.ResponseWriter, r *http.Request, status int) {
	c := s.gate.NewCall(r)
	words := c.Service.Words
	e := &api.Error{Status: status, Code: "ServiceUnavailable", Message: "The request has failed due to a temporary failure of the server."}
	switch {
	case status == fault.Throttled:
		e = words.Throttled
	case status == http.StatusTooManyRequests:
		e = &api.Error{Status: status, Code: words.Throttled.Code, Message: words.Throttled.Message}
	case status == http.StatusInternalServerError:
		e = &api.Error{Status: status, Code: words.Fault, Message: "An internal error has occurred."}
	case status == http.StatusForbidden:
		e = &api.Error{Status: status, Code: words.Denied("").Code, Message: "You are not authorized to perform this operation."}
	case status < 500:
		e = &api.Error{Status: status, Code: words.Invalid, Message: http.StatusText(status)}
	}
	s.struck(c, r, e)
	c.Service.Protocol.WriteError(w, c, e)
}

// loseCall is about a call that came and was not answered. It has not been made.
func (s *Server) loseCall(r *http.Request, name string) {
	s.struck(s.gate.NewCall(r), r, &api.Error{
		Status: http.StatusServiceUnavailable, Code: "ServiceUnavailable", Message: "The fault " + name + " has kept the call from the service.",
	})
}

// struck is about a call that a fault has struck.
func (s *Server) struck(c *api.Call, r *http.Request, e *api.Error) {
	var unread *api.Error
	if err := s.gate.Identify(c, r); !errors.As(err, &unread) {
		s.called(c, nil, e)
	}
}
