package api

import (
	"encoding/xml"
	"mime"
	"net/http"
)

// notEmulated is the code for a service that is not emulated.
const notEmulated = "ServiceNotEmulated"

// absent returns a stand-in for a service that is not emulated. It answers every
// call with an error in the form that the service's clients read.
func absent(name string, r *http.Request) *Service {
	s := &Service{Name: name, Protocol: absentProtocol{jsonProtocol{errorBody: OneMember}}, Words: Words{Fault: "InternalFailure", Invalid: "ValidationError"}}
	s.Words.Throttled = ClientError("Throttling", "Rate exceeded")
	s.Words.Denied = func(m string) *Error { return ClientError("AccessDenied", "%s", m) }
	switch {
	case name == "s3":
		s.Protocol = absentXML{}
	case isForm(r):
		s.Protocol = absentXML{wrapped: true}
	}
	return s
}

func isForm(r *http.Request) bool {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return kind == formType
}

// absentProtocol is for JSON; services that are not emulated are not read.
type absentProtocol struct{ jsonProtocol }

func (absentProtocol) Read(*Call, *http.Request, []byte) (string, error) { return "", nil }

// absentXML has errors as S3 has them or, wrapped, as the query protocol.
type absentXML struct{ wrapped bool }

func (absentXML) Read(*Call, *http.Request, []byte) (string, error) { return "", nil }
func (absentXML) Write(http.ResponseWriter, *Call, any)             {}
func (absentXML) UnknownOperation(name string) *Error {
	return ClientError("InvalidAction", "%s", Cut(name))
}

func (p absentXML) WriteError(w http.ResponseWriter, c *Call, e *Error) {
	if p.wrapped {
		StandardQuery{}.WriteError(w, c, e)
		return
	}
	writeXML(w, c.RequestID, e.Status, struct {
		XMLName                  xml.Name `xml:"Error"`
		Code, Message, RequestId string
	}{Code: e.Code, Message: e.Message, RequestId: c.RequestID})
}
