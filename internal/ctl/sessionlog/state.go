// Package sessionlog follows the journal for eic-sessions.service, and tells in the journal
// when each session opened and closed: each once, whatever happens to the service.
package sessionlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/eic-agent/eic-agent/internal/atomicfile"
	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/sessions"
)

const (
	// Unit is the service, and Account whom it runs as.
	Unit    = "eic-sessions.service"
	Account = "eic-sessions"
	// Dir is where the service keeps its place: StateDirectory= of its unit.
	Dir = "/var/lib/eic-sessions"
	// StateFile is the file in it.
	StateFile = "state.json"
	// newState begins the names of files that are not in their place yet.
	newState = ".state-"
	// stateSchema is the version of its format. A file of another version is not read.
	stateSchema = 1
	// maxState bounds the file.
	maxState = 256 << 20
)

// A State is what the follower knows at a position in the journal. It is written
// atomically.
type State struct {
	Schema int `json:"schema"`
	// Cursor is the position: the last record that the state includes.
	Cursor string `json:"cursor"`
	// Since is when the service first started. Earlier sessions are not recorded.
	Since time.Time `json:"since"`
	// Following is when the follower last caught up: it has read its own first event.
	Following time.Time         `json:"following,omitzero"`
	Sessions  sessions.Snapshot `json:"sessions"`
	// Pending are events that were not read in the journal yet.
	Pending []audit.Event `json:"pending,omitempty"`
}

// ErrNoState is returned by Load where the service has never run.
var ErrNoState = errors.New("eic-sessions.service has not run yet")

// Load reads the state that is kept in a directory.
func Load(dir string) (*State, error) {
	path := filepath.Join(dir, StateFile)
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrNoState
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular() || st.Size() > maxState:
		return nil, fmt.Errorf("%s is not a state file of eic-sessions", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var s State
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("cannot read %s: %v", path, err)
	}
	if s.Schema != stateSchema {
		return nil, fmt.Errorf("%s has schema %d, not %d", path, s.Schema, stateSchema)
	}
	return &s, nil
}

// tidy removes what a follower left that was killed while it saved.
func tidy(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, newState+"*"))
	for _, path := range left {
		_ = os.Remove(path)
	}
}

// save writes the state, so that there is the old one or the new one at any time.
func (s *State) save(dir string) error {
	s.Schema = stateSchema
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, StateFile), newState+"*", text, func(f *os.File) error { return f.Chmod(0o644) })
}
