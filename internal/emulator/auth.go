package emulator

import (
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/sigv4"
)

// A Credential is an access key and who holds it.
type Credential struct {
	KeyID   string
	Secret  string
	Token   string    // session token, for temporary credentials
	ARN     string    // of the IAM principal
	Expires time.Time // zero: never
}

// A principal is who calls.
type principal struct {
	ARN, Account, KeyID string
}

// accountOf returns the account in an ARN, "" when it has none.
func accountOf(arn string) string {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 && parts[0] == "arn" {
		return parts[4]
	}
	return ""
}

func newCredentials(options Options) (map[string]Credential, error) {
	keys := options.AccessKeys
	if keys == nil && options.Credentials == nil {
		keys = []Credential{{KeyID: DefaultAccessKey, Secret: DefaultSecretKey, ARN: DefaultCallerARN}}
	}
	all := make(map[string]Credential)
	for _, c := range keys {
		switch {
		case c.KeyID == "" || strings.ContainsAny(c.KeyID, "/, ="):
			return nil, fmt.Errorf("%q cannot be the id of an access key", c.KeyID)
		case c.Secret == "":
			return nil, fmt.Errorf("access key %s has no secret", c.KeyID)
		case all[c.KeyID].KeyID != "":
			return nil, fmt.Errorf("access key %s is given twice", c.KeyID)
		}
		if err := checkARN(c.ARN); err != nil {
			return nil, fmt.Errorf("access key %s: %w", c.KeyID, err)
		}
		all[c.KeyID] = c
	}
	for id, arn := range options.Credentials {
		if all[id].KeyID != "" {
			return nil, fmt.Errorf("access key %s is given twice", id)
		}
		all[id] = Credential{KeyID: id, ARN: arn}
	}
	return all, nil
}

func checkARN(arn string) error {
	if accountOf(arn) == "" || strings.ContainsFunc(arn, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("%q is not the ARN of a principal, such as %s", arn, DefaultCallerARN)
	}
	return nil
}

var regionPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-\d+$`)
})

// authenticate fills in who calls, and in which region.
func (s *Server) authenticate(c *call, r *http.Request, body []byte) error {
	err := s.checkSignature(c, r, body)
	if fault, ok := err.(*sigv4.Error); ok {
		return c.service.words.signature(fault)
	}
	return err
}

func (s *Server) checkSignature(c *call, r *http.Request, body []byte) error {
	claim, err := sigv4.Parse(r)
	if err != nil {
		return err
	}
	c.region, c.caller.KeyID = claim.Region, claim.KeyID
	credential, known := s.credentials[claim.KeyID]
	verified := credential.Secret != ""
	switch {
	case !known || verified && claim.Token != credential.Token:
		return &sigv4.Error{Fault: sigv4.UnknownKey, Message: "The security token included in the request is invalid."}
	case !regionPattern().MatchString(claim.Region):
		return &sigv4.Error{Fault: sigv4.WrongRegion, Message: "Credential should be scoped to a valid region."}
	case claim.Service != c.service.name:
		return &sigv4.Error{Fault: sigv4.WrongService, Message: fmt.Sprintf("Credential should be scoped to correct service: '%s'.", c.service.name)}
	}
	if verified {
		if err := s.verifier.Verify(r.Context(), r, body, claim, credential.Secret, c.now); err != nil {
			return err
		}
	}
	if !credential.Expires.IsZero() && !c.now.Before(credential.Expires) {
		return &sigv4.Error{Fault: sigv4.ExpiredToken, Message: "The security token included in the request is expired"}
	}
	c.caller = principal{ARN: credential.ARN, Account: accountOf(credential.ARN), KeyID: claim.KeyID}
	return nil
}

// A Deny is an explicit deny, as an IAM policy states it. Every field is a
// pattern with * and ?; an empty one matches everything.
type Deny struct {
	Action   string // such as ec2:ImportKeyPair; letters of either case
	Caller   string // ARN
	Resource string // ARN
	OSUser   string // the value of ec2:osuser
}

// authorize applies the explicit denies; all else is allowed.
func (s *Server) authorize(c *call) error {
	action, resource, user := c.service.name+":"+c.op.name, "*", ""
	if c.op.resource != nil {
		resource = c.op.resource(c)
	}
	if c.input != nil {
		user, _, _ = c.input.text("InstanceOSUser")
	}
	for _, d := range s.options.Deny {
		if globs(strings.ToLower(d.Action), strings.ToLower(action)) && globs(d.Caller, c.caller.ARN) &&
			globs(d.Resource, resource) && globs(d.OSUser, user) {
			return c.service.words.denied(fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s with an explicit deny in an identity-based policy",
				c.caller.ARN, action, cutARN(resource)))
		}
	}
	return nil
}

// cutARN bounds an ARN that the caller had a part in.
func cutARN(arn string) string {
	if len(arn) > 4*maxEchoed {
		return arn[:4*maxEchoed] + "..."
	}
	return arn
}

// globs matches s against a pattern with * and ?. The empty pattern matches
// everything.
func globs(pattern, s string) bool {
	if pattern == "" {
		return true
	}
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, mark = i, j
			i++
		case i < len(pattern) && (pattern[i] == '?' || pattern[i] == s[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}

func (c *call) arn(service, resource string) string {
	partition, _ := partitionOfRegion(c.region)
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", partition, service, c.region, c.caller.Account, resource)
}

// sourceIP returns the address that a request came from.
func sourceIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
