package emulator

import (
	"slices"
	"strings"
)

// filters are the Filter parameters of a Describe call, each with its values.
type filters map[string][]string

// filtersOf reads Filter; tag:KEY is known to every call that takes filters.
func filtersOf(c *call, known ...string) (filters, error) {
	all := make(filters)
	for _, n := range c.params.indices("Filter") {
		name := c.params.text(at("Filter", n, "Name"))
		if !slices.Contains(known, name) && !strings.HasPrefix(name, "tag:") {
			return nil, invalidParameter("The filter '%s' is invalid", cut(name))
		}
		values := c.params.list(at("Filter", n, "Value"))
		if len(values) == 0 {
			return nil, invalidParameter("The filter '%s' has no values", cut(name))
		}
		all[name] = append(all[name], values...)
	}
	return all, nil
}

func (f filters) match(properties map[string]string, tags []tag) bool {
	for name, values := range f {
		key, isTag := strings.CutPrefix(name, "tag:")
		switch {
		case isTag:
			if !matchesTag(tags, key, values) {
				return false
			}
		case name == "tag-key":
			if !slices.ContainsFunc(tags, func(t tag) bool { return matches(values, t.Key) }) {
				return false
			}
		case !matches(values, properties[name]):
			return false
		}
	}
	return true
}

// matches reports whether a resource passes one filter of a Describe call, in
// which values may have * and ?.
func matches(values []string, got string) bool {
	return slices.ContainsFunc(values, func(pattern string) bool { return pattern != "" && globs(pattern, got) })
}

func matchesTag(tags []tag, key string, values []string) bool {
	return slices.ContainsFunc(tags, func(t tag) bool { return t.Key == key && matches(values, t.Value) })
}
