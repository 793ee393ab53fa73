package world

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// CheckServedPath says why nothing can be set at a path below /latest/.
func CheckServedPath(path string) error {
	odd := func(element string) bool { return element == "" || element == "." || element == ".." }
	if path == "api/token" || slices.ContainsFunc(strings.Split(path, "/"), odd) {
		return fmt.Errorf("nothing can be set at /latest/%s", path)
	}
	return nil
}

// SetServed makes the metadata service of an instance serve body at a path below
// /latest/. A nil body makes the path one that does not exist, with all that is
// below it but for what is set there.
func (t *Tx) SetServed(m *Machine, path string, body []byte) {
	all := maps.Clone(m.Overrides)
	if all == nil {
		all = make(map[string][]byte)
	}
	all[path] = bytes.Clone(body)
	t.setOverrides(m, all)
}

// RestoreServed takes back what SetServed has set at a path and below it; ""
// means everything.
func (t *Tx) RestoreServed(m *Machine, path string) {
	all := maps.Clone(m.Overrides)
	maps.DeleteFunc(all, func(set string, _ []byte) bool {
		return path == "" || set == path || strings.HasPrefix(set, path+"/")
	})
	t.setOverrides(m, all)
}

func (t *Tx) setOverrides(m *Machine, all map[string][]byte) {
	Set(t, &m.Overrides, all)
	t.SaveMachine(m)
}

// Override returns what was set at a path below a version, nil where it or a directory
// of it was removed. It needs the lock.
func (m *Machine) Override(path string) (body []byte, overridden bool) {
	if body, ok := m.Overrides[path]; ok {
		return body, true
	}
	for i, c := range path {
		if removed, ok := m.Overrides[path[:i]]; c == '/' && ok && removed == nil {
			return nil, true
		}
	}
	if text, ok := m.Served[path]; ok {
		return []byte(text), true
	}
	return nil, false
}
