package api

import (
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/emulator/world"
	"github.com/eic-agent/eic-agent/internal/pattern"
)

// maxFilterValues is how many values a call may have in all.
const maxFilterValues = 200

// Properties maps each filter of a resource, besides tag:KEY and tag-key, to a
// function that returns the resource's values.
type Properties[T any] map[string]func(T) []string

// Filter reads the Filter parameters of a Describe call and returns a function
// that reports whether a resource with these tags passes all of them.
func Filter[T any](c *Call, known Properties[T]) (func(T, []world.Tag) bool, error) {
	filters := make(map[string][]pattern.Pattern)
	count := 0
	for _, n := range c.Params.Indices("Filter") {
		name := c.Params.Text(At("Filter", n, "Name"))
		if known[name] == nil && name != "tag-key" && !strings.HasPrefix(name, "tag:") {
			return nil, InvalidParameter("The filter '%s' is invalid, or eic-emulator does not have it", Cut(name))
		}
		values := c.Params.List(At("Filter", n, "Value"))
		if len(values) == 0 {
			return nil, InvalidParameter("The filter '%s' has no values", Cut(name))
		}
		if count += len(values); count > maxFilterValues {
			return nil, ClientError("FilterLimitExceeded", "The request has more than %d filter values.", maxFilterValues)
		}
		for _, value := range values {
			p, err := pattern.Compile(pattern.Filter, value)
			if err != nil {
				return nil, err
			}
			filters[name] = append(filters[name], p)
		}
	}
	return func(item T, tags []world.Tag) bool {
		for name, patterns := range filters {
			values := tagValues(tags, name)
			if property := known[name]; property != nil {
				values = property(item)
			}
			if !slices.ContainsFunc(values, func(value string) bool {
				return slices.ContainsFunc(patterns, func(p pattern.Pattern) bool { return p.Match(value) })
			}) {
				return false
			}
		}
		return true
	}, nil
}

// tagValues returns what a filter tag:KEY or tag-key is about.
func tagValues(tags []world.Tag, name string) []string {
	key, isTag := strings.CutPrefix(name, "tag:")
	var values []string
	for _, t := range tags {
		switch {
		case !isTag:
			values = append(values, t.Key)
		case t.Key == key:
			values = append(values, t.Value)
		}
	}
	return values
}
