package audit

import (
	"maps"
	"slices"
	"testing"

	"github.com/eic-agent/eic-agent/test/eventspage"
)

// TestEventsPage holds docs/events.md against the schema: every event and every field is
// there with its type, no other is, and each example is an event of its kind as Log would
// write it.
func TestEventsPage(t *testing.T) {
	t.Parallel()
	page, err := eventspage.Read()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(maps.Keys(page.Events)), slices.Sorted(slices.Values(recordedKinds())); !slices.EqualFunc(got, want, func(s string, k Kind) bool { return s == string(k) }) {
		t.Errorf("the page has the events %q, want %q", got, want)
	}
	if got, want := slices.Sorted(maps.Keys(page.Types)), slices.Sorted(slices.Values(FieldNames())); !slices.Equal(got, want) {
		t.Errorf("the page has the fields %q, want %q", got, want)
	}
	for _, c := range columns {
		e := Event{Kind: KeyProvided}
		takes := func(value string) bool { c.set(&e, value); return c.get(&e) == value }
		want := ""
		switch {
		case c.name == fieldEvent || c.name == "EIC_SCHEMA", takes("no number or time"):
			continue
		case takes("7"):
			want = "number"
		case takes("2026-03-01T12:00:00Z"), takes("2026-03-01T12:00:00.000001Z"):
			want = "time"
		}
		if got := page.Types[c.name]; got != want {
			t.Errorf("the page gives %s the type %q, want %q", c.name, got, want)
		}
	}
	listed := map[string]bool{}
	for name, described := range page.Events {
		for _, program := range described.Programs {
			if err := page.Check(program, described.Example); err != nil {
				t.Errorf("the example: %v", err)
			}
		}
		e, ok := Decode(func(name string) string { return described.Example[name] })
		if !ok || string(e.Kind) != name {
			t.Errorf("the example of %s is of %q", name, e.Kind)
		}
		written := asMap(e)
		for field, value := range described.Example {
			if written[field] != value {
				t.Errorf("%s: %s=%s is written as %q", name, field, value, written[field])
			}
		}
		for _, field := range described.Fields {
			listed[field] = true
			if page.Types[field] == "" {
				t.Errorf("%s: there is no field %s", name, field)
			}
		}
	}
	for _, name := range FieldNames() {
		if !listed[name] && name != fieldMessage && name != fieldMessageID && name != fieldEvent && name != FieldLost && name != "EIC_SCHEMA" {
			t.Errorf("no event has the field %s", name)
		}
	}
}
