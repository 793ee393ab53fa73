package audit

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEventsPage holds docs/events.md against the schema: every event and every field is
// there, no other is, and each example is an event of its kind that has the fields which
// the page lists for it.
func TestEventsPage(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	first := func(heading string) (names []string) {
		_, rest, _ := strings.Cut(page, "\n## "+heading+"\n")
		rest, _, _ = strings.Cut(rest, "\n## ")
		for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(rest, -1) {
			names = append(names, m[1])
		}
		slices.Sort(names)
		return names
	}
	var kinds []string
	for _, k := range recordedKinds() {
		kinds = append(kinds, string(k))
	}
	slices.Sort(kinds)
	if got := first("Events"); !slices.Equal(got, kinds) {
		t.Errorf("the page has the events %q, want %q", got, kinds)
	}
	fields := slices.Sorted(slices.Values(FieldNames()))
	if got := first("Fields"); !slices.Equal(got, fields) {
		t.Errorf("the page has the fields %q, want %q", got, fields)
	}

	_, sections, _ := strings.Cut(page, "\n## Fields and examples of each event\n")
	var described []string
	for section := range strings.SplitSeq(sections, "\n### ") {
		name, body, ok := strings.Cut(section, "\n\n")
		if !ok || !slices.Contains(kinds, name) {
			continue
		}
		described = append(described, name)
		list, example, _ := strings.Cut(body, ".\n\n")
		listed := strings.Split(strings.TrimPrefix(list, "Fields: "), ", ")
		given := map[string]string{}
		for line := range strings.Lines(example) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			given[name] = value
		}
		e, ok := Decode(func(name string) string { return given[name] })
		if !ok || string(e.Kind) != name {
			t.Errorf("%s: the example is of %q", name, e.Kind)
		}
		written := asMap(e)
		for field, value := range given {
			if written[field] != value {
				t.Errorf("%s: %s=%s is written as %q", name, field, value, written[field])
			}
			if field != fieldEvent && field != "EIC_SCHEMA" && !slices.Contains(listed, field) {
				t.Errorf("%s: the example has %s", name, field)
			}
		}
		for _, field := range listed {
			if !slices.Contains(fields, field) {
				t.Errorf("%s: there is no field %s", name, field)
			}
		}
	}
	slices.Sort(described)
	if !slices.Equal(described, kinds) {
		t.Errorf("described are %q, want %q", described, kinds)
	}
}
