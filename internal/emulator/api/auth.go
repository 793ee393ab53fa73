package api

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/sigv4"
	"github.com/eic-agent/eic-agent/internal/pattern"
)

// A Credential is an access key with its IAM principal.
type Credential struct {
	KeyID   string
	Secret  string
	Token   string    // session token, for temporary credentials
	ARN     string    // of the IAM principal
	Expires time.Time // zero: never
}

// A Principal is who calls.
type Principal struct {
	ARN, Account, KeyID string
}

// AccountOf returns the account in an ARN, "" when it has none.
func AccountOf(arn string) string {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 && parts[0] == "arn" {
		return parts[4]
	}
	return ""
}

// NewCredentials returns the credentials by their IDs. Those in trusted have no
// secret: any caller that knows the ID is taken to hold the key.
func NewCredentials(keys []Credential, trusted map[string]string) (map[string]Credential, error) {
	all := make(map[string]Credential)
	for _, c := range keys {
		switch {
		case c.KeyID == "" || strings.ContainsAny(c.KeyID, "/, ="):
			return nil, fmt.Errorf("%q is not an access key ID", c.KeyID)
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
	for id, arn := range trusted {
		if all[id].KeyID != "" {
			return nil, fmt.Errorf("access key %s is given twice", id)
		}
		all[id] = Credential{KeyID: id, ARN: arn}
	}
	return all, nil
}

const exampleARN = "arn:aws:iam::123456789012:user/test"

func checkARN(arn string) error {
	if AccountOf(arn) == "" || strings.ContainsFunc(arn, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("%q is not the ARN of a principal, such as %s", arn, exampleARN)
	}
	return nil
}

// RegionPattern matches the name of a region.
var RegionPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-\d+$`)
})

// authenticate fills in who calls, and in which region.
func (g *Gate) authenticate(c *Call, r *http.Request, body []byte) error {
	err := g.checkSignature(c, r, body)
	if fault, ok := err.(*sigv4.Error); ok {
		return c.Service.Words.Signature(fault)
	}
	return err
}

func (g *Gate) checkSignature(c *Call, r *http.Request, body []byte) error {
	claim, err := sigv4.Parse(r)
	if err != nil {
		return err
	}
	c.Region, c.Caller.KeyID = claim.Region, claim.KeyID
	credential, known := g.Credentials[claim.KeyID]
	if !known {
		credential, known = g.Temporary(claim.KeyID, c.Now)
	}
	verified := credential.Secret != ""
	switch {
	case !known || verified && claim.Token != credential.Token:
		return &sigv4.Error{Fault: sigv4.UnknownKey, Message: "The security token included in the request is invalid."}
	case !RegionPattern().MatchString(claim.Region):
		return &sigv4.Error{Fault: sigv4.WrongRegion, Message: "Credential should be scoped to a valid region."}
	case claim.Service != c.Service.Name:
		return &sigv4.Error{Fault: sigv4.WrongService, Message: fmt.Sprintf("Credential should be scoped to correct service: '%s'.", c.Service.Name)}
	}
	if verified {
		if err := g.verifier.Verify(r.Context(), r, body, claim, credential.Secret, c.Signed); err != nil {
			return err
		}
	}
	if !credential.Expires.IsZero() && !c.Now.Before(credential.Expires) {
		return &sigv4.Error{Fault: sigv4.ExpiredToken, Message: "The security token included in the request is expired"}
	}
	c.Caller = Principal{ARN: credential.ARN, Account: AccountOf(credential.ARN), KeyID: claim.KeyID}
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
func (g *Gate) authorize(c *Call) error {
	action, resource, user := c.Service.Name+":"+c.Op.Name, "*", ""
	if c.Op.Resource != nil {
		resource = c.Op.Resource(c)
	}
	if c.Input != nil {
		user, _, _ = c.Input.Text("InstanceOSUser")
	}
	for _, d := range g.Deny {
		if globs(strings.ToLower(d.Action), strings.ToLower(action)) && globs(d.Caller, c.Caller.ARN) &&
			globs(d.Resource, resource) && globs(d.OSUser, user) {
			return c.Service.Words.Denied(fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s with an explicit deny in an identity-based policy",
				c.Caller.ARN, action, cutARN(resource)))
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

// globs matches s against a pattern of IAM, with * and ? and no escapes. The
// empty pattern matches everything.
func globs(text, s string) bool {
	p, err := pattern.Compile(pattern.Wildcard, text)
	return text == "" || err == nil && p.Match(s)
}

// ID makes up the unique ID of the principal, as IAM has one.
func (p Principal) ID() string {
	_, name, _ := strings.Cut(strings.TrimPrefix(p.ARN, "arn:"), "/")
	switch {
	case strings.HasSuffix(p.ARN, ":root"):
		return p.Account
	case strings.Contains(p.ARN, ":assumed-role/"):
		return "AROAEMULATOR:" + name[strings.LastIndexByte(name, '/')+1:]
	}
	return "AIDAEMULATOR"
}
