package emulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"
)

const (
	maxBody     = 1 << 20
	contentType = "application/x-amz-json-1.1"
	target      = "AWSEC2InstanceConnectService."

	// maxEchoed is how many characters of a wrong value a message repeats.
	maxEchoed = 64
)

// An apiError is an exception of the API. Its HTTP status is the one that the
// API reference gives; the SDKs go by the code alone.
type apiError struct {
	status  int
	code    string
	message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func clientError(code, format string, args ...any) *apiError {
	return &apiError{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
}

// A call is a request to the API whose caller is known.
type call struct {
	requestID string
	caller    string // ARN
	input     members
}

// APIHandler returns the API: AWS JSON 1.1, POST / with X-Amz-Target. So far
// it knows AWSEC2InstanceConnectService.SendSSHPublicKey alone.
//
// The caller is told by the access key id in the Authorization header. The
// signature is NOT verified, nor are the date, the region and the service that
// it was made for: whoever knows the id of an access key is believed to hold
// it. The Content-Type is not looked at.
func (s *Server) APIHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.logRequest("", r)
		requestID := newRequestID()
		output, err := s.callAPI(r, requestID)
		writeOutput(w, requestID, output, err)
	})
}

// callAPI returns an *apiError, or any other error for a fault of ours.
func (s *Server) callAPI(r *http.Request, requestID string) (output any, err error) {
	if r.Method != http.MethodPost || r.URL.Path != "/" {
		return nil, &apiError{http.StatusNotFound, "UnknownOperationException", "The API takes POST / only."}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, clientError("SerializationException", "The body could not be read.")
	}
	if len(body) > maxBody {
		return nil, &apiError{http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException",
			fmt.Sprintf("The body is longer than %d bytes.", maxBody)}
	}
	caller, err := s.caller(r)
	if err != nil {
		return nil, err
	}
	operation, err := s.operation(r.Header.Get("X-Amz-Target"))
	if err != nil {
		return nil, err
	}
	c := call{requestID: requestID, caller: caller}
	if err := json.Unmarshal(body, &c.input); err != nil || c.input == nil {
		return nil, clientError("SerializationException", "The body is not a JSON object.")
	}
	return operation(c)
}

func (s *Server) operation(name string) (func(call) (any, error), error) {
	switch name {
	case target + "SendSSHPublicKey":
		return s.sendSSHPublicKey, nil
	}
	return nil, clientError("UnknownOperationException", "The operation %q is not known.", cut(name))
}

// caller returns the ARN behind the access key of an Authorization header:
//
//	AWS4-HMAC-SHA256 Credential=KEYID/DATE/REGION/SERVICE/aws4_request, SignedHeaders=..., Signature=...
func (s *Server) caller(r *http.Request) (string, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return "", clientError("MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	parameters, ok := strings.CutPrefix(header, "AWS4-HMAC-SHA256 ")
	for parameter := range strings.SplitSeq(parameters, ",") {
		scope, found := strings.CutPrefix(strings.TrimSpace(parameter), "Credential=")
		parts := strings.Split(scope, "/")
		if !ok || !found || len(parts) != 5 {
			continue
		}
		arn, known := s.options.Credentials[parts[0]]
		if !known {
			return "", clientError("UnrecognizedClientException", "The security token included in the request is invalid.")
		}
		return arn, nil
	}
	return "", clientError("IncompleteSignatureException", "The Authorization header has no AWS4-HMAC-SHA256 credential.")
}

func writeOutput(w http.ResponseWriter, requestID string, output any, err error) {
	status := http.StatusOK
	if err != nil {
		var refusal *apiError
		if !errors.As(err, &refusal) {
			refusal = &apiError{http.StatusInternalServerError, "ServiceException", err.Error()}
		}
		status = refusal.status
		w.Header().Set("X-Amzn-ErrorType", refusal.code)
		output = struct {
			Type    string `json:"__type"`
			Message string
		}{refusal.code, refusal.message}
	}
	body, err := json.Marshal(output)
	if err != nil {
		status, body = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Amzn-Requestid", requestID)
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}

// members is the top level of a request. Unlike a struct it tells names that
// differ in case only.
type members map[string]json.RawMessage

// text returns a string member, empty when it is missing or null.
func (m members) text(name string) (value string, present bool, err error) {
	var p *string
	if raw, ok := m[name]; ok {
		if err := json.Unmarshal(raw, &p); err != nil {
			return "", false, clientError("SerializationException", "%s is not a string.", name)
		}
	}
	if p == nil {
		return "", false, nil
	}
	return *p, true, nil
}

// A constraint is what the service model says of a string member. Lengths are
// in characters; max 0 sets no limit. A nil match admits every value.
type constraint struct {
	name     string
	required bool
	min, max int
	match    func(string) bool
}

// check returns the member, or InvalidArgsException for a value that the model
// does not admit. That AWS does not say ValidationException here is not
// confirmed.
func (m members) check(c constraint) (string, error) {
	value, present, err := m.text(c.name)
	switch {
	case err != nil:
		return "", err
	case !present && c.required:
		return "", invalidArgs("%s must not be null", c.name)
	case !present:
		return "", nil
	}
	n := utf8.RuneCountInString(value)
	switch {
	case n < c.min:
		return "", invalidArgs("%s has %d characters, fewer than %d", c.name, n, c.min)
	case c.max > 0 && n > c.max:
		return "", invalidArgs("%s has %d characters, more than %d", c.name, n, c.max)
	case c.match != nil && !c.match(value):
		return "", invalidArgs("%s %q does not match its pattern", c.name, cut(value))
	}
	return value, nil
}

// invalidArgs words its message as the real service does.
func invalidArgs(format string, args ...any) *apiError {
	return clientError("InvalidArgsException",
		"Invalid input parameter received for Illegal argument exception: "+format, args...)
}

func cut(s string) string {
	if r := []rune(s); len(r) > maxEchoed {
		return string(r[:maxEchoed]) + "..."
	}
	return s
}
