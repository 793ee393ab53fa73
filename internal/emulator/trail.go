package emulator

import (
	"encoding/json"
	"strings"
	"time"
	"unicode"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
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
func (s *Server) trail(c *api.Call, output any, refusal *api.Error) {
	if s.options.CloudTrail == nil || c.Op == nil { // a tunnel has no operation
		return
	}
	event := trailEvent{
		Version: "1.11", Identity: identityOf(c.Caller), Time: c.Now.UTC().Format(time.RFC3339),
		Source: c.Service.Name + ".amazonaws.com", Name: c.Op.Name, Region: c.Region, SourceIP: c.Source, UserAgent: c.UserAgent,
		Request: trailInput(c), RequestID: c.RequestID, EventID: world.NewUUID(), ReadOnly: c.Op.ReadOnly,
		Type: "AwsApiCall", Management: true, Recipient: c.Caller.Account, Category: "Management",
	}
	if c.Caller.ARN == "" {
		event.Identity, event.Request = &trailIdentity{Type: "Unknown", KeyID: c.Caller.KeyID}, nil
	}
	if refusal != nil {
		event.ErrorCode, event.ErrorMessage = refusal.Code, refusal.Message
	} else if !c.Op.ReadOnly {
		event.Response = trailOutput(c, output)
	}
	line, err := json.Marshal(event)
	if err != nil {
		return // every field is text that can be marshalled
	}
	s.trailMu.Lock()
	defer s.trailMu.Unlock()
	_, _ = s.options.CloudTrail.Write(append(line, '\n')) // a call is not refused for it
}

func identityOf(p api.Principal) *trailIdentity {
	id := &trailIdentity{Type: "IAMUser", Principal: p.ID(), ARN: p.ARN, Account: p.Account, KeyID: p.KeyID}
	switch {
	case strings.Contains(p.ARN, ":assumed-role/"):
		id.Type = "AssumedRole"
	case strings.HasSuffix(p.ARN, ":root"):
		id.Type = "Root"
	default:
		id.UserName = p.ARN[strings.LastIndexByte(p.ARN, '/')+1:]
	}
	return id
}

// trailOutput returns the responseElements of a call that changed something,
// where their shape is known.
func trailOutput(c *api.Call, output any) any {
	if c.Op.Response == nil {
		return nil
	}
	return c.Op.Response(c, output)
}

func trailInput(c *api.Call) any {
	if c.Op.Trail != nil {
		return c.Op.Trail(c)
	}
	shape := make(map[string]any)
	for name, value := range c.Input {
		shape[lowerFirst(name)] = value
	}
	for name := range c.Params {
		if name != "Action" && name != "Version" {
			shape[lowerFirst(name)] = c.Params.Text(name)
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
