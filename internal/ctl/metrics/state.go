package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/atomicfile"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/ctl/sessions"
	"github.com/eic-agent/eic-agent/internal/procfs"
)

// stateSchema is the version of State. It changes when a member changes its meaning.
const stateSchema = 1

// maxState bounds the file, which has a few hundred numbers and the open sessions.
const maxState = 16 << 20

// A State is what is kept from one run to the next.
type State struct {
	Schema int    `json:"schema"`
	Cursor string `json:"cursor,omitempty"` // of the last record that is counted
	// Counts are of events, by metric and reason.
	Counts map[string]map[string]uint64 `json:"counts"`
	Lost   uint64                       `json:"lost"`
	// Sessions up to Looked are looked for. Open are those that had not ended then.
	Looked time.Time `json:"looked"`
	Open   []Open    `json:"open,omitempty"`
}

// An Open session has not ended.
type Open struct {
	PID   uint64    `json:"pid"` // of sshd
	Start time.Time `json:"start"`
}

func load(path string) (*State, error) {
	s := &State{Schema: stateSchema, Counts: make(map[string]map[string]uint64)}
	if path == "" {
		return s, nil
	}
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil && st.Size() > maxState {
		err = fmt.Errorf("larger than %d bytes", maxState)
	}
	if err != nil {
		return nil, errState(path, err)
	}
	text, err := os.ReadFile(path)
	s = &State{}
	if err == nil {
		err = json.Unmarshal(text, s)
	}
	if err == nil && (s.Schema != stateSchema || s.Counts == nil) {
		err = fmt.Errorf("schema %d, not %d", s.Schema, stateSchema)
	}
	if err != nil {
		return nil, errState(path, err)
	}
	return s, nil
}

// Save keeps what the snapshot has counted, whole or not at all.
func (s *Snapshot) Save(path string) error {
	text, err := json.Marshal(s.state)
	if err != nil {
		return err
	}
	if err := atomicfile.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(path, ".eicctl-*", text, func(f *os.File) error { return f.Chmod(0o644) })
}

// count counts the events after the cursor.
func (s *State) count(ctx context.Context, o Options) error {
	names := make(map[string]counted)
	for _, e := range countedEvents() {
		names[string(e.kind)] = e
	}
	q := journal.Query{Directory: o.directory, After: s.Cursor, Matches: []string{"SYSLOG_IDENTIFIER=eic-authkeys", "SYSLOG_IDENTIFIER=eic-serial-getty"}}
	_, err := journal.Read(ctx, q, func(r *journal.Record) error {
		if cursor := r.Cursor(); cursor != "" {
			s.Cursor = cursor
		}
		e, _ := r.Agent(o.Trust)
		if e == nil {
			return nil
		}
		s.Lost += uint64(e.Lost)
		c, ok := names[string(e.Kind)]
		if !ok {
			return nil
		}
		if s.Counts[c.name] == nil {
			s.Counts[c.name] = make(map[string]uint64)
		}
		s.Counts[c.name][c.label(e.Reason)]++
		return nil
	})
	return err
}

// sessions finds the sessions that are open. Nothing is concluded from a record of an
// end, or from its absence: a session is open while the process of sshd is there that
// logged its beginning.
func (s *State) sessions(ctx context.Context, trust journal.Trust, now time.Time) error {
	since := s.Looked
	if boot, err := booted(now); err != nil {
		return err
	} else if since.Before(boot) {
		since = boot
	}
	report, err := sessions.Read(ctx, sessions.Source{Trust: trust}, sessions.Options{Filter: sessions.Filter{Since: since}}, now)
	if err != nil {
		return err
	}
	for _, found := range report.Sessions {
		if o := (Open{found.PID, found.Start}); found.End == nil && !slices.Contains(s.Open, o) {
			s.Open = append(s.Open, o)
		}
	}
	s.Open = slices.DeleteFunc(s.Open, func(o Open) bool { return !o.alive() })
	s.Looked = now.UTC()
	return nil
}

// alive reports whether the process is there that was when the session began.
func (o Open) alive() bool {
	start, err := procfs.Start(int(o.PID))
	// The record is younger than the process that wrote it. What the clock was set by
	// in the meantime counts for both.
	return err == nil && procfs.Alive(int(o.PID)) && !start.After(o.Start.Add(time.Second))
}

// booted returns when this host was started.
func booted(now time.Time) (time.Time, error) {
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return time.Time{}, err
	}
	return now.Add(-time.Duration(up.Nano())), nil
}
