package emulator

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

// maxBody bounds a request to the API. The largest that makes sense is a key
// and fifty tags.
const maxBody = 1 << 20

// An apiError is an exception of the API, whatever the protocol. SDKs go by the
// code alone; the status is the one that the API reference gives.
type apiError struct {
	status  int
	code    string
	message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func clientError(code, format string, args ...any) *apiError {
	return &apiError{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
}

// A call is a request to the API in the making. What is in it fills up as the
// request is read; input or params is set, as the protocol has it.
type call struct {
	requestID string
	now       time.Time // by AWS's clock
	service   *service
	op        *operation
	caller    principal
	region    string
	input     members
	params    params

	userAgent, source string
}

// A service is one of the AWS services on the API's port.
type service struct {
	name     string // endpoint prefix, signing name, and IAM prefix
	target   string // what X-Amz-Target begins with; "" for the query protocol
	protocol protocol
	words    words
}

// A protocol is how a service puts calls, answers and errors on the wire.
type protocol interface {
	// read fills in the input of the call and returns the name of its
	// operation. The error is an *apiError.
	read(c *call, r *http.Request, body []byte) (name string, err error)
	write(w http.ResponseWriter, c *call, output any)
	writeError(w http.ResponseWriter, c *call, e *apiError)
	unknownOperation(name string) *apiError
}

// An operation is one action of a service. What it does not say it does not
// check: handle has the constraints on the input.
type operation struct {
	service  *service
	name     string
	readOnly bool
	params   []string                 // query protocol: the parameters there are, # for a number
	resource func(*call) string       // the ARN that IAM decides about; nil: "*"
	handle   func(*call) (any, error) // an *apiError, or another error for a fault of ours
	trail    func(*call) any          // requestParameters of CloudTrail; nil: the input
}

// APIHandler returns the API: EC2 Instance Connect and Lightsail in AWS JSON
// 1.1, and EC2 in its query protocol, all at POST /, told apart by what the
// request says it is. Every request must be signed by a credential of the
// Options, with Signature Version 4, for a region and for its service.
//
// Below /_emu/ is the control endpoint, which asks for no signature.
func (s *Server) APIHandler() http.Handler {
	api := s.withFaults(serviceAPI, "", http.HandlerFunc(s.serveAPI))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, controlRoot) {
			s.serveControl(w, r)
			return
		}
		s.logRequest("", r)
		api.ServeHTTP(w, r)
	})
}

func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	c := &call{requestID: newRequestID(), now: s.awsNow(), userAgent: r.UserAgent(), source: sourceIP(r)}
	c.service = s.serviceOf(r)
	output, err := s.callAPI(c, r)
	if err != nil {
		refusal := c.refusal(err)
		s.trail(c, nil, refusal)
		c.service.protocol.writeError(w, c, refusal)
		return
	}
	s.trail(c, output, nil)
	c.service.protocol.write(w, c, output)
}

// refusal turns every error into an exception of the service.
func (c *call) refusal(err error) *apiError {
	var refusal *apiError
	if errors.As(err, &refusal) {
		return refusal
	}
	return &apiError{http.StatusInternalServerError, c.service.words.fault, err.Error()}
}

// serviceOf returns the service that a request is for; where it says nothing,
// EC2 Instance Connect.
func (s *Server) serviceOf(r *http.Request) *service {
	target := r.Header.Get("X-Amz-Target")
	for _, service := range s.services {
		if service.target != "" && strings.HasPrefix(target, service.target) {
			return service
		}
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == formType {
		return s.services[ec2Name]
	}
	for name, service := range s.services {
		if strings.Contains(r.Header.Get("Authorization"), "/"+name+"/aws4_request") {
			return service
		}
	}
	return s.services[eicName]
}

// callAPI returns an *apiError, or any other error for a fault of ours.
func (s *Server) callAPI(c *call, r *http.Request) (output any, err error) {
	if r.Method != http.MethodPost || r.URL.Path != "/" {
		return nil, &apiError{http.StatusNotFound, "UnknownOperationException", "The API takes POST / only."}
	}
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	if err := s.authenticate(c, r, body); err != nil {
		s.nameOperation(c, r, body)
		return nil, err
	}
	name, err := c.service.protocol.read(c, r, body)
	if err != nil {
		return nil, err
	}
	if c.op = s.operations[c.service.name+":"+name]; c.op == nil {
		return nil, c.service.protocol.unknownOperation(name)
	}
	if err := s.orderedError(c); err != nil {
		return nil, err
	}
	if !s.limiter.allow(c) {
		return nil, c.service.words.throttled
	}
	if err := s.authorize(c); err != nil {
		return nil, err
	}
	output, err = c.op.handle(c)
	if err != nil {
		return nil, err
	}
	if !c.op.readOnly {
		if err := s.persist(); err != nil {
			return nil, fmt.Errorf("the state could not be written: %w", err)
		}
	}
	return output, nil
}

// nameOperation finds out for the trail what an unknown caller asks for.
func (s *Server) nameOperation(c *call, r *http.Request, body []byte) {
	if name, err := c.service.protocol.read(c, r, body); err == nil {
		c.op = s.operations[c.service.name+":"+name]
	}
}

func readBody(r *http.Request) ([]byte, error) {
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, clientError("SerializationException", "The body could not be read.")
	}
	if n > maxBody {
		return nil, &apiError{http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException",
			fmt.Sprintf("The body is longer than %d bytes.", maxBody)}
	}
	return b.Bytes(), nil
}

// maxEchoed is how many characters of a wrong value a message repeats.
const maxEchoed = 64

func cut(s string) string {
	if r := []rune(s); len(r) > maxEchoed {
		return string(r[:maxEchoed]) + "..."
	}
	return s
}
