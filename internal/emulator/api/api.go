// Package api is what all services of the emulator share: it finds out which
// operation of which service is called, and by whom, has the service's package
// answer, and puts the answer on the wire.
package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/sigv4"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// maxBody bounds a request to the API. The largest that makes sense is user data
// and fifty tags.
const maxBody = 1 << 20

// An Error is an exception of the API, whatever the protocol. SDKs go by the
// code alone; the status is the one that the API reference gives.
type Error struct {
	Status  int
	Code    string
	Message string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// ClientError returns an exception with status 400.
func ClientError(code, format string, args ...any) *Error {
	return &Error{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
}

// A Call is a request to the API in the making. What is in it fills up as the
// request is read; Input or Params is set, as the protocol has it.
type Call struct {
	Context   context.Context // of the request
	RequestID string
	Now       time.Time // by AWS's clock
	Signed    time.Time // now, by the clock that signatures are judged by
	Service   *Service
	Op        *Operation
	Caller    Principal
	Region    string
	Input     Members
	Params    Params

	Asked             string // the name of the operation, known or not
	UserAgent, Source string
}

// Scope returns where the call's resources have their names.
func (c *Call) Scope() world.Scope { return world.Scope{Account: c.Caller.Account, Region: c.Region} }

// ARN returns the ARN of a resource of the caller's account in the call's region.
func (c *Call) ARN(service, resource string) string {
	partition, _ := world.PartitionOfRegion(c.Region)
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", partition, service, c.Region, c.Caller.Account, resource)
}

// A Service is one of the AWS services on the API's port.
type Service struct {
	Name       string // endpoint prefix, signing name, and IAM prefix
	Target     string // what X-Amz-Target begins with; "" for the query protocols
	Protocol   Protocol
	Words      Words
	Operations []Operation
}

// A Protocol is how a service puts calls, answers and errors on the wire.
type Protocol interface {
	// Read fills in the input of the call and returns the name of its
	// operation. The error is an *Error.
	Read(c *Call, r *http.Request, body []byte) (name string, err error)
	Write(w http.ResponseWriter, c *Call, output any)
	WriteError(w http.ResponseWriter, c *Call, e *Error)
	UnknownOperation(name string) *Error
}

// An Operation is one action of a service. What it does not say it does not
// check: Handle has the constraints on the input.
type Operation struct {
	Name     string
	ReadOnly bool
	Params   []string                 // query protocol: the parameters there are, # for a number
	Resource func(*Call) string       // the ARN that IAM decides about; nil: "*"
	Handle   func(*Call) (any, error) // an *Error, or another error for a fault of ours
	Trail    func(*Call) any          // requestParameters of CloudTrail; nil: the input
	Response func(*Call, any) any     // responseElements of CloudTrail; nil: none
}

// A Gate is the API's port. The zero value has no services.
type Gate struct {
	Services []*Service

	// Now is the emulator's clock, HostNow the one that callers sign by. Skew is
	// how far AWS is ahead of both; a call asks once.
	Now, HostNow func() time.Time
	Skew         func() time.Duration

	Credentials map[string]Credential

	// Temporary returns a credential that is not among these.
	Temporary func(keyID string, now time.Time) (Credential, bool)

	Deny    []Deny
	Limiter *Limiter

	// Before is asked before each call; its error is the answer.
	Before func(*Call) error

	// Done is called with the outcome of each call. A nil refusal means success.
	Done func(c *Call, output any, refusal *Error)

	verifier   *sigv4.Verifier
	operations map[string]*Operation
}

// Ready prepares the gate for requests.
func (g *Gate) Ready() {
	g.verifier = sigv4.NewVerifier()
	g.operations = make(map[string]*Operation)
	for _, s := range g.Services {
		for i := range s.Operations {
			g.operations[s.Name+":"+s.Operations[i].Name] = &s.Operations[i]
		}
	}
}

// NewCall returns the call of a request, of which only the service is known.
func (g *Gate) NewCall(r *http.Request) *Call {
	skew := g.Skew()
	return &Call{
		Context: r.Context(), RequestID: world.NewUUID(), Now: g.Now().Add(skew), Signed: g.HostNow().Add(skew),
		Service: g.ServiceOf(r), UserAgent: r.UserAgent(), Source: sourceIP(r),
	}
}

// ServeHTTP answers a call.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := g.NewCall(r)
	output, err := g.call(c, r)
	if err != nil {
		refusal := c.Refusal(err)
		g.Done(c, nil, refusal)
		c.Service.Protocol.WriteError(w, c, refusal)
		return
	}
	g.Done(c, output, nil)
	c.Service.Protocol.Write(w, c, output)
}

// Refusal turns every error into an exception of the service; nil stays nil.
func (c *Call) Refusal(err error) *Error {
	if err == nil {
		return nil
	}
	var refusal *Error
	if errors.As(err, &refusal) {
		return refusal
	}
	return &Error{http.StatusInternalServerError, c.Service.Words.Fault, err.Error()}
}

// ServiceOf returns the service that a request is for: the one that X-Amz-Target
// names, or that the request is signed for; where neither says anything, EC2 for
// a form and else the first one.
func (g *Gate) ServiceOf(r *http.Request) *Service {
	target := r.Header.Get("X-Amz-Target")
	for _, s := range g.Services {
		if s.Target != "" && strings.HasPrefix(target, s.Target) {
			return s
		}
	}
	scope := sigv4.ServiceOf(r)
	form := isForm(r)
	for _, s := range g.Services {
		if s.Name == scope && (s.Target == "" && target == "" || s.Target != "" && !form) {
			return s
		}
	}
	if scope != "" && g.Named(scope) == nil {
		return absent(scope, r)
	}
	for _, s := range g.Services {
		if s.Target == "" && (form || r.URL.Query().Get("Action") != "") {
			return s
		}
	}
	return g.Services[0]
}

// Named returns the service of a name, nil when it is not emulated.
func (g *Gate) Named(name string) *Service {
	for _, s := range g.Services {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Authenticate fills in who makes a call that has no body.
func (g *Gate) Authenticate(c *Call, r *http.Request) error { return g.authenticate(c, r, nil) }

// names lists the services.
func (g *Gate) names() string {
	var all []string
	for _, s := range g.Services {
		all = append(all, s.Name)
	}
	return strings.Join(all, ", ")
}

// call returns an *Error, or any other error for a fault of ours.
func (g *Gate) call(c *Call, r *http.Request) (output any, err error) {
	if c.Service.Operations == nil {
		return nil, ClientError(notEmulated, "The service %s is not emulated. eic-emulator has %s.", Cut(c.Service.Name), g.names())
	}
	_, query := c.Service.Protocol.(interface{ TakesGET() })
	if r.URL.Path != "/" || r.Method != http.MethodPost && !(query && r.Method == http.MethodGet) {
		return nil, &Error{http.StatusNotFound, "UnknownOperationException", "The API takes POST / only, and GET / for the query protocol."}
	}
	body, err := ReadBody(r)
	if err != nil {
		return nil, err
	}
	if err := g.authenticate(c, r, body); err != nil {
		g.nameOperation(c, r, body)
		return nil, err
	}
	c.Asked, err = c.Service.Protocol.Read(c, r, body)
	if err != nil {
		return nil, err
	}
	if c.Op = g.operations[c.Service.Name+":"+c.Asked]; c.Op == nil {
		return nil, c.Service.Protocol.UnknownOperation(c.Asked)
	}
	if err := g.Before(c); err != nil {
		return nil, err
	}
	if !g.Limiter.allow(c) {
		return nil, c.Service.Words.Throttled
	}
	if err := g.authorize(c); err != nil {
		return nil, err
	}
	if c.Params != nil {
		if err := c.CheckKnown(); err != nil {
			return nil, err
		}
	}
	return c.Op.Handle(c)
}

// nameOperation finds out for the trail what an unknown caller asks for.
func (g *Gate) nameOperation(c *Call, r *http.Request, body []byte) {
	if name, err := c.Service.Protocol.Read(c, r, body); err == nil {
		c.Asked = name
		c.Op = g.operations[c.Service.Name+":"+name]
	}
}

// Identify determines the caller and the operation of a request without executing it.
func (g *Gate) Identify(c *Call, r *http.Request) error {
	body, err := ReadBody(r)
	if err != nil || c.Service.Operations == nil {
		return err
	}
	if g.authenticate(c, r, body) == nil || c.Caller.KeyID != "" {
		g.nameOperation(c, r, body)
	}
	return nil
}

// ReadBody returns the body of a call. The error is an *Error.
func ReadBody(r *http.Request) ([]byte, error) {
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, ClientError("SerializationException", "Cannot read the body.")
	}
	if n > maxBody {
		return nil, &Error{http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException",
			fmt.Sprintf("The body is longer than %d bytes.", maxBody)}
	}
	return b.Bytes(), nil
}

// sourceIP returns the address that a request came from.
func sourceIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// maxEchoed is how many characters of a wrong value a message repeats.
const maxEchoed = 64

// Cut bounds a value that a message repeats.
func Cut(s string) string {
	if r := []rune(s); len(r) > maxEchoed {
		return string(r[:maxEchoed]) + "..."
	}
	return s
}

// Plain quotes what could be taken for something else in a line of a log.
func Plain(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == '"' || r >= 0x7f }) {
		return fmt.Sprintf("%+q", text)
	}
	return text
}
