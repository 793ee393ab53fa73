package emulator

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
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

// queryProtocol is EC2's: a form comes in, XML goes out.
type queryProtocol struct{}

func (queryProtocol) read(c *call, _ *http.Request, body []byte) (string, error) {
	if bytes.Count(body, []byte("&")) >= maxParams {
		return "", clientError("MalformedQueryString", "The query string has more than %d parameters.", maxParams)
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return "", clientError("MalformedQueryString", "The query string contains a syntax error.")
	}
	c.params = params(values)
	version := c.params.text("Version")
	switch {
	case version == "":
		return "", missingParameter("Version")
	case !isDate(version) || version > ec2Version:
		return "", clientError("NoSuchVersion", "The requested version (%s) of service AmazonEC2 does not exist", cut(version))
	case c.params.text("Action") == "":
		return "", clientError("MissingAction", "The request must contain the parameter Action")
	}
	return c.params.text("Action"), nil
}

// isDate reports whether s has the form of an API version, such as 2016-11-15.
func isDate(s string) bool {
	if len(s) != 10 || s[4] != '-' || s[7] != '-' {
		return false
	}
	_, err := strconv.ParseUint(s[:4]+s[5:7]+s[8:], 10, 32)
	return err == nil
}

func (queryProtocol) unknownOperation(name string) *apiError {
	return clientError("InvalidAction", "The action %s is not valid for this web service.", cut(name))
}

// An xmlOutput is an answer of EC2 without what all answers have.
type xmlOutput struct {
	XMLName xml.Name
	Request string `xml:"requestId"`
	Members []byte `xml:",innerxml"`
}

func (queryProtocol) write(w http.ResponseWriter, c *call, output any) {
	// The members of an answer stand beside the requestId, not in an element
	// of their own.
	inner, err := xml.Marshal(output)
	first, last := bytes.IndexByte(inner, '>'), bytes.LastIndexByte(inner, '<')
	if err != nil || first < 0 || last <= first {
		writeXML(w, c.requestID, http.StatusInternalServerError, nil)
		return
	}
	writeXML(w, c.requestID, http.StatusOK, xmlOutput{
		XMLName: xml.Name{Space: ec2Namespace, Local: c.op.name + "Response"},
		Request: c.requestID,
		Members: inner[first+1 : last],
	})
}

// writeError spells RequestID as EC2 does in errors only.
func (queryProtocol) writeError(w http.ResponseWriter, c *call, e *apiError) {
	type one struct{ Code, Message string }
	writeXML(w, c.requestID, e.status, struct {
		XMLName   xml.Name `xml:"Response"`
		Error     one      `xml:"Errors>Error"`
		RequestID string
	}{Error: one{e.code, e.message}, RequestID: c.requestID})
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

func missingParameter(name string) *apiError {
	return clientError("MissingParameter", "The request must contain the parameter %s", name)
}

func invalidParameter(format string, args ...any) *apiError {
	return clientError("InvalidParameterValue", format, args...)
}

// params are the parameters of a query. Lists are written Name.1, Name.2, and
// so on.
type params url.Values

func (p params) text(name string) string { return url.Values(p).Get(name) }

// flag returns a boolean parameter, false when it is missing.
func (p params) flag(name string) (bool, error) {
	switch text := p.text(name); text {
	case "":
		return false, nil
	case "true", "True", "TRUE", "1":
		return true, nil
	case "false", "False", "FALSE", "0":
		return false, nil
	default:
		return false, invalidParameter("Invalid value '%s' for %s: it must be true or false", cut(text), name)
	}
}

// indices returns the numbers that follow prefix and a dot, in order.
func (p params) indices(prefix string) []int {
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

// list returns the values of a list, in order.
func (p params) list(prefix string) []string {
	var all []string
	for _, n := range p.indices(prefix) {
		all = append(all, p.text(prefix+"."+strconv.Itoa(n)))
	}
	return all
}

// at names a member of an item of a list.
func at(prefix string, n int, member string) string {
	return prefix + "." + strconv.Itoa(n) + "." + member
}

// checkKnown refuses parameters that the operation does not have, as EC2 does.
func (c *call) checkKnown() error {
	var names []string
	for name := range c.params {
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
		if pattern != "Action" && pattern != "Version" && pattern != "DryRun" && !slices.Contains(c.op.params, pattern) {
			return clientError("UnknownParameter", "The parameter %s is not recognized", cut(name))
		}
	}
	return nil
}

// dryRun ends a call that is only to tell whether it would go well. It comes
// after the checks and before the deed.
func (c *call) dryRun() error {
	dry, err := c.params.flag("DryRun")
	if err != nil {
		return err
	}
	if dry {
		return &apiError{http.StatusPreconditionFailed, "DryRunOperation", "Request would have succeeded, but DryRun flag is set."}
	}
	return nil
}
