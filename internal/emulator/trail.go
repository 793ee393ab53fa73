package emulator

import (
	"encoding/json"
	"strings"
	"time"
	"unicode"
)

// A trailEvent has the shape of a CloudTrail record.
type trailEvent struct {
	Version      string         `json:"eventVersion"`
	Identity     *trailIdentity `json:"userIdentity"`
	Time         string         `json:"eventTime"`
	Source       string         `json:"eventSource"`
	Name         string         `json:"eventName"`
	Region       string         `json:"awsRegion"`
	SourceIP     string         `json:"sourceIPAddress"`
	UserAgent    string         `json:"userAgent"`
	ErrorCode    string         `json:"errorCode,omitempty"`
	ErrorMessage string         `json:"errorMessage,omitempty"`
	Request      any            `json:"requestParameters"`
	Response     any            `json:"responseElements"`
	RequestID    string         `json:"requestID"`
	EventID      string         `json:"eventID"`
	ReadOnly     bool           `json:"readOnly"`
	Type         string         `json:"eventType"`
	Management   bool           `json:"managementEvent"`
	Recipient    string         `json:"recipientAccountId"`
	Category     string         `json:"eventCategory"`
}

type trailIdentity struct {
	Type      string `json:"type"`
	Principal string `json:"principalId,omitempty"`
	ARN       string `json:"arn,omitempty"`
	Account   string `json:"accountId,omitempty"`
	KeyID     string `json:"accessKeyId,omitempty"`
	UserName  string `json:"userName,omitempty"`
}

// trail writes what became of a call, refused ones included. One of no known
// operation leaves no trail; a caller that was not made out has only the access
// key that it named.
func (s *Server) trail(c *call, output any, refusal *apiError) {
	if s.options.CloudTrail == nil || c.op == nil {
		return
	}
	event := trailEvent{
		Version: "1.11", Identity: identityOf(c.caller), Time: c.now.UTC().Format(time.RFC3339),
		Source: c.service.name + ".amazonaws.com", Name: c.op.name, Region: c.region, SourceIP: c.source, UserAgent: c.userAgent,
		Request: c.trailInput(), RequestID: c.requestID, EventID: newRequestID(), ReadOnly: c.op.readOnly,
		Type: "AwsApiCall", Management: true, Recipient: c.caller.Account, Category: "Management",
	}
	if c.caller.ARN == "" {
		event.Identity, event.Request = &trailIdentity{Type: "Unknown", KeyID: c.caller.KeyID}, nil
	}
	if refusal != nil {
		event.ErrorCode, event.ErrorMessage = refusal.code, refusal.message
	} else if !c.op.readOnly {
		event.Response = c.trailOutput(output)
	}
	line, err := json.Marshal(event)
	if err != nil {
		return // every field is text that can be marshalled
	}
	s.trailMu.Lock()
	defer s.trailMu.Unlock()
	_, _ = s.options.CloudTrail.Write(append(line, '\n')) // a call is not refused for it
}

func identityOf(p principal) *trailIdentity {
	id := &trailIdentity{Type: "IAMUser", ARN: p.ARN, Account: p.Account, KeyID: p.KeyID}
	_, name, _ := strings.Cut(strings.TrimPrefix(p.ARN, "arn:"), "/")
	switch {
	case strings.Contains(p.ARN, ":assumed-role/"):
		id.Type, id.Principal = "AssumedRole", "AROAEMULATOR:"+name[strings.LastIndexByte(name, '/')+1:]
	case strings.HasSuffix(p.ARN, ":root"):
		id.Type, id.Principal = "Root", p.Account
	default:
		id.Principal, id.UserName = "AIDAEMULATOR", name[strings.LastIndexByte(name, '/')+1:]
	}
	return id
}

// trailOutput returns the responseElements of a call that changed something,
// where their shape is known.
func (c *call) trailOutput(output any) any {
	switch out := output.(type) {
	case pushOutput:
		return map[string]any{"requestId": out.RequestId, "success": out.Success}
	case importKeyPairOutput:
		return map[string]any{"requestId": c.requestID, "keyName": out.Name, "keyFingerprint": out.Fingerprint, "keyPairId": out.ID}
	case deleteKeyPairOutput:
		return map[string]any{"requestId": c.requestID, "_return": out.Return}
	}
	if c.service.name == lightsailName {
		return output
	}
	return nil
}

func (c *call) trailInput() any {
	if c.op.trail != nil {
		return c.op.trail(c)
	}
	shape := make(map[string]any)
	for name, value := range c.input {
		shape[lowerFirst(name)] = value
	}
	for name := range c.params {
		if name != "Action" && name != "Version" {
			shape[lowerFirst(name)] = c.params.text(name)
		}
	}
	return shape
}

func lowerFirst(s string) string {
	r := []rune(s)
	if len(r) > 0 {
		r[0] = unicode.ToLower(r[0])
	}
	return string(r)
}
