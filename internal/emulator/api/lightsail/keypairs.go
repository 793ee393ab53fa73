package lightsail

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
)

// namePattern is the model's for the name of a resource.
var namePattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\w[\w\-]*\w$`)
})

const (
	maxName = 255
	page    = 100 // items on a page

	// defaultName is the name of the default key pair, and ends its line.
	defaultName = "LightsailDefaultKeyPair"
)

type locationShape struct {
	Zone   string `json:"availabilityZone"`
	Region string `json:"regionName"`
}

// location of a key pair: it is the whole region's.
func location(c *api.Call) locationShape { return locationShape{"all", c.Region} }

// A keyPairShape is the model's shape KeyPair.
type keyPairShape struct {
	Name         string        `json:"name"`
	ARN          string        `json:"arn"`
	SupportCode  string        `json:"supportCode"`
	CreatedAt    float64       `json:"createdAt"`
	Location     locationShape `json:"location"`
	ResourceType string        `json:"resourceType"`
	Tags         []world.Tag   `json:"tags"`
	Fingerprint  string        `json:"fingerprint"`
}

func shapeOf(c *api.Call, k *world.LightsailKey) keyPairShape {
	return keyPairShape{
		Name: k.Name, ARN: c.ARN("lightsail", "KeyPair/"+k.ID), SupportCode: c.Caller.Account + "/" + k.Name, CreatedAt: seconds(k.Created),
		Location: location(c), ResourceType: "KeyPair", Tags: append([]world.Tag{}, k.Tags...), Fingerprint: k.Fingerprint,
	}
}

// seconds is how Lightsail writes a time.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func keyName(c *api.Call) (string, error) {
	return c.Input.Check(api.Constraint{Name: "keyPairName", Required: true, Min: 2, Max: maxName, Match: namePattern().MatchString}, invalidInput)
}

func errKey(name string) *api.Error {
	return api.ClientError("NotFoundException", "The KeyPair does not exist: %s", name)
}

// importKeyPair takes the OpenSSH line as it is, and not in base64, whatever the
// name of the member and its description say: AWS does so, and answers base64 of
// the line as it answers everything else.
func (b Backend) importKeyPair(c *api.Call) (any, error) {
	name, err := keyName(c)
	if err != nil {
		return nil, err
	}
	text, err := c.Input.Check(api.Constraint{Name: "publicKeyBase64", Required: true}, invalidInput)
	if err != nil {
		return nil, err
	}
	key, err := fingerprint.ParseKey([]byte(text))
	if err != nil || key.Form != fingerprint.OpenSSH || key.Type() != ssh.KeyAlgoRSA && !b.Permissive {
		return nil, invalidInput("The format of this public key is not valid.")
	}
	var op *world.Operation
	err = b.Update(func(tx *world.Tx) error {
		return b.add(tx, c, &world.LightsailKey{Name: name, Line: key.Line(), Fingerprint: key.Lightsail()}, &op)
	})
	return oneOperation(c, op), err
}

// add adds a key pair and tells the operation that did.
func (b Backend) add(tx *world.Tx, c *api.Call, k *world.LightsailKey, op **world.Operation) error {
	if b.RegionOf(c.Scope()).LightsailKey(k.Name) != nil || k.Name == defaultName {
		return invalidInput("Some names are already in use: %s", k.Name)
	}
	k.Created, k.ID = c.Now.UTC(), world.NewUUID()
	tx.AddLightsailKey(c.Scope(), k)
	*op = record(tx, c, k.Name)
	return nil
}

// newKey makes an RSA key, which is what Lightsail makes, and its PEM.
func newKey() (line, print string, private []byte, err error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", "", nil, err
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return "", "", nil, err
	}
	line = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public)))
	return line, fingerprint.EC2Created(key), pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), nil
}

type createOutput struct {
	KeyPair    keyPairShape   `json:"keyPair"`
	PublicKey  string         `json:"publicKeyBase64"`
	PrivateKey string         `json:"privateKeyBase64"`
	Operation  operationShape `json:"operation"`
}

// withoutKey is what CloudTrail has of an answer with a private key.
func withoutKey(c *api.Call, output any) any {
	if out, ok := output.(createOutput); ok {
		return map[string]any{"keyPair": out.KeyPair, "publicKeyBase64": out.PublicKey, "operation": out.Operation}
	}
	return nil
}

// createKeyPair answers with the keys as they are, and not in base64, as AWS does.
func (b Backend) createKeyPair(c *api.Call) (any, error) {
	name, err := keyName(c)
	if err != nil {
		return nil, err
	}
	tags, err := tagsOf(c)
	if err != nil {
		return nil, err
	}
	line, print, private, err := newKey()
	if err != nil {
		return nil, err
	}
	k := &world.LightsailKey{Name: name, Line: line, Fingerprint: print, Tags: tags}
	var op *world.Operation
	if err := b.Update(func(tx *world.Tx) error { return b.add(tx, c, k, &op) }); err != nil {
		return nil, err
	}
	return createOutput{shapeOf(c, k), line, string(private), shapeOfOperation(c, op)}, nil
}

// downloadDefaultKeyPair makes the default key pair of the region when there is
// none.
func (b Backend) downloadDefaultKeyPair(c *api.Call) (any, error) {
	var k *world.LightsailKey
	err := b.Update(func(tx *world.Tx) error {
		if k = b.RegionOf(c.Scope()).DefaultKey; k != nil {
			return nil
		}
		line, print, private, err := newKey()
		if err != nil {
			return err
		}
		k = &world.LightsailKey{Name: defaultName, Line: line, Fingerprint: print, Private: private, Created: c.Now.UTC(), ID: world.NewUUID()}
		tx.SetDefaultKey(c.Scope(), k)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return struct {
		PublicKey  string  `json:"publicKeyBase64"`
		PrivateKey string  `json:"privateKeyBase64"`
		CreatedAt  float64 `json:"createdAt"`
	}{k.Line + " " + defaultName, string(k.Private), seconds(k.Created)}, nil
}

func (b Backend) getKeyPair(c *api.Call) (any, error) {
	name, err := keyName(c)
	if err != nil {
		return nil, err
	}
	b.Lock()
	defer b.Unlock()
	k := b.RegionOf(c.Scope()).LightsailKey(name)
	if d := b.RegionOf(c.Scope()).DefaultKey; k == nil && d != nil && d.Name == name {
		k = d
	}
	if k == nil {
		return nil, errKey(name)
	}
	return struct {
		KeyPair keyPairShape `json:"keyPair"`
	}{shapeOf(c, k)}, nil
}

func (b Backend) getKeyPairs(c *api.Call) (any, error) {
	withDefault, err := c.Input.Flag("includeDefaultKeyPair")
	if err != nil {
		return nil, err
	}
	b.Lock()
	defer b.Unlock()
	region := b.RegionOf(c.Scope())
	all := region.LightsailKeys
	if withDefault && region.DefaultKey != nil {
		all = append([]*world.LightsailKey{region.DefaultKey}, all...)
	}
	some, next, err := pageOf(c, all)
	if err != nil {
		return nil, err
	}
	output := struct {
		KeyPairs []keyPairShape `json:"keyPairs"`
		Next     string         `json:"nextPageToken,omitempty"`
	}{KeyPairs: []keyPairShape{}, Next: next}
	for _, k := range some {
		output.KeyPairs = append(output.KeyPairs, shapeOf(c, k))
	}
	return output, nil
}

// pageOf returns the page that pageToken names, and the token of the next one.
func pageOf[T any](c *api.Call, all []T) (some []T, next string, err error) {
	token, _, err := c.Input.Text("pageToken")
	if err != nil {
		return nil, "", err
	}
	first, ok := api.Place(token)
	if !ok {
		return nil, "", invalidInput("The page token %q is not valid.", api.Cut(token))
	}
	if end := first + page; end < len(all) {
		next = strconv.Itoa(end)
	}
	return all[min(first, len(all)):min(first+page, len(all))], next, nil
}

func (b Backend) deleteKeyPair(c *api.Call) (any, error) {
	name, err := keyName(c)
	if err != nil {
		return nil, err
	}
	expected, given, err := c.Input.Text("expectedFingerprint")
	if err != nil {
		return nil, err
	}
	var op *world.Operation
	err = b.Update(func(tx *world.Tx) error {
		region := b.RegionOf(c.Scope())
		k := region.LightsailKey(name)
		isDefault := k == nil && region.DefaultKey != nil && name == defaultName
		if isDefault {
			k = region.DefaultKey
		}
		switch {
		case k == nil:
			return errKey(name)
		case given && expected != k.Fingerprint:
			return invalidInput("The fingerprint of %s is not the expected one.", name)
		case isDefault && !given:
			return invalidInput("The default key pair can be deleted only with its expectedFingerprint.")
		case isDefault:
			tx.SetDefaultKey(c.Scope(), nil)
		default:
			tx.RemoveLightsailKey(c.Scope(), k)
		}
		op = record(tx, c, name)
		return nil
	})
	return oneOperation(c, op), err
}
