package ec2

import (
	"cmp"
	"encoding/xml"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

const (
	maxTags     = 50
	maxTagKey   = 127
	maxTagValue = 256
)

func (b Backend) tagOperations() []api.Operation {
	return []api.Operation{
		{Name: "CreateTags", Handle: b.createTags, Params: []string{"ResourceId.#", "Tag.#.Key", "Tag.#.Value"}, Response: trailDone},
		{Name: "DeleteTags", Handle: b.deleteTags, Params: []string{"ResourceId.#", "Tag.#.Key", "Tag.#.Value"}, Response: trailDone},
		{Name: "DescribeTags", ReadOnly: true, Handle: b.describeTags, Params: filterParams()},
	}
}

func trailDone(*api.Call, any) any { return map[string]any{"_return": true} }

// tagsFor reads TagSpecification. kinds are the types of resources that the call
// makes; tags of the first are returned.
func tagsFor(c *api.Call, kinds ...string) ([]world.Tag, error) {
	const list = "TagSpecification"
	var tags []world.Tag
	seen := make(map[string]bool)
	for _, n := range c.Params.Indices(list) {
		kind := c.Params.Text(api.At(list, n, "ResourceType"))
		switch {
		case kind == "":
			return nil, api.MissingParameter(api.At(list, n, "ResourceType"))
		case !slices.Contains(kinds, kind):
			return nil, api.InvalidParameter("'%s' is not a valid taggable resource type for this operation.", api.Cut(kind))
		case seen[kind]:
			return nil, api.InvalidParameter("Duplicate resource type '%s' in the tag specifications.", api.Cut(kind))
		}
		seen[kind] = true
		some, err := readTags(c, api.At(list, n, "Tag"))
		if err != nil {
			return nil, err
		}
		if kind == kinds[0] {
			tags = some
		}
	}
	return tags, nil
}

// readTags reads a list of tags, checked.
func readTags(c *api.Call, list string) ([]world.Tag, error) {
	var tags []world.Tag
	seen := make(map[string]bool)
	for _, i := range c.Params.Indices(list) {
		t := world.Tag{Key: c.Params.Text(api.At(list, i, "Key")), Value: c.Params.Text(api.At(list, i, "Value"))}
		switch {
		case t.Key == "":
			return nil, errNoTagKey()
		case reserved(t.Key):
			return nil, errReserved(t.Key)
		case utf8.RuneCountInString(t.Key) > maxTagKey:
			return nil, api.InvalidParameter("Tag key exceeds the maximum length of %d characters", maxTagKey)
		case utf8.RuneCountInString(t.Value) > maxTagValue:
			return nil, api.InvalidParameter("Tag value exceeds the maximum length of %d characters", maxTagValue)
		case seen[t.Key]:
			return nil, api.InvalidParameter("Duplicate tag key '%s' specified.", api.Cut(t.Key))
		}
		seen[t.Key] = true
		tags = append(tags, t)
	}
	if len(tags) > maxTags {
		return nil, errTooManyTags()
	}
	return tags, nil
}

func errNoTagKey() *api.Error {
	return api.ClientError("InvalidTagKey.Malformed", "Tag keys must not be empty")
}

func reserved(key string) bool { return strings.HasPrefix(strings.ToLower(key), "aws:") }

// errReserved has the code that EC2 answers with; the table of its error codes has
// InvalidTagKey.Malformed.
func errReserved(key string) *api.Error {
	return api.InvalidParameter("Value ( %s ) for parameter key is invalid. Tag keys starting with 'aws:' are reserved for internal use", api.Cut(key))
}

// metadataTagKeys returns the error about keys of tags that the metadata service
// cannot serve: they are part of a path.
func metadataTagKeys(tags []world.Tag) error {
	for _, t := range tags {
		if !world.ServedTag(t.Key) {
			return api.InvalidParameter(`'%s' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{1,255}), and must not be a reserved name ('.', '..', '_index')`, api.Cut(t.Key))
		}
	}
	return nil
}

// A tagSet is the element with tags in an answer that has it only where there are
// any.
type tagSet struct {
	Items []world.Tag `xml:"item"`
}

func tagSetOf(tags []world.Tag) *tagSet {
	if len(tags) == 0 {
		return nil
	}
	return &tagSet{tags}
}

func errTooManyTags() *api.Error {
	return api.ClientError("TagLimitExceeded", "The resource has more than %d tags.", maxTags)
}

// A tagged is a resource with tags.
type tagged struct {
	id, kind string
	tags     []world.Tag
	set      func(*world.Tx, []world.Tag)
	served   bool // by the metadata service
}

// resources returns everything that the caller can tag. It needs the lock.
func (b Backend) resources(c *api.Call) []tagged {
	where := c.Scope()
	var all []tagged
	for _, p := range b.RegionOf(where).KeyPairs {
		all = append(all, tagged{p.ID, "key-pair", p.Tags, func(tx *world.Tx, tags []world.Tag) {
			world.Set(tx, &p.Tags, tags)
			tx.SavePair(where, p)
		}, false})
	}
	for _, m := range b.Machines() {
		if visible(m, c) {
			all = append(all, tagged{m.ID, "instance", m.Tags, func(tx *world.Tx, tags []world.Tag) { tx.Change(m, world.Changes{Tags: &tags}) }, m.MetadataTags})
		}
	}
	for _, e := range b.RegionOf(where).Endpoints {
		all = append(all, tagged{e.ID, "instance-connect-endpoint", e.Tags, func(tx *world.Tx, tags []world.Tag) {
			world.Set(tx, &e.Tags, tags)
			tx.SaveEndpoint(where, e)
		}, false})
	}
	return all
}

// named returns the resources that a call names, or the error about one that
// there is not. It needs the lock.
func (b Backend) named(c *api.Call) ([]tagged, error) {
	ids := c.Params.List("ResourceId")
	if len(ids) == 0 {
		return nil, api.MissingParameter("ResourceId")
	}
	all := b.resources(c)
	var some []tagged
	for _, id := range ids {
		i := slices.IndexFunc(all, func(r tagged) bool { return r.id == id })
		if i < 0 {
			return nil, errNoResource(id)
		}
		some = append(some, all[i])
	}
	return some, nil
}

func errNoResource(id string) *api.Error {
	kind, _, _ := strings.Cut(id, "-")
	switch kind {
	case "i":
		return errNoInstance(id)
	case "key":
		return api.ClientError("InvalidKeyPair.NotFound", "The key pair ID '%s' does not exist", api.Cut(id))
	case "eice":
		return errNoEndpoint(id)
	}
	return api.ClientError("InvalidID", "The ID '%s' is not valid", api.Cut(id))
}

func (b Backend) createTags(c *api.Call) (any, error) {
	tags, err := readTags(c, "Tag")
	if err != nil {
		return nil, err
	}
	if len(tags) == 0 {
		return nil, api.MissingParameter("Tag")
	}
	return done{Return: true}, b.Update(func(tx *world.Tx) error {
		resources, err := b.named(c)
		if err != nil {
			return err
		}
		if err := c.DryRun(); err != nil {
			return err
		}
		for _, r := range resources {
			if r.served {
				if err := metadataTagKeys(tags); err != nil {
					return err
				}
			}
			all := slices.DeleteFunc(slices.Clone(r.tags), func(t world.Tag) bool {
				return slices.ContainsFunc(tags, func(n world.Tag) bool { return n.Key == t.Key })
			})
			if all = append(all, tags...); len(all) > maxTags {
				return errTooManyTags()
			}
			r.set(tx, all)
		}
		return nil
	})
}

// deleteTags deletes the tags that are named, whatever their values, or have
// the value that is given; without any, all of the caller's.
func (b Backend) deleteTags(c *api.Call) (any, error) {
	type condition struct {
		key, value string
		valued     bool
	}
	var wanted []condition
	for _, i := range c.Params.Indices("Tag") {
		name := api.At("Tag", i, "Value")
		w := condition{c.Params.Text(api.At("Tag", i, "Key")), c.Params.Text(name), c.Params.Has(name)}
		switch {
		case w.key == "":
			return nil, errNoTagKey()
		case reserved(w.key):
			return nil, errReserved(w.key)
		}
		wanted = append(wanted, w)
	}
	return done{Return: true}, b.Update(func(tx *world.Tx) error {
		resources, err := b.named(c)
		if err != nil {
			return err
		}
		if err := c.DryRun(); err != nil {
			return err
		}
		for _, r := range resources {
			r.set(tx, slices.DeleteFunc(slices.Clone(r.tags), func(t world.Tag) bool {
				return wanted == nil || slices.ContainsFunc(wanted, func(w condition) bool { return w.key == t.Key && (!w.valued || w.value == t.Value) })
			}))
		}
		return nil
	})
}

type describeTagsOutput struct {
	XMLName xml.Name  `xml:"output"`
	Tags    []tagItem `xml:"tagSet>item"`
	Next    string    `xml:"nextToken,omitempty"`
}

type tagItem struct {
	Key   string `xml:"key"`
	ID    string `xml:"resourceId"`
	Kind  string `xml:"resourceType"`
	Value string `xml:"value"`
}

func (b Backend) describeTags(c *api.Call) (any, error) {
	passes, err := api.Filter(c, api.Properties[tagItem]{
		"key":           func(t tagItem) []string { return one(t.Key) },
		"value":         func(t tagItem) []string { return one(t.Value) },
		"resource-id":   func(t tagItem) []string { return one(t.ID) },
		"resource-type": func(t tagItem) []string { return one(t.Kind) },
	})
	if err != nil {
		return nil, err
	}
	page, err := c.Page(5, 1000)
	if err != nil {
		return nil, err
	}
	b.Lock()
	defer b.Unlock()
	var all []tagItem
	for _, r := range b.resources(c) {
		for _, t := range r.tags {
			item := tagItem{t.Key, r.id, r.kind, t.Value}
			if passes(item, []world.Tag{t}) {
				all = append(all, item)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b tagItem) int { return cmp.Or(strings.Compare(a.ID, b.ID), strings.Compare(a.Key, b.Key)) })
	var out describeTagsOutput
	out.Tags, out.Next = api.PageOf(all, page)
	return out, c.DryRun()
}
