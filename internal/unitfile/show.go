package unitfile

import "strings"

// Properties are what systemctl show says of a unit, in its order.
type Properties []Property

// A Property is one line KEY=VALUE of systemctl show. A list of commands, such as
// ExecStart, is one for each.
type Property struct{ Key, Value string }

// ParseShow reads the output of systemctl show for one unit.
func ParseShow(text string) Properties {
	var list Properties
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimRight(line, "\n"), "="); ok {
			list = append(list, Property{key, value})
		}
	}
	return list
}

// Get returns the first value of a property, or "".
func (p Properties) Get(key string) string {
	for _, property := range p {
		if property.Key == key {
			return property.Value
		}
	}
	return ""
}
