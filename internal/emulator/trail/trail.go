// Package trail writes the calls of the API in the shape of CloudTrail records.
package trail

import (
	"encoding/json"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// An event has the shape of a CloudTrail record.
type event struct {
	Version      string    `json:"eventVersion"`
	Identity     *identity `json:"userIdentity"`
	Time         string    `json:"eventTime"`
	Source       string    `json:"eventSource"`
	Name         string    `json:"eventName"`
	Region       string    `json:"awsRegion"`
	SourceIP     string    `json:"sourceIPAddress"`
	UserAgent    string    `json:"userAgent"`
	ErrorCode    string    `json:"errorCode,omitempty"`
	ErrorMessage string    `json:"errorMessage,omitempty"`
	Request      any       `json:"requestParameters"`
	Response     any       `json:"responseElements"`
	RequestID    string    `json:"requestID"`
	EventID      string    `json:"eventID"`
	ReadOnly     bool      `json:"readOnly"`
	Type         string    `json:"eventType"`
	Management   bool      `json:"managementEvent"`
	Recipient    string    `json:"recipientAccountId"`
	Category     string    `json:"eventCategory"`
}

type identity struct {
	Type      string `json:"type"`
	Principal string `json:"principalId,omitempty"`
	ARN       string `json:"arn,omitempty"`
	Account   string `json:"accountId,omitempty"`
	KeyID     string `json:"accessKeyId,omitempty"`
	UserName  string `json:"userName,omitempty"`
}

// A Log writes records, one a line. Where Out is nil it writes none.
type Log struct {
	Out io.Writer

	mu sync.Mutex
}

// Write writes what became of a call, refused ones included. One of no known
// operation leaves no trail; a caller that was not made out has only the access
// key that it named.
func (l *Log) Write(c *api.Call, output any, refusal *api.Error) {
	if l.Out == nil || c.Op == nil { // a tunnel has no operation
		return
	}
	record := event{
		Version: "1.11", Identity: identityOf(c.Caller), Time: c.Now.UTC().Format(time.RFC3339),
		Source: c.Service.Name + ".amazonaws.com", Name: c.Op.Name, Region: c.Region, SourceIP: c.Source, UserAgent: c.UserAgent,
		Request: inputOf(c), RequestID: c.RequestID, EventID: world.NewUUID(), ReadOnly: c.Op.ReadOnly,
		Type: "AwsApiCall", Management: true, Recipient: c.Caller.Account, Category: "Management",
	}
	if c.Caller.ARN == "" {
		record.Identity, record.Request = &identity{Type: "Unknown", KeyID: c.Caller.KeyID}, nil
	}
	if refusal != nil {
		record.ErrorCode, record.ErrorMessage = refusal.Code, refusal.Message
	} else if !c.Op.ReadOnly {
		record.Response = outputOf(c, output)
	}
	line, err := json.Marshal(record)
	if err != nil {
		return // every field is text that can be marshalled
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.Out.Write(append(line, '\n')) // a call is not refused for it
}

func identityOf(p api.Principal) *identity {
	id := &identity{Type: "IAMUser", Principal: p.ID(), ARN: p.ARN, Account: p.Account, KeyID: p.KeyID}
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

// outputOf returns the responseElements of a call that changed something,
// where their shape is known.
func outputOf(c *api.Call, output any) any {
	if c.Op.Response == nil {
		return nil
	}
	return c.Op.Response(c, output)
}

func inputOf(c *api.Call) any {
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
