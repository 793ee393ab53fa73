package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"unicode/utf8"
)

const jsonType = "application/x-amz-json-1.1"

// jsonProtocol is AWS JSON 1.1. The Content-Type is ignored.
type jsonProtocol struct {
	errorBody func(*Error) any
}

// JSON returns the protocol with a service's form of errors.
func JSON(errorBody func(*Error) any) Protocol { return jsonProtocol{errorBody} }

func (p jsonProtocol) Read(c *Call, r *http.Request, body []byte) (string, error) {
	target := r.Header.Get("X-Amz-Target")
	name, ok := strings.CutPrefix(target, c.Service.Target)
	if !ok {
		return "", p.UnknownOperation(target)
	}
	if err := json.Unmarshal(body, &c.Input); err != nil || c.Input == nil {
		return "", ClientError("SerializationException", "The body is not a JSON object.")
	}
	return name, nil
}

func (jsonProtocol) UnknownOperation(name string) *Error {
	return ClientError("UnknownOperationException", "The operation %q is not known, or eic-emulator does not have it.", Cut(name))
}

func (p jsonProtocol) Write(w http.ResponseWriter, c *Call, output any) {
	writeJSON(w, c.RequestID, http.StatusOK, output)
}

func (p jsonProtocol) WriteError(w http.ResponseWriter, c *Call, e *Error) {
	w.Header().Set("X-Amzn-ErrorType", e.Code)
	writeJSON(w, c.RequestID, e.Status, p.errorBody(e))
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

// OneMember is the body of an exception with one member, Message.
func OneMember(e *Error) any {
	return struct {
		Type    string `json:"__type"`
		Message string
	}{e.Code, e.Message}
}

// Members is the top level of a request. Unlike a struct it tells names that
// differ in case only.
type Members map[string]json.RawMessage

// Text returns a string member, empty when it is missing or null.
func (m Members) Text(name string) (value string, present bool, err error) {
	var p *string
	if raw, ok := m[name]; ok {
		if err := json.Unmarshal(raw, &p); err != nil {
			return "", false, ClientError("SerializationException", "%s is not a string.", name)
		}
	}
	if p == nil {
		return "", false, nil
	}
	return *p, true, nil
}

// Flag returns a boolean member, false when it is missing or null.
func (m Members) Flag(name string) (bool, error) {
	var p *bool
	if raw, ok := m[name]; ok {
		if err := json.Unmarshal(raw, &p); err != nil {
			return false, ClientError("SerializationException", "%s is not a boolean.", name)
		}
	}
	return p != nil && *p, nil
}

// Read decodes a member into v. If it is missing or null, v is unchanged.
func (m Members) Read(name string, v any) error {
	if raw, ok := m[name]; ok && string(raw) != "null" {
		if err := json.Unmarshal(raw, v); err != nil {
			return ClientError("SerializationException", "%s is not of the form that the model has.", name)
		}
	}
	return nil
}

// Number returns an integer member, 0 when it is missing or null.
func (m Members) Number(name string) (int, error) {
	var p *int
	if raw, ok := m[name]; ok {
		if err := json.Unmarshal(raw, &p); err != nil {
			return 0, ClientError("SerializationException", "%s is not an integer.", name)
		}
	}
	if p == nil {
		return 0, nil
	}
	return *p, nil
}

// A Constraint is the service model's constraint on a string member. Lengths are
// in characters; max 0 sets no limit. A nil match admits every value.
type Constraint struct {
	Name     string
	Required bool
	Min, Max int
	Match    func(string) bool
}

// Check returns the member, or what invalid makes of the sentence about a value
// that the model does not admit.
func (m Members) Check(c Constraint, invalid func(format string, args ...any) *Error) (string, error) {
	value, present, err := m.Text(c.Name)
	switch {
	case err != nil:
		return "", err
	case !present && c.Required:
		return "", invalid("%s must not be null", c.Name)
	case !present:
		return "", nil
	}
	n := utf8.RuneCountInString(value)
	switch {
	case n < c.Min:
		return "", invalid("%s has %d characters, fewer than %d", c.Name, n, c.Min)
	case c.Max > 0 && n > c.Max:
		return "", invalid("%s has %d characters, more than %d", c.Name, n, c.Max)
	case c.Match != nil && !c.Match(value):
		return "", invalid("%s %q does not match its pattern", c.Name, Cut(value))
	}
	return value, nil
}
