package emulator

import (
	"encoding/json"
	"net/http"
	"strings"
	"unicode/utf8"
)

const jsonType = "application/x-amz-json-1.1"

// jsonProtocol is AWS JSON 1.1. The Content-Type is not looked at.
type jsonProtocol struct {
	errorBody func(*apiError) any
}

func (p jsonProtocol) read(c *call, r *http.Request, body []byte) (string, error) {
	target := r.Header.Get("X-Amz-Target")
	name, ok := strings.CutPrefix(target, c.service.target)
	if !ok {
		return "", p.unknownOperation(target)
	}
	if err := json.Unmarshal(body, &c.input); err != nil || c.input == nil {
		return "", clientError("SerializationException", "The body is not a JSON object.")
	}
	return name, nil
}

func (jsonProtocol) unknownOperation(name string) *apiError {
	return clientError("UnknownOperationException", "The operation %q is not known.", cut(name))
}

func (p jsonProtocol) write(w http.ResponseWriter, c *call, output any) {
	writeJSON(w, c.requestID, http.StatusOK, output)
}

func (p jsonProtocol) writeError(w http.ResponseWriter, c *call, e *apiError) {
	w.Header().Set("X-Amzn-ErrorType", e.code)
	writeJSON(w, c.requestID, e.status, p.errorBody(e))
}

func writeJSON(w http.ResponseWriter, requestID string, status int, output any) {
	body, err := json.Marshal(output)
	if err != nil {
		status, body = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", jsonType)
	w.Header().Set("X-Amzn-Requestid", requestID)
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}

// eicErrorBody has the one member that the exceptions of EC2 Instance Connect
// have.
func eicErrorBody(e *apiError) any {
	return struct {
		Type    string `json:"__type"`
		Message string
	}{e.code, e.message}
}

// lightsailErrorBody has the members of the model's exceptions.
func lightsailErrorBody(e *apiError) any {
	return struct {
		Type    string `json:"__type"`
		Code    string `json:"code"`
		Docs    string `json:"docs,omitempty"`
		Message string `json:"message"`
		Tip     string `json:"tip,omitempty"`
	}{Type: e.code, Code: e.code, Message: e.message}
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

// number returns an integer member, 0 when it is missing or null.
func (m members) number(name string) (int, error) {
	var p *int
	if raw, ok := m[name]; ok {
		if err := json.Unmarshal(raw, &p); err != nil {
			return 0, clientError("SerializationException", "%s is not an integer.", name)
		}
	}
	if p == nil {
		return 0, nil
	}
	return *p, nil
}

// A constraint is what the service model says of a string member. Lengths are
// in characters; max 0 sets no limit. A nil match admits every value.
type constraint struct {
	name     string
	required bool
	min, max int
	match    func(string) bool
}

// check returns the member, or what invalid makes of the sentence about a value
// that the model does not admit.
func (m members) check(c constraint, invalid func(format string, args ...any) *apiError) (string, error) {
	value, present, err := m.text(c.name)
	switch {
	case err != nil:
		return "", err
	case !present && c.required:
		return "", invalid("%s must not be null", c.name)
	case !present:
		return "", nil
	}
	n := utf8.RuneCountInString(value)
	switch {
	case n < c.min:
		return "", invalid("%s has %d characters, fewer than %d", c.name, n, c.min)
	case c.max > 0 && n > c.max:
		return "", invalid("%s has %d characters, more than %d", c.name, n, c.max)
	case c.match != nil && !c.match(value):
		return "", invalid("%s %q does not match its pattern", c.name, cut(value))
	}
	return value, nil
}
