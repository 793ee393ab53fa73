package api

import (
	"bytes"
	"encoding/xml"
	"net/http"
)

// StandardQuery is the query protocol as services other than EC2 speak it.
type StandardQuery struct{ Version string }

// TakesGET marks the protocols that take GET.
func (StandardQuery) TakesGET() {}

func (p StandardQuery) namespace() string { return "https://sts.amazonaws.com/doc/" + p.Version + "/" }

// Read reads a call.
func (p StandardQuery) Read(c *Call, r *http.Request, body []byte) (string, error) {
	return readQuery(c, r, body, "AWSSecurityTokenService", p.Version)
}

// UnknownOperation returns the answer to it.
func (StandardQuery) UnknownOperation(name string) *Error {
	return ClientError("InvalidAction", "Could not find operation %s, or eic-emulator does not have it", Cut(name))
}

// Write answers a call. The members of an answer stand in an element that is
// named for the operation.
func (p StandardQuery) Write(w http.ResponseWriter, c *Call, output any) {
	inner, err := xml.Marshal(output)
	first, last := bytes.IndexByte(inner, '>'), bytes.LastIndexByte(inner, '<')
	if err != nil || first < 0 || last <= first {
		writeXML(w, c.RequestID, http.StatusInternalServerError, nil)
		return
	}
	type members struct {
		XMLName xml.Name
		Members []byte `xml:",innerxml"`
	}
	writeXML(w, c.RequestID, http.StatusOK, struct {
		XMLName xml.Name
		Result  members
		Request string `xml:"ResponseMetadata>RequestId"`
	}{
		XMLName: xml.Name{Space: p.namespace(), Local: c.Op.Name + "Response"},
		Result:  members{xml.Name{Local: c.Op.Name + "Result"}, inner[first+1 : last]},
		Request: c.RequestID,
	})
}

// WriteError answers a call that failed.
func (p StandardQuery) WriteError(w http.ResponseWriter, c *Call, e *Error) {
	type one struct{ Type, Code, Message string }
	kind := "Sender"
	if e.Status >= 500 {
		kind = "Receiver"
	}
	writeXML(w, c.RequestID, e.Status, struct {
		XMLName   xml.Name `xml:"ErrorResponse"`
		Error     one
		RequestId string
	}{Error: one{kind, e.Code, e.Message}, RequestId: c.RequestID})
}
