package emulator

import (
	"encoding/base64"
	"encoding/xml"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	"github.com/eic-agent/eic-agent/internal/fingerprint"
)

const (
	maxKeyName     = 255
	maxKeyMaterial = 2048 // characters of base64
	maxKeyPairs    = 5000 // of an account in a region
	maxTags        = 50
	maxTagKey      = 127
	maxTagValue    = 256
)

// timestampForm is how EC2 writes a time.
const timestampForm = "2006-01-02T15:04:05.000Z"

// keyPairOperations is what EC2 has for imported key pairs.
func (s *Server) keyPairOperations() []operation {
	resource := func(c *call) string { return c.arn("ec2", "key-pair/"+c.params.text("KeyName")) }
	return []operation{
		{
			name: "ImportKeyPair", resource: resource, handle: s.importKeyPair,
			params: []string{"KeyName", "PublicKeyMaterial", "TagSpecification.#.ResourceType", "TagSpecification.#.Tag.#.Key", "TagSpecification.#.Tag.#.Value"},
		},
		{
			name: "DescribeKeyPairs", readOnly: true, handle: s.describeKeyPairs,
			params: []string{"KeyName.#", "KeyPairId.#", "Filter.#.Name", "Filter.#.Value.#", "IncludePublicKey"},
		},
		{name: "DeleteKeyPair", resource: resource, handle: s.deleteKeyPair, params: []string{"KeyName", "KeyPairId"}},
	}
}

type importKeyPairOutput struct {
	XMLName     xml.Name `xml:"output"`
	Name        string   `xml:"keyName"`
	Fingerprint string   `xml:"keyFingerprint"`
	ID          string   `xml:"keyPairId"`
	Tags        []tag    `xml:"tagSet>item"`
}

func (s *Server) importKeyPair(c *call) (any, error) {
	if err := c.checkKnown(); err != nil {
		return nil, err
	}
	name, err := keyName(c)
	if err != nil {
		return nil, err
	}
	key, err := s.keyMaterial(c)
	if err != nil {
		return nil, err
	}
	tags, err := tagsFor(c, "key-pair")
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	region := s.regionOf(c.scope())
	switch {
	case region.pair(name) != nil:
		return nil, clientError("InvalidKeyPair.Duplicate", "The keypair '%s' already exists.", name)
	case len(region.KeyPairs) >= maxKeyPairs:
		return nil, clientError("KeyPairLimitExceeded", "You have reached the limit of %d key pairs.", maxKeyPairs)
	}
	if err := c.dryRun(); err != nil {
		return nil, err
	}
	pair := &keyPair{
		ID: "key-" + newHexID(), Name: name, Line: key.Line(), Type: strings.TrimPrefix(key.Type(), "ssh-"),
		Fingerprint: key.EC2(), Created: c.now.UTC(), Tags: tags,
	}
	region.KeyPairs = append(region.KeyPairs, pair)
	s.launchWith(c.scope(), pair)
	return importKeyPairOutput{Name: name, Fingerprint: pair.Fingerprint, ID: pair.ID, Tags: tags}, nil
}

// launchWith gives the key to the instances that name it as theirs and have
// none yet: for them the import comes before the launch. It needs mu.
func (s *Server) launchWith(where scope, pair *keyPair) {
	for _, m := range s.instances {
		if m.KeyName == pair.Name && m.Region == where.region && m.launchKey == "" && (m.Account == "" || m.Account == where.account) {
			m.launchKey = pair.Line + " " + pair.Name
		}
	}
}

func keyName(c *call) (string, error) {
	name := c.params.text("KeyName")
	switch {
	case name == "":
		return "", missingParameter("KeyName")
	case len(name) > maxKeyName, strings.Trim(name, " ") != name,
		strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }):
		return "", invalidParameter("Value (%s) for parameter KeyName is invalid. It takes up to %d ASCII characters, without a space at either end.", cut(name), maxKeyName)
	}
	return name, nil
}

// keyMaterial reads the key: base64 of a file in OpenSSH or RFC 4716 form, or
// of base64 DER. AWS has one name for everything that it cannot read; that it
// uses the same one for RSA lengths that it does not support is not confirmed.
func (s *Server) keyMaterial(c *call) (fingerprint.Key, error) {
	material := c.params.text("PublicKeyMaterial")
	switch {
	case material == "":
		return fingerprint.Key{}, missingParameter("PublicKeyMaterial")
	case len(material) > maxKeyMaterial:
		return fingerprint.Key{}, invalidParameter("Value (%s) for parameter PublicKeyMaterial is invalid. Length exceeds maximum of %d.", cut(material), maxKeyMaterial)
	}
	bad := clientError("InvalidKey.Format", "Key is not in valid OpenSSH public key format")
	text, err := base64.StdEncoding.DecodeString(material)
	if err != nil {
		return fingerprint.Key{}, bad
	}
	key, err := fingerprint.ParseKey(text)
	if err != nil {
		return fingerprint.Key{}, bad
	}
	ok := false
	switch key.Form {
	case fingerprint.OpenSSH:
		ok = key.Type() == ssh.KeyAlgoED25519 || key.Type() == ssh.KeyAlgoRSA
	case fingerprint.RFC4716, fingerprint.DERBase64:
		ok = key.Type() == ssh.KeyAlgoRSA
	}
	if bits := key.RSABits(); bits != 0 && bits != 1024 && bits != 2048 && bits != 4096 && !s.options.Permissive {
		ok = false
	}
	if !ok {
		return fingerprint.Key{}, bad
	}
	return key, nil
}

// tagsFor reads TagSpecification, in which every specification must be for one
// type of resource.
func tagsFor(c *call, resourceType string) ([]tag, error) {
	const list = "TagSpecification"
	var tags []tag
	seen := make(map[string]bool)
	for _, n := range c.params.indices(list) {
		if kind := c.params.text(at(list, n, "ResourceType")); kind == "" {
			return nil, missingParameter(at(list, n, "ResourceType"))
		} else if kind != resourceType {
			return nil, invalidParameter("'%s' is not a valid taggable resource type for this operation.", cut(kind))
		}
		for _, i := range c.params.indices(at(list, n, "Tag")) {
			t := tag{c.params.text(at(at(list, n, "Tag"), i, "Key")), c.params.text(at(at(list, n, "Tag"), i, "Value"))}
			switch {
			case t.Key == "" || strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
				return nil, clientError("InvalidTagKey.Malformed", "Tag keys must not be empty or begin with aws:, which '%s' does", cut(t.Key))
			case utf8.RuneCountInString(t.Key) > maxTagKey:
				return nil, invalidParameter("Tag key exceeds the maximum length of %d characters", maxTagKey)
			case utf8.RuneCountInString(t.Value) > maxTagValue:
				return nil, invalidParameter("Tag value exceeds the maximum length of %d characters", maxTagValue)
			case seen[t.Key]:
				return nil, invalidParameter("Duplicate tag key '%s' specified.", cut(t.Key))
			}
			seen[t.Key] = true
			tags = append(tags, t)
		}
	}
	if len(tags) > maxTags {
		return nil, clientError("TagLimitExceeded", "The resource has more than %d tags.", maxTags)
	}
	return tags, nil
}

type describeKeyPairsOutput struct {
	XMLName xml.Name      `xml:"output"`
	Pairs   []keyPairItem `xml:"keySet>item"`
}

type keyPairItem struct {
	ID          string `xml:"keyPairId"`
	Fingerprint string `xml:"keyFingerprint"`
	Name        string `xml:"keyName"`
	Type        string `xml:"keyType"`
	Tags        []tag  `xml:"tagSet>item"`
	PublicKey   string `xml:"publicKey,omitempty"`
	Created     string `xml:"createTime"`
}

func (s *Server) describeKeyPairs(c *call) (any, error) {
	if err := c.checkKnown(); err != nil {
		return nil, err
	}
	withKey, err := c.params.flag("IncludePublicKey")
	if err != nil {
		return nil, err
	}
	filters, err := filtersOf(c, "key-pair-id", "fingerprint", "key-name", "tag-key")
	if err != nil {
		return nil, err
	}
	names, ids := c.params.list("KeyName"), c.params.list("KeyPairId")
	s.mu.Lock()
	defer s.mu.Unlock()
	var out describeKeyPairsOutput
	known := make(map[string]bool)
	for _, p := range s.regionOf(c.scope()).KeyPairs {
		known[p.Name], known[p.ID] = true, true
		asked := len(names) == 0 && len(ids) == 0 || slices.Contains(names, p.Name) || slices.Contains(ids, p.ID)
		if !asked || !filters.match(map[string]string{"key-pair-id": p.ID, "fingerprint": p.Fingerprint, "key-name": p.Name}, p.Tags) {
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
		if !known[name] {
			return nil, clientError("InvalidKeyPair.NotFound", "The key pair '%s' does not exist", cut(name))
		}
	}
	for _, id := range ids {
		if !known[id] {
			return nil, clientError("InvalidKeyPair.NotFound", "The key pair ID '%s' does not exist", cut(id))
		}
	}
	return out, c.dryRun()
}

type deleteKeyPairOutput struct {
	XMLName xml.Name `xml:"output"`
	Return  bool     `xml:"return"`
	ID      string   `xml:"keyPairId,omitempty"`
}

// deleteKeyPair succeeds when there is no such key pair, as AWS does.
func (s *Server) deleteKeyPair(c *call) (any, error) {
	if err := c.checkKnown(); err != nil {
		return nil, err
	}
	name, id := c.params.text("KeyName"), c.params.text("KeyPairId")
	if name == "" && id == "" {
		return nil, missingParameter("KeyName")
	}
	if err := c.dryRun(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	region := s.regionOf(c.scope())
	for _, p := range region.KeyPairs {
		if (name == "" || p.Name == name) && (id == "" || p.ID == id) {
			region.remove(p)
			return deleteKeyPairOutput{Return: true, ID: p.ID}, nil
		}
	}
	return deleteKeyPairOutput{Return: true}, nil
}
