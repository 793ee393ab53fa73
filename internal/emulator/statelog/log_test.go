package statelog

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A store is what a World is: values, and a log of their changes.
type store struct {
	mu     sync.Mutex
	values map[string]string
	log    *Log
}

func open(t *testing.T, path string) *store {
	t.Helper()
	log, entries, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &store{values: make(map[string]string), log: log}
	for _, e := range entries {
		var text string
		if err := json.Unmarshal(e.Value, &text); err != nil {
			t.Fatal(err)
		}
		s.values[e.Key] = text
	}
	if err := log.Start(s.dump, s.undo); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *store) dump() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Entry
	for key, text := range s.values {
		all = append(all, Entry{key, json.RawMessage(fmt.Sprintf("%q", text))})
	}
	return all
}

func (s *store) undo(failed []*Change) []*Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := append(failed, s.log.TakeQueued()...)
	for i := len(all) - 1; i >= 0; i-- {
		all[i].Undo()
	}
	return all
}

func (s *store) set(key, text string) error {
	s.mu.Lock()
	old, had := s.values[key]
	s.values[key] = text
	c := s.log.Queue([]Entry{{key, json.RawMessage(fmt.Sprintf("%q", text))}}, func() {
		if delete(s.values, key); had {
			s.values[key] = old
		}
	})
	s.mu.Unlock()
	return s.log.Wait(c)
}

// TestReopen finds the latest values, whatever a crash left at the end.
func TestReopen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(path, nil, 0o600); err != nil { // an empty file is a new one
		t.Fatal(err)
	}
	s := open(t, path)
	for i, key := range []string{"a", "b", "a", "c"} {
		if err := s.set(key, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	s.log.Close()
	for _, tail := range []string{"", "[", `[{"k":"a","v":"9"}]`, "\x00\x00"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(text, tail...), 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, path)
		if got := fmt.Sprint(s.values); got != "map[a:2 b:1 c:3]" {
			t.Errorf("after %q: %s", tail, got)
		}
		if err := s.set("d"+fmt.Sprint(len(tail)), "x"); err != nil {
			t.Error(err)
		}
		delete(s.values, "d"+fmt.Sprint(len(tail)))
		s.log.Close()
		again := open(t, path)
		if again.values["d"+fmt.Sprint(len(tail))] != "x" {
			t.Errorf("after %q a new value is lost", tail)
		}
		delete(again.values, "d"+fmt.Sprint(len(tail)))
		again.log.Close()
		clean := open(t, path) // which does not know the value any more
		clean.values = map[string]string{"a": "2", "b": "1", "c": "3"}
		if err := clean.log.rewrite(); err != nil {
			t.Fatal(err)
		}
		clean.log.Close()
	}
	if err := s.set("a", "x"); err == nil || s.values["a"] != "2" {
		t.Errorf("a closed log takes changes: %v, %s", err, s.values["a"])
	}
}

// TestDamaged refuses what no crash leaves, and leaves it as it is. A link to a file
// stays a link.
func TestDamaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, link := filepath.Join(dir, "state"), filepath.Join(dir, "link")
	s := open(t, path)
	for i := range 9 {
		if err := s.set(strconv.Itoa(i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	s.log.Close()
	open(t, path).log.Close() // rewrites it
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin := strings.IndexByte(string(whole), '\n') + 1
	for text, want := range map[string]string{
		string(whole[:1]): "damaged in its first line", string(whole[:begin-1]): "truncated in its first line", string(whole[:begin]): "bytes are missing",
		string(whole[:begin+20]): "bytes are missing", string(whole[:len(whole)-1]): "truncated: 1 bytes are missing",
		"{}\n": "not a state file", "text\n": "not a state file", "\n": "not a state file", "\x00": "not a state file",
		`{"eicEmulatorState":3,"more":1}` + "\n": "it has version 3", `{"eicEmulatorState":2,"more":1}` + "\n": "line 1",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", text, err, want)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != text {
			t.Errorf("%.40q became %.40q, %v", text, after, err)
		}
	}
	if err := errors.Join(os.WriteFile(path, whole, 0o600), os.Symlink(path, link)); err != nil {
		t.Fatal(err)
	}
	s = open(t, link)
	if _, _, err := Open(path); !errors.Is(err, ErrInUse) {
		t.Errorf("by its other name: %v", err)
	}
	s.log.Close()
	if target, err := os.Readlink(link); err != nil || target != path || len(s.values) != 9 {
		t.Errorf("the link: %s, %v, %d values", target, err, len(s.values))
	}
	if _, _, err := Open("/dev/null"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("/dev/null: %v", err)
	}
}

// TestFailure takes back what could not be written, and everything after it.
// TestGroups has changes come while the file is being written: they are written
// together, and synced once, so that a slow disk does not bound how many there are
// in a second.
func TestGroups(t *testing.T) {
	t.Parallel()
	const many = 500
	s := open(t, filepath.Join(t.TempDir(), "state"))
	l := s.log
	l.mu.Lock()
	l.writing = true // as while another group is written
	l.mu.Unlock()
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			if err := l.Wait(l.Queue([]Entry{{Key: strconv.Itoa(i), Value: []byte("1")}}, func() {})); err != nil {
				t.Error(err)
			}
		})
	}
	queued := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.queue)
	}
	for queued() < many {
		runtime.Gosched()
	}
	before := l.syncs
	for l.writeGroup() {
	}
	all.Wait()
	if got := l.syncs - before; got != 1 {
		t.Errorf("%d changes were synced %d times", many, got)
	}
	l.Close()
	_, entries, err := Open(l.path)
	if err != nil || len(entries) != many {
		t.Errorf("%d changes are in the file, %v", len(entries), err)
	}
}

func TestFailure(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	s := open(t, path)
	if err := s.set("a", "1"); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	good := s.log.file
	bad, err := os.Open(path) // cannot be written to
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Close()
	s.log.file = bad
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if err := s.set([]string{"a", "b"}[i%2], fmt.Sprint(i)); !errors.Is(err, ErrWrite) {
				t.Errorf("got %v", err)
			}
		})
	}
	all.Wait()
	if got := fmt.Sprint(s.values); got != "map[a:1]" {
		t.Errorf("the values are %s", got)
	}
	s.log.file = good
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the file is %q, %v", after, err)
	}
	if err := s.set("b", "2"); err != nil {
		t.Error(err)
	}
	s.log.Close()
	if got := fmt.Sprint(open(t, path).values); got != "map[a:1 b:2]" {
		t.Errorf("after a restart the values are %s", got)
	}
}

// TestRewrite keeps the file from growing without end.
func TestRewrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	s := open(t, path)
	large := strings.Repeat("x", compactAbove/8)
	for i := range 30 {
		if err := s.set("a", large+fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 2*compactAbove {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
	s.log.Close()
	if got := open(t, path).values["a"]; got != large+"29" {
		t.Errorf("the value is another one, of %d bytes", len(got))
	}
}
