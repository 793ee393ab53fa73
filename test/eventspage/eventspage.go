// Package eventspage holds the records of the agent's programs against docs/events.md.
package eventspage

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/eic-agent/eic-agent/docs"
)

// A Page is what docs/events.md says.
type Page struct {
	Events map[string]Event  // by name
	Types  map[string]string // of the fields
}

// An Event is one that the page has.
type Event struct {
	Programs []string
	Fields   []string // of its own
	Example  map[string]string
}

// common are the fields that every event may have.
var common = []string{"MESSAGE", "MESSAGE_ID", "EIC_EVENT", "EIC_SCHEMA", "EIC_LOST"}

// Read returns the page.
var Read = sync.OnceValues(func() (*Page, error) {
	p := &Page{Events: make(map[string]Event), Types: make(map[string]string)}
	for _, row := range table(section(docs.Events, "\n## ", "Events")) {
		p.Events[strings.Trim(row[0], "`")] = Event{Programs: strings.Split(row[1], ", ")}
	}
	for _, row := range table(section(docs.Events, "\n## ", "Fields")) {
		p.Types[strings.Trim(row[0], "`")] = row[1]
	}
	_, described, _ := strings.Cut(docs.Events, "\n## Fields and examples of each event\n")
	for name, e := range p.Events {
		list, example, _ := strings.Cut(section(described, "\n### ", name), ".\n\n")
		fields, ok := strings.CutPrefix(strings.TrimSpace(list), "Fields: ")
		if !ok {
			return nil, fmt.Errorf("docs/events.md has no fields for %s", name)
		}
		e.Fields, e.Example = strings.Split(fields, ", "), make(map[string]string)
		for line := range strings.Lines(example) {
			if field, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
				e.Example[field] = value
			}
		}
		p.Events[name] = e
	}
	return p, nil
})

// section returns what follows a heading, up to the next one of that level.
func section(page, level, heading string) string {
	_, rest, _ := strings.Cut(page, level+heading+"\n")
	rest, _, _ = strings.Cut(rest, level)
	return rest
}

// table returns the rows of the first table, without its head.
func table(text string) (rows [][]string) {
	for line := range strings.Lines(text) {
		if cells, ok := strings.CutPrefix(strings.TrimSpace(line), "| `"); ok {
			rows = append(rows, strings.Split("`"+cells, " | "))
		}
	}
	return rows
}

// types says what a value of a type looks like. Any is bounded and printable, which
// package audit tests.
var types = map[string]func(string) bool{
	"text":       func(string) bool { return true },
	"word":       regexp.MustCompile(`^[a-z0-9]([a-z0-9@./-]*[a-z0-9])?$`).MatchString,
	"number":     regexp.MustCompile(`^(0|[1-9][0-9]*)$`).MatchString,
	"time":       regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{6})?Z$`).MatchString,
	"128-bit ID": regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString,
	"ARN": func(s string) bool {
		return !slices.ContainsFunc(strings.Split(s, " or "), func(s string) bool { return s != "-" && !strings.HasPrefix(s, "arn:") })
	},
	"address": func(s string) bool { _, err := netip.ParseAddr(s); return err == nil },
}

// Check compares a record of a program with the page: its event, its fields and their
// types. Fields that are not the agent's are left alone.
func (p *Page) Check(program string, record map[string]string) error {
	name := record["EIC_EVENT"]
	e, ok := p.Events[name]
	switch {
	case !ok:
		return fmt.Errorf("docs/events.md has no event %q", name)
	case !slices.Contains(e.Programs, program):
		return fmt.Errorf("docs/events.md has %s of %s, not of %s", name, strings.Join(e.Programs, ", "), program)
	}
	for _, field := range slices.Sorted(maps.Keys(record)) {
		value := record[field]
		if !slices.Contains(common, field) && !slices.Contains(e.Fields, field) {
			if strings.HasPrefix(field, "EIC_") {
				return fmt.Errorf("docs/events.md has no field %s of %s", field, name)
			}
			continue
		}
		is, ok := types[p.Types[field]]
		if !ok {
			return fmt.Errorf("docs/events.md gives %s the type %q", field, p.Types[field])
		}
		if !is(value) {
			return fmt.Errorf("%s of %s is %q, and no %s as docs/events.md says", field, name, value, p.Types[field])
		}
	}
	return nil
}
