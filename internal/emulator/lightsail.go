package emulator

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/eic-agent/eic-agent/internal/fingerprint"
)

// lightsailNamePattern is the model's for the name of a resource.
var lightsailNamePattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\w[\w\-]*\w$`)
})

const (
	maxLightsailName = 255
	lightsailPage    = 100 // key pairs on a page
)

// lightsailOperations is API version 2016-11-28.
func (s *Server) lightsailOperations() []operation {
	resource := func(c *call) string { return c.arn("lightsail", "KeyPair/*") }
	return []operation{
		{name: "ImportKeyPair", resource: resource, handle: s.importLightsailKey},
		{name: "GetKeyPair", resource: resource, readOnly: true, handle: s.getLightsailKey},
		{name: "GetKeyPairs", resource: resource, readOnly: true, handle: s.getLightsailKeys},
		{name: "DeleteKeyPair", resource: resource, handle: s.deleteLightsailKey},
	}
}

// An operationShape is the model's shape Operation. The model's list of types has
// none for the import of a key pair, so there is no operationType; that it is
// so on AWS is not confirmed.
type operationShape struct {
	ID              string        `json:"id"`
	ResourceName    string        `json:"resourceName"`
	ResourceType    string        `json:"resourceType"`
	CreatedAt       float64       `json:"createdAt"`
	Location        locationShape `json:"location"`
	IsTerminal      bool          `json:"isTerminal"`
	Details         string        `json:"operationDetails,omitempty"`
	Status          string        `json:"status"`
	StatusChangedAt float64       `json:"statusChangedAt"`
}

type locationShape struct {
	Zone   string `json:"availabilityZone"`
	Region string `json:"regionName"`
}

// location of a key pair: it is the whole region's.
func (c *call) location() locationShape { return locationShape{"all", c.region} }

func (c *call) operationOn(name string) any {
	return struct {
		Operation operationShape `json:"operation"`
	}{operationShape{
		ID: newRequestID(), ResourceName: name, ResourceType: "KeyPair", CreatedAt: seconds(c.now),
		Location: c.location(), IsTerminal: true, Status: "Succeeded", StatusChangedAt: seconds(c.now),
	}}
}

func invalidInput(format string, args ...any) *apiError {
	return clientError("InvalidInputException", format, args...)
}

func lightsailKeyName(c *call) (string, error) {
	return c.input.check(constraint{"keyPairName", true, 2, maxLightsailName, lightsailNamePattern().MatchString}, invalidInput)
}

// importLightsailKey takes the OpenSSH line as it is, and not in base64,
// whatever the name of the member and its description say: AWS does so, and
// answers base64 of the line as it answers everything else.
func (s *Server) importLightsailKey(c *call) (any, error) {
	name, err := lightsailKeyName(c)
	if err != nil {
		return nil, err
	}
	text, err := c.input.check(constraint{name: "publicKeyBase64", required: true}, invalidInput)
	if err != nil {
		return nil, err
	}
	key, err := fingerprint.ParseKey([]byte(text))
	if err != nil || key.Form != fingerprint.OpenSSH || key.Type() != ssh.KeyAlgoRSA && !s.options.Permissive {
		return nil, invalidInput("The format of this public key is not valid.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	region := s.regionOf(c.scope())
	if region.lightsailKey(name) != nil {
		return nil, invalidInput("Some names are already in use: %s", name)
	}
	region.LightsailKeys = append(region.LightsailKeys, &lightsailKey{
		Name: name, Line: key.Line(), Fingerprint: key.Lightsail(), Created: c.now.UTC(),
		Support: c.caller.Account + "/" + newRequestID(),
	})
	return c.operationOn(name), nil
}

func (r *regionState) lightsailKey(name string) *lightsailKey {
	for _, k := range r.LightsailKeys {
		if k.Name == name {
			return k
		}
	}
	return nil
}

func errLightsailKey(name string) *apiError {
	return clientError("NotFoundException", "The KeyPair does not exist: %s", name)
}

// A keyPairShape is the model's shape KeyPair.
type keyPairShape struct {
	Name         string        `json:"name"`
	ARN          string        `json:"arn"`
	SupportCode  string        `json:"supportCode"`
	CreatedAt    float64       `json:"createdAt"`
	Location     locationShape `json:"location"`
	ResourceType string        `json:"resourceType"`
	Tags         []struct{}    `json:"tags"`
	Fingerprint  string        `json:"fingerprint"`
}

func (c *call) keyPairShape(k *lightsailKey) keyPairShape {
	return keyPairShape{
		Name: k.Name, ARN: c.arn("lightsail", "KeyPair/"+nameUUID(k.Support)), SupportCode: k.Support, CreatedAt: seconds(k.Created),
		Location: c.location(), ResourceType: "KeyPair", Tags: []struct{}{}, Fingerprint: k.Fingerprint,
	}
}

// nameUUID is the part of a support code that the ARN has too.
func nameUUID(support string) string { return support[max(0, len(support)-36):] }

func (s *Server) getLightsailKey(c *call) (any, error) {
	name, err := lightsailKeyName(c)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.regionOf(c.scope()).lightsailKey(name)
	if k == nil {
		return nil, errLightsailKey(name)
	}
	return struct {
		KeyPair keyPairShape `json:"keyPair"`
	}{c.keyPairShape(k)}, nil
}

// getLightsailKeys returns a page; see place.
func (s *Server) getLightsailKeys(c *call) (any, error) {
	token, _, err := c.input.text("pageToken")
	if err != nil {
		return nil, err
	}
	if raw, ok := c.input["includeDefaultKeyPair"]; ok { // there is no default key pair
		if json.Unmarshal(raw, new(*bool)) != nil {
			return nil, clientError("SerializationException", "includeDefaultKeyPair is not a boolean.")
		}
	}
	first, ok := place(token)
	if !ok {
		return nil, invalidInput("The page token %q is not valid.", cut(token))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.regionOf(c.scope()).LightsailKeys
	output := struct {
		KeyPairs []keyPairShape `json:"keyPairs"`
		Next     string         `json:"nextPageToken,omitempty"`
	}{KeyPairs: []keyPairShape{}}
	for i := first; i < len(all) && i < first+lightsailPage; i++ {
		output.KeyPairs = append(output.KeyPairs, c.keyPairShape(all[i]))
	}
	if next := first + lightsailPage; next < len(all) {
		output.Next = strconv.Itoa(next)
	}
	return output, nil
}

func (s *Server) deleteLightsailKey(c *call) (any, error) {
	name, err := lightsailKeyName(c)
	if err != nil {
		return nil, err
	}
	expected, given, err := c.input.text("expectedFingerprint")
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	region := s.regionOf(c.scope())
	k := region.lightsailKey(name)
	if k == nil {
		return nil, errLightsailKey(name)
	}
	if given && expected != k.Fingerprint {
		return nil, invalidInput("The fingerprint of %s is not the expected one.", name)
	}
	region.LightsailKeys = slices.DeleteFunc(region.LightsailKeys, func(other *lightsailKey) bool { return other == k })
	return c.operationOn(name), nil
}

// seconds is how Lightsail writes a time.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
