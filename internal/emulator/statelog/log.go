// Package statelog keeps a set of named values in one file, across restarts and
// crashes. A change is appended to the file and synced; changes that come at the
// same time share one write. The file is rewritten when most of it is outdated.
package statelog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/eic-agent/eic-agent/internal/atomicfile"
)

const (
	version = 2
	maxFile = 1 << 30

	// compactAbove is the least size at which a file is rewritten; below it,
	// outdated lines do no harm.
	compactAbove = 8 << 20
)

// ErrInUse is in the error of Open while another emulator has the file.
var ErrInUse = errors.New("in use by another emulator")

// ErrWrite is in the error of Open and Commit when the file cannot be written.
var ErrWrite = errors.New("cannot write the state file")

// An Entry is one value. A nil Value removes the key.
type Entry struct {
	Key   string          `json:"k"`
	Value json.RawMessage `json:"v,omitempty"`
}

// Bytes is how many bytes follow that were written together with the header: where
// they are not there, the file was truncated by no crash of the emulator.
type header struct {
	Version int   `json:"eicEmulatorState"`
	Bytes   int64 `json:"bytes,omitempty"`
}

// A Change is a number of entries that are written together or not at all.
type Change struct {
	entries []Entry
	undo    func()
	done    chan struct{}
	err     error
}

// A Log is an open file. Its methods may be called from any goroutine.
type Log struct {
	path string
	dump func() []Entry
	undo func(failed []*Change) (all []*Change)

	mu      sync.Mutex // guards what follows; never held while the file is written
	queue   []*Change
	writing bool
	closed  bool

	// Who has set writing owns these.
	file      *os.File
	size      int64
	compacted int64 // the size after the last rewrite
	syncs     int   // groups written
	release   func()
}

// Open opens or begins the file at path and returns what it holds, in the order
// in which it was first written. An empty file counts as a new one; an
// unfinished last line, which a crash leaves, is dropped. A link to a file stays
// one.
func Open(path string) (*Log, []Entry, error) {
	if err := atomicfile.Replaceable(path); err != nil {
		return nil, nil, fmt.Errorf("%w %s: %w", ErrWrite, path, err)
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	release, err := lock(path)
	switch {
	case errors.Is(err, ErrInUse):
		return nil, nil, fmt.Errorf("cannot use the state file %s: %w", path, err)
	case err != nil:
		return nil, nil, fmt.Errorf("%w %s: %w", ErrWrite, path, err)
	}
	tidy(path)
	entries, whole, err := read(path)
	if err != nil {
		release()
		return nil, nil, fmt.Errorf("cannot use the state file %s: %w", path, err)
	}
	return &Log{path: path, release: release, size: whole}, entries, nil
}

// Start makes the log ready for Commit. dump returns everything that is to be
// kept; undo takes back changes that could not be written together with those
// that TakeQueued returns, the last one first, and returns all of them. Neither
// is called with a lock of the log held.
func (l *Log) Start(dump func() []Entry, undo func(failed []*Change) (all []*Change)) error {
	l.dump, l.undo = dump, undo
	if err := l.rewrite(); err != nil {
		return fmt.Errorf("%w %s: %w", ErrWrite, l.path, err)
	}
	return nil
}

// Queue puts a change in line. The order of calls is the order in the file. undo
// takes the change back when it could not be written.
func (l *Log) Queue(entries []Entry, undo func()) *Change {
	c := &Change{entries: entries, undo: undo, done: make(chan struct{})}
	l.mu.Lock()
	l.queue = append(l.queue, c)
	l.mu.Unlock()
	return c
}

// Undo takes the change back in memory. It is for the function given to Start.
func (c *Change) Undo() { c.undo() }

// TakeQueued returns the changes in line and empties it.
func (l *Log) TakeQueued() []*Change {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.queue
	l.queue = nil
	return taken
}

// Wait returns when the change is on the disk, or could not be written and was
// taken back.
func (l *Log) Wait(c *Change) error {
	l.mu.Lock()
	if l.writing {
		l.mu.Unlock()
		<-c.done
		return c.err
	}
	l.writing = true
	l.mu.Unlock()
	for l.writeGroup() {
	}
	<-c.done
	return c.err
}

// writeGroup writes what is in line. It returns false, and has given up writing,
// when nothing is.
func (l *Log) writeGroup() bool {
	l.mu.Lock()
	group, closed := l.queue, l.closed
	l.queue = nil
	if len(group) == 0 {
		l.writing = false
		l.mu.Unlock()
		return false
	}
	l.mu.Unlock()
	err := errors.New("the emulator is closed")
	if !closed {
		err = l.append(group)
	}
	if err != nil {
		l.fail(group, fmt.Errorf("%w %s: %w", ErrWrite, l.path, err))
		return true
	}
	for _, c := range group {
		close(c.done)
	}
	if l.size > max(compactAbove, 4*l.compacted) {
		_ = l.rewrite() // all of it is in the file as it is; the next group tries again
	}
	return true
}

// fail takes back a group and everything that was changed since, which may build
// on it. undo returns these, newest last.
func (l *Log) fail(group []*Change, err error) {
	for _, c := range l.undo(group) {
		c.err = err
		close(c.done)
	}
}

func (l *Log) append(group []*Change) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	for _, c := range group {
		if err := encoder.Encode(c.entries); err != nil {
			return err
		}
	}
	_, err := l.file.Write(b.Bytes())
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		// What was written of it must not come back after a restart.
		_ = l.file.Truncate(l.size)
		_, _ = l.file.Seek(l.size, io.SeekStart)
		return err
	}
	l.size += int64(b.Len())
	l.syncs++
	return nil
}

// rewrite replaces the file by one that holds each value once.
func (l *Log) rewrite() error {
	var entries, b bytes.Buffer
	encoder := json.NewEncoder(&entries)
	for _, e := range l.dump() {
		if err := encoder.Encode([]Entry{e}); err != nil {
			return err
		}
	}
	if err := json.NewEncoder(&b).Encode(header{version, int64(entries.Len())}); err != nil {
		return err
	}
	b.Write(entries.Bytes())
	err := atomicfile.Write(l.path, Temporary(l.path)+"*", b.Bytes(), func(f *os.File) error { return f.Chmod(0o600) })
	if err != nil {
		return err
	}
	file, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if l.file != nil {
		l.file.Close()
	}
	l.file, l.size, l.compacted = file, int64(b.Len()), int64(b.Len())
	return nil
}

// Close lets another emulator have the file. Changes fail from then on.
func (l *Log) Close() {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.closed = true
	l.mu.Unlock()
	if l.undo != nil {
		_ = l.Wait(l.Queue(nil, func() {})) // everything queued before is done
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
	l.release()
}

// read returns the latest value of each key, and how many bytes are whole.
func read(path string) ([]Entry, int64, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	} else if info.Size() > maxFile {
		return nil, 0, fmt.Errorf("longer than %d bytes", maxFile)
	} else if info.Size() == 0 {
		return nil, 0, nil
	}
	lines := bufio.NewReaderSize(file, 1<<20)
	first, err := lines.ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	var h header
	if err := json.Unmarshal(first, &h); err != nil || h.Version == 0 {
		return nil, 0, errors.New("not a state file of eic-emulator, or damaged in its first line")
	}
	if h.Version != version {
		return nil, 0, fmt.Errorf("it has version %d, and this eic-emulator reads version %d", h.Version, version)
	}
	if err := strictly(first, &h); err != nil {
		return nil, 0, fmt.Errorf("line 1: %w", err)
	}
	if errors.Is(err, io.EOF) {
		return nil, 0, errors.New("truncated in its first line")
	}
	if missing := int64(len(first)) + h.Bytes - info.Size(); missing > 0 {
		return nil, 0, fmt.Errorf("truncated: %d bytes are missing", missing)
	}
	latest := make(map[string]int)
	var all []Entry
	whole := int64(len(first))
	for n := 2; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return slices.DeleteFunc(all, func(e Entry) bool { return e.Value == nil }), whole, nil
		}
		if err != nil {
			return nil, 0, err
		}
		var group []Entry
		if err := strictly(line, &group); err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", n, err)
		}
		whole += int64(len(line))
		for _, e := range group {
			if i, ok := latest[e.Key]; ok {
				all[i].Value = nil
			}
			latest[e.Key] = len(all)
			all = append(all, e)
		}
	}
}

func strictly(text []byte, v any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	return decoder.Decode(v)
}

// Temporary is what the names of files begin with that are to replace the one
// at path; digits follow.
func Temporary(path string) string { return "." + filepath.Base(path) + ".eic-emulator-" }

// tidy removes what a crash in the middle of a rewrite has left.
func tidy(path string) {
	files, _ := os.ReadDir(filepath.Dir(path))
	for _, file := range files {
		digits, ok := strings.CutPrefix(file.Name(), Temporary(path))
		if ok && digits != "" && strings.Trim(digits, "0123456789") == "" {
			_ = os.Remove(filepath.Join(filepath.Dir(path), file.Name()))
		}
	}
}
