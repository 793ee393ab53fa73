package api

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	formType     = "application/x-www-form-urlencoded"
	xmlType      = "text/xml;charset=UTF-8"
	ec2Version   = "2016-11-15" // the newest; which older ones there are is not checked
	ec2Namespace = "http://ec2.amazonaws.com/doc/" + ec2Version + "/"

	// maxParams is far above what a request with fifty tags or two hundred
	// filter values needs.
	maxParams = 2048
)

// EC2Query is EC2's protocol: a form or a query string comes in, XML goes out.
type EC2Query struct{}

// TakesGET marks the protocols that take GET.
func (EC2Query) TakesGET() {}

// Read reads a call.
func (EC2Query) Read(c *Call, r *http.Request, body []byte) (string, error) {
	return readQuery(c, r, body, "AmazonEC2", ec2Version)
}

// readQuery reads the parameters in the query string and in a form, without
// those of a presigned URL.
func readQuery(c *Call, r *http.Request, body []byte, service, newest string) (string, error) {
	if bytes.Count(body, []byte("&"))+strings.Count(r.URL.RawQuery, "&") >= maxParams {
		return "", ClientError("MalformedQueryString", "The query string has more than %d parameters.", maxParams)
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err == nil && len(body) > 0 {
		var form url.Values
		form, err = url.ParseQuery(string(body))
		for name, all := range form {
			values[name] = append(values[name], all...)
		}
	}
	if err != nil {
		return "", ClientError("MalformedQueryString", "The query string contains a syntax error.")
	}
	for name := range values {
		if strings.HasPrefix(name, "X-Amz-") {
			delete(values, name)
		}
	}
	for name, all := range values {
		broken := func(value string) bool { return !utf8.ValidString(value) || strings.ContainsFunc(value, notInXML) }
		if name != "Action" && slices.ContainsFunc(all, broken) { // an unknown action is said so
			return "", ClientError("InvalidCharacter", "The parameter %s has a character that is not valid.", Cut(name))
		}
	}
	c.Params = Params(values)
	version := c.Params.Text("Version")
	switch {
	case version == "":
		return "", MissingParameter("Version")
	case !isDate(version) || version > newest:
		return "", ClientError("NoSuchVersion", "The requested version (%s) of service %s does not exist", Cut(version), service)
	case c.Params.Text("Action") == "":
		return "", ClientError("MissingAction", "The request must contain the parameter Action")
	}
	return c.Params.Text("Action"), nil
}

// notInXML reports whether an answer cannot repeat a character.
func notInXML(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff
}

// isDate reports whether s has the form of an API version, such as 2016-11-15.
func isDate(s string) bool {
	if len(s) != 10 || s[4] != '-' || s[7] != '-' {
		return false
	}
	_, err := strconv.ParseUint(s[:4]+s[5:7]+s[8:], 10, 32)
	return err == nil
}

// UnknownOperation returns the answer to it.
func (EC2Query) UnknownOperation(name string) *Error {
	return ClientError("InvalidAction", "The action %s is not valid for this web service, or eic-emulator does not have it.", Cut(name))
}

// An xmlOutput is an answer of EC2 without what all answers have.
type xmlOutput struct {
	XMLName xml.Name
	Request string `xml:"requestId"`
	Members []byte `xml:",innerxml"`
}

// Write answers a call.
func (EC2Query) Write(w http.ResponseWriter, c *Call, output any) {
	// The members of an answer stand beside the requestId, not in an element
	// of their own.
	inner, err := xml.Marshal(output)
	first, last := bytes.IndexByte(inner, '>'), bytes.LastIndexByte(inner, '<')
	if err != nil || first < 0 || last <= first {
		writeXML(w, c.RequestID, http.StatusInternalServerError, nil)
		return
	}
	writeXML(w, c.RequestID, http.StatusOK, xmlOutput{
		XMLName: xml.Name{Space: ec2Namespace, Local: c.Op.Name + "Response"},
		Request: c.RequestID,
		Members: inner[first+1 : last],
	})
}

// WriteError spells RequestID as EC2 does in errors only.
func (EC2Query) WriteError(w http.ResponseWriter, c *Call, e *Error) {
	type one struct{ Code, Message string }
	writeXML(w, c.RequestID, e.Status, struct {
		XMLName   xml.Name `xml:"Response"`
		Error     one      `xml:"Errors>Error"`
		RequestID string
	}{Error: one{e.Code, e.Message}, RequestID: c.RequestID})
}

func writeXML(w http.ResponseWriter, requestID string, status int, output any) {
	body, err := xml.Marshal(output)
	if err != nil {
		status, body = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", xmlType)
	w.Header().Set("X-Amzn-Requestid", requestID)
	w.Header().Set("Server", "AmazonEC2")
	w.WriteHeader(status)
	_, _ = w.Write(append([]byte(xml.Header), body...)) // the client may be gone
}

// MissingParameter is the error about a parameter that a call lacks.
func MissingParameter(name string) *Error {
	return ClientError("MissingParameter", "The request must contain the parameter %s", name)
}

// InvalidParameter is the error about a value.
func InvalidParameter(format string, args ...any) *Error {
	return ClientError("InvalidParameterValue", format, args...)
}

// Params are the parameters of a query. Lists are written Name.1, Name.2, and
// so on.
type Params url.Values

// Text returns a parameter, empty when it is missing.
func (p Params) Text(name string) string { return url.Values(p).Get(name) }

// Flag returns a boolean parameter, false when it is missing.
func (p Params) Flag(name string) (bool, error) {
	switch text := p.Text(name); text {
	case "":
		return false, nil
	case "true", "True", "TRUE", "1":
		return true, nil
	case "false", "False", "FALSE", "0":
		return false, nil
	default:
		return false, InvalidParameter("Invalid value '%s' for %s: it must be true or false", Cut(text), name)
	}
}

// Indices returns the numbers that follow prefix and a dot, in order.
func (p Params) Indices(prefix string) []int {
	var all []int
	for name := range p {
		below, ok := strings.CutPrefix(name, prefix+".")
		if !ok {
			continue
		}
		number, _, _ := strings.Cut(below, ".")
		if n, err := strconv.Atoi(number); err == nil && n > 0 {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// List returns the values of a list, in order.
func (p Params) List(prefix string) []string {
	var all []string
	for _, n := range p.Indices(prefix) {
		all = append(all, p.Text(prefix+"."+strconv.Itoa(n)))
	}
	return all
}

// At names a member of an item of a list.
func At(prefix string, n int, member string) string {
	return prefix + "." + strconv.Itoa(n) + "." + member
}

// CheckKnown refuses parameters that the operation does not have, as EC2 does.
func (c *Call) CheckKnown() error {
	var names []string
	for name := range c.Params {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		segments := strings.Split(name, ".")
		for i, s := range segments {
			if _, err := strconv.ParseUint(s, 10, 32); err == nil {
				segments[i] = "#"
			}
		}
		pattern := strings.Join(segments, ".")
		if pattern != "Action" && pattern != "Version" && pattern != "DryRun" && !slices.Contains(c.Op.Params, pattern) {
			return ClientError("UnknownParameter", "The parameter %s is not recognized", Cut(name))
		}
	}
	return nil
}

// DryRun ends a call that only checks whether it would succeed. Call it after
// the checks and before any change.
func (c *Call) DryRun() error {
	dry, err := c.Params.Flag("DryRun")
	if err != nil {
		return err
	}
	if dry {
		return &Error{http.StatusPreconditionFailed, "DryRunOperation", "Request would have succeeded, but DryRun flag is set."}
	}
	return nil
}

// Has reports whether a parameter was given, if only empty.
func (p Params) Has(name string) bool { return url.Values(p).Has(name) }
