// Package sts emulates GetCallerIdentity of the Security Token Service, version
// 2011-06-15, which clients call before anything else.
package sts

import (
	"encoding/xml"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
)

// Name is the service's signing name.
const Name = "sts"

// Service returns the API.
func Service() *api.Service {
	return &api.Service{
		Name: Name, Protocol: api.StandardQuery{Version: "2011-06-15"}, Words: api.QueryWords(),
		Operations: []api.Operation{{Name: "GetCallerIdentity", ReadOnly: true, Handle: getCallerIdentity}},
	}
}

type identityOutput struct {
	XMLName xml.Name `xml:"output"`
	ARN     string   `xml:"Arn"`
	UserID  string   `xml:"UserId"`
	Account string   `xml:"Account"`
}

func getCallerIdentity(c *api.Call) (any, error) {
	return identityOutput{ARN: c.Caller.ARN, UserID: c.Caller.ID(), Account: c.Caller.Account}, nil
}
