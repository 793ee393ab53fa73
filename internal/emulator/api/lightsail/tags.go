package lightsail

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
)

// tagsOf reads the member tags, checked.
func tagsOf(c *api.Call) ([]world.Tag, error) {
	var tags []world.Tag
	if err := c.Input.Read("tags", &tags); err != nil {
		return nil, err
	}
	seen := make(map[string]bool)
	for _, t := range tags {
		switch {
		case t.Key == "" || utf8.RuneCountInString(t.Key) > maxTagKey:
			return nil, invalidInput("Tag keys have 1 to %d characters.", maxTagKey)
		case utf8.RuneCountInString(t.Value) > maxTagValue:
			return nil, invalidInput("Tag values have up to %d characters.", maxTagValue)
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return nil, invalidInput("Tag keys cannot begin with aws:.")
		case seen[t.Key]:
			return nil, invalidInput("Tag key %s is given twice.", api.Cut(t.Key))
		}
		seen[t.Key] = true
	}
	if len(tags) > maxTags {
		return nil, invalidInput("A resource has up to %d tags.", maxTags)
	}
	return tags, nil
}

func (b Backend) tagResource(c *api.Call) (any, error) {
	tags, err := tagsOf(c)
	if err != nil {
		return nil, err
	}
	if len(tags) == 0 {
		return nil, invalidInput("tags must not be empty")
	}
	return b.retag(c, func(old []world.Tag) ([]world.Tag, error) {
		all := slices.DeleteFunc(slices.Clone(old), func(t world.Tag) bool {
			return slices.ContainsFunc(tags, func(n world.Tag) bool { return n.Key == t.Key })
		})
		if all = append(all, tags...); len(all) > maxTags {
			return nil, invalidInput("A resource has up to %d tags.", maxTags)
		}
		return all, nil
	})
}

func (b Backend) untagResource(c *api.Call) (any, error) {
	var keys []string
	if err := c.Input.Read("tagKeys", &keys); err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, invalidInput("tagKeys must not be empty")
	}
	return b.retag(c, func(old []world.Tag) ([]world.Tag, error) {
		return slices.DeleteFunc(slices.Clone(old), func(t world.Tag) bool { return slices.Contains(keys, t.Key) }), nil
	})
}

// retag changes the tags of the key pair that the call names.
func (b Backend) retag(c *api.Call, change func([]world.Tag) ([]world.Tag, error)) (any, error) {
	name, err := resourceName(c)
	if err != nil {
		return nil, err
	}
	arn, given, err := c.Input.Text("resourceArn")
	if err != nil {
		return nil, err
	}
	var op *world.Operation
	err = b.Update(func(tx *world.Tx) error {
		k := b.RegionOf(c.Scope()).LightsailKey(name)
		if k == nil || given && arn != c.ARN("lightsail", "KeyPair/"+k.ID) {
			return api.ClientError("NotFoundException", "The resource does not exist: %s", name)
		}
		tags, err := change(k.Tags)
		if err != nil {
			return err
		}
		world.Set(tx, &k.Tags, tags)
		tx.SaveLightsailKey(c.Scope(), k)
		op = record(tx, c, name)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return operationsOutput{Operations: []operationShape{shapeOfOperation(c, op)}}, nil
}
