package ec2

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
)

const (
	maxKeyName     = 255
	maxKeyMaterial = 2048 // characters of base64
	maxKeyPairs    = 5000 // of an account in a region
)

func (b Backend) keyPairOperations() []api.Operation {
	resource := func(c *api.Call) string { return c.ARN("ec2", "key-pair/"+c.Params.Text("KeyName")) }
	tags := []string{"TagSpecification.#.ResourceType", "TagSpecification.#.Tag.#.Key", "TagSpecification.#.Tag.#.Value"}
	return []api.Operation{
		{
			Name: "ImportKeyPair", Resource: resource, Handle: b.importKeyPair, Response: trailKeyPair,
			Params: append([]string{"KeyName", "PublicKeyMaterial"}, tags...),
		},
		{
			Name: "CreateKeyPair", Resource: resource, Handle: b.createKeyPair, Response: trailKeyPair,
			Params: append([]string{"KeyName", "KeyType", "KeyFormat"}, tags...),
		},
		{
			Name: "DescribeKeyPairs", ReadOnly: true, Handle: b.describeKeyPairs,
			Params: []string{"KeyName.#", "KeyPairId.#", "Filter.#.Name", "Filter.#.Value.#", "IncludePublicKey"},
		},
		{
			Name: "DeleteKeyPair", Resource: resource, Handle: b.deleteKeyPair, Params: []string{"KeyName", "KeyPairId"},
			Response: func(c *api.Call, output any) any {
				return map[string]any{"requestId": c.RequestID, "_return": output.(deleteKeyPairOutput).Return}
			},
		},
	}
}

// A keyPairOutput is the answer to ImportKeyPair and, with the private key, to
// CreateKeyPair.
type keyPairOutput struct {
	XMLName     xml.Name `xml:"output"`
	Name        string   `xml:"keyName"`
	Fingerprint string   `xml:"keyFingerprint"`
	Material    string   `xml:"keyMaterial,omitempty"`
	ID          string   `xml:"keyPairId"`
	Tags        *tagSet  `xml:"tagSet"`
}

// trailKeyPair has no private key.
func trailKeyPair(c *api.Call, output any) any {
	out := output.(keyPairOutput)
	return map[string]any{"requestId": c.RequestID, "keyName": out.Name, "keyFingerprint": out.Fingerprint, "keyPairId": out.ID}
}

func (b Backend) importKeyPair(c *api.Call) (any, error) {
	name, err := keyName(c)
	if err != nil {
		return nil, err
	}
	key, err := b.keyMaterial(c)
	if err != nil {
		return nil, err
	}
	return b.addKeyPair(c, pairOf(name, key), "")
}

// addKeyPair adds a key pair and answers with it, and with its private key where
// EC2 has made it.
func (b Backend) addKeyPair(c *api.Call, pair *world.KeyPair, material string) (any, error) {
	tags, err := tagsFor(c, "key-pair")
	if err != nil {
		return nil, err
	}
	pair.ID, pair.Created, pair.Tags = world.NewID("key"), c.Now.UTC(), tags
	output := keyPairOutput{Name: pair.Name, Fingerprint: pair.Fingerprint, Material: material, ID: pair.ID, Tags: tagSetOf(tags)}
	return output, b.Update(func(tx *world.Tx) error {
		region := b.RegionOf(c.Scope())
		switch {
		case region.Pair(pair.Name) != nil:
			return api.ClientError("InvalidKeyPair.Duplicate", "The keypair '%s' already exists.", pair.Name)
		case len(region.KeyPairs) >= maxKeyPairs:
			return api.ClientError("KeyPairLimitExceeded", "You have reached the limit of %d key pairs.", maxKeyPairs)
		}
		if err := c.DryRun(); err != nil {
			return err
		}
		tx.AddPair(c.Scope(), pair)
		return nil
	})
}

// createKeyPair makes an RSA key of 2048 bits, or an ED25519 key.
func (b Backend) createKeyPair(c *api.Call) (any, error) {
	name, err := keyName(c)
	if err != nil {
		return nil, err
	}
	kind, form := c.Params.Text("KeyType"), c.Params.Text("KeyFormat")
	var private crypto.Signer
	switch kind {
	case "", "rsa":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ed25519":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		return nil, api.InvalidParameter("Value (%s) for parameter KeyType is invalid. Valid values are rsa and ed25519.", api.Cut(kind))
	}
	if err != nil {
		return nil, err
	}
	public, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		return nil, err
	}
	var material string
	switch form {
	case "", "pem":
		material, err = privatePEM(private)
	case "ppk":
		material, err = privatePPK(private, public, name)
	default:
		return nil, api.InvalidParameter("Value (%s) for parameter KeyFormat is invalid. Valid values are pem and ppk.", api.Cut(form))
	}
	if err != nil {
		return nil, err
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public)))
	pair := &world.KeyPair{Name: name, Line: line, Type: strings.TrimPrefix(public.Type(), "ssh-"), Fingerprint: fingerprint.EC2Created(private)}
	return b.addKeyPair(c, pair, material)
}

func keyName(c *api.Call) (string, error) {
	name := c.Params.Text("KeyName")
	return name, checkKeyName(name)
}

func checkKeyName(name string) error {
	switch {
	case name == "":
		return api.MissingParameter("KeyName")
	case len(name) > maxKeyName, strings.Trim(name, " ") != name,
		strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }):
		return api.InvalidParameter("Value (%s) for parameter KeyName is invalid. It takes up to %d ASCII characters, without a space at either end.", api.Cut(name), maxKeyName)
	}
	return nil
}

// keyMaterial reads the key: base64 of a file in OpenSSH or RFC 4716 form, or
// of base64 DER. AWS has one name for everything that it cannot read; that it
// uses the same one for RSA lengths that it does not support is not confirmed.
// 3072 bits are in no list, but what ssh-keygen makes is taken.
func (b Backend) keyMaterial(c *api.Call) (fingerprint.Key, error) {
	material := c.Params.Text("PublicKeyMaterial")
	switch {
	case material == "":
		return fingerprint.Key{}, api.MissingParameter("PublicKeyMaterial")
	case len(material) > maxKeyMaterial:
		return fingerprint.Key{}, api.InvalidParameter("Value (%s) for parameter PublicKeyMaterial is invalid. Length exceeds maximum of %d.", api.Cut(material), maxKeyMaterial)
	}
	text, err := base64.StdEncoding.DecodeString(material)
	if err != nil {
		return fingerprint.Key{}, errKeyFormat()
	}
	return b.parseKey(text)
}

func errKeyFormat() *api.Error {
	return api.ClientError("InvalidKey.Format", "Key is not in valid OpenSSH public key format")
}

func (b Backend) parseKey(text []byte) (fingerprint.Key, error) {
	key, err := fingerprint.ParseKey(text)
	if err != nil {
		return fingerprint.Key{}, errKeyFormat()
	}
	ok := false
	switch key.Form {
	case fingerprint.OpenSSH:
		ok = key.Type() == ssh.KeyAlgoED25519 || key.Type() == ssh.KeyAlgoRSA
	case fingerprint.RFC4716, fingerprint.DERBase64:
		ok = key.Type() == ssh.KeyAlgoRSA
	}
	if bits := key.RSABits(); bits != 0 && !slices.Contains([]int{1024, 2048, 3072, 4096}, bits) && !b.Permissive {
		ok = false
	}
	if !ok {
		return fingerprint.Key{}, errKeyFormat()
	}
	return key, nil
}

// Seed imports a key pair without a call. One of the same name must be of the
// same key.
func (b Backend) Seed(where world.Scope, name string, material []byte) error {
	if err := checkKeyName(name); err != nil {
		return err
	}
	key, err := b.parseKey(material)
	if err != nil {
		return err
	}
	return b.Update(func(tx *world.Tx) error {
		if old := b.RegionOf(where).Pair(name); old != nil {
			if old.Line != key.Line() {
				return errors.New("the state file has another key of this name")
			}
			return nil
		}
		pair := pairOf(name, key)
		pair.ID, pair.Created = world.NewID("key"), b.Now().UTC()
		tx.AddPair(where, pair)
		return nil
	})
}

func pairOf(name string, key fingerprint.Key) *world.KeyPair {
	return &world.KeyPair{Name: name, Line: key.Line(), Type: strings.TrimPrefix(key.Type(), "ssh-"), Fingerprint: key.EC2()}
}

type describeKeyPairsOutput struct {
	XMLName xml.Name      `xml:"output"`
	Pairs   []keyPairItem `xml:"keySet>item"`
}

type keyPairItem struct {
	ID          string      `xml:"keyPairId"`
	Fingerprint string      `xml:"keyFingerprint"`
	Name        string      `xml:"keyName"`
	Type        string      `xml:"keyType"`
	Tags        []world.Tag `xml:"tagSet>item"`
	PublicKey   string      `xml:"publicKey,omitempty"`
	Created     string      `xml:"createTime"`
}

func (b Backend) describeKeyPairs(c *api.Call) (any, error) {
	withKey, err := c.Params.Flag("IncludePublicKey")
	if err != nil {
		return nil, err
	}
	passes, err := api.Filter(c, api.Properties[*world.KeyPair]{
		"key-pair-id": func(p *world.KeyPair) []string { return one(p.ID) },
		"fingerprint": func(p *world.KeyPair) []string { return one(p.Fingerprint) },
		"key-name":    func(p *world.KeyPair) []string { return one(p.Name) },
	})
	if err != nil {
		return nil, err
	}
	names, ids := c.Params.List("KeyName"), c.Params.List("KeyPairId")
	b.Lock()
	defer b.Unlock()
	var out describeKeyPairsOutput
	known := make(map[string]bool)
	for _, p := range b.RegionOf(c.Scope()).KeyPairs {
		known["name "+p.Name], known["id "+p.ID] = true, true
		asked := len(names) == 0 && len(ids) == 0 || slices.Contains(names, p.Name) || slices.Contains(ids, p.ID)
		if !asked || !passes(p, p.Tags) {
			continue
		}
		item := keyPairItem{
			ID: p.ID, Fingerprint: p.Fingerprint, Name: p.Name, Type: p.Type, Tags: p.Tags,
			Created: p.Created.Format(timestampForm),
		}
		if withKey {
			item.PublicKey = p.Line + " " + p.Name
		}
		out.Pairs = append(out.Pairs, item)
	}
	for _, name := range names {
		if !known["name "+name] {
			return nil, api.ClientError("InvalidKeyPair.NotFound", "The key pair '%s' does not exist", api.Cut(name))
		}
	}
	for _, id := range ids {
		if !known["id "+id] {
			return nil, api.ClientError("InvalidKeyPair.NotFound", "The key pair ID '%s' does not exist", api.Cut(id))
		}
	}
	return out, c.DryRun()
}

type deleteKeyPairOutput struct {
	XMLName xml.Name `xml:"output"`
	Return  bool     `xml:"return"`
	ID      string   `xml:"keyPairId,omitempty"`
}

// deleteKeyPair succeeds when there is no such key pair, as AWS does.
func (b Backend) deleteKeyPair(c *api.Call) (any, error) {
	name, id := c.Params.Text("KeyName"), c.Params.Text("KeyPairId")
	if name == "" && id == "" {
		return nil, api.MissingParameter("KeyName")
	}
	if err := c.DryRun(); err != nil {
		return nil, err
	}
	output := deleteKeyPairOutput{Return: true}
	err := b.Update(func(tx *world.Tx) error {
		for _, p := range b.RegionOf(c.Scope()).KeyPairs {
			if (name == "" || p.Name == name) && (id == "" || p.ID == id) {
				tx.RemovePair(c.Scope(), p)
				output.ID = p.ID
				break
			}
		}
		return nil
	})
	return output, err
}
