package sshdsetup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/atomicfile"
	"github.com/eic-agent/eic-agent/internal/sysroot"
)

// StateDir is where enable keeps what disable needs.
const StateDir = "/var/lib/eic-agent/sshd"

const stateName = "state.json"

// Phases of a record.
const (
	phaseChanging = "changing" // enable was interrupted, or is at it
	phaseEnabled  = "enabled"
)

// A record says what enable changed.
type record struct {
	Phase   string   `json:"phase"`
	Command string   `json:"command"`
	Changes []Change `json:"changes"`
}

// A store is the state directory, locked.
type store struct {
	dir  string
	lock *os.File
}

// errBusy says that another eicctl is at it.
var errBusy = errors.New("another eicctl sshd is at work on this system")

// openStore makes the state directory below root, if it is missing, and locks it. It
// belongs to root and is closed to others: what is restored comes from it.
func openStore(root string) (*store, error) {
	dir := sysroot.Entry(root, StateDir)
	if err := atomicfile.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Uid != 0 || st.Mode&0o022 != 0 {
		return nil, fmt.Errorf("%s is not a directory that only root may write", StateDir)
	}
	lock, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = errBusy
		}
		return nil, err
	}
	return &store{dir, lock}, nil
}

func (s *store) close() { s.lock.Close() }

// load returns the record, nil where there is none. What was left behind without a
// record is taken away.
func (s *store) load() (*record, error) {
	r, err := loadRecord(s.dir)
	if r == nil && err == nil {
		err = s.forget()
	}
	return r, err
}

func loadRecord(dir string) (*record, error) {
	text, err := os.ReadFile(filepath.Join(dir, stateName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := new(record)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %v", filepath.Join(dir, stateName), err)
	}
	return r, nil
}

// save keeps the record, and before that the old contents of changes that have
// none kept.
func (s *store) save(r *record) error {
	for i := range r.Changes {
		c := &r.Changes[i]
		if c.Before == nil || c.Before.Backup != "" {
			continue
		}
		name := fmt.Sprintf("backup-%s-%d", c.Before.Sum[:12], i)
		if err := writeFile(filepath.Join(s.dir, name), c.old, &fileState{Mode: 0o600}); err != nil {
			return err
		}
		c.Before.Backup = name
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(s.dir, stateName), append(text, '\n'), &fileState{Mode: 0o600})
}

func (s *store) backup(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(s.dir, filepath.Base(name)))
}

// undo takes all changes of r back, and forgets r.
func (s *store) undo(root string, r *record) (notes []string, err error) {
	if notes, err = s.restore(root, r); err != nil {
		return notes, err // the backups are still needed
	}
	return notes, s.forget()
}

// restore rolls back all changes of r, the last first. It continues after an error.
// Doing it again does no harm.
func (s *store) restore(root string, r *record) (notes []string, err error) {
	for _, c := range r.Changes {
		// What a run that was killed had not finished writing. It goes first: a
		// directory that enable made has to be empty.
		unfinished, _ := filepath.Glob(filepath.Join(filepath.Dir(sysroot.Entry(root, c.Path)), temporary+"*"))
		for _, path := range unfinished {
			os.Remove(path)
		}
	}
	var failed []string
	for i := len(r.Changes) - 1; i >= 0; i-- {
		note, err := r.Changes[i].undo(root, s.backup)
		if err != nil {
			failed = append(failed, fmt.Sprintf("%s could not be restored: %v", r.Changes[i].Path, err))
		}
		if note != "" {
			notes = append(notes, note)
		}
	}
	if len(failed) > 0 {
		return notes, errors.New(strings.Join(failed, "; "))
	}
	return notes, nil
}

// forget removes the record, and then the backups.
func (s *store) forget() error {
	if err := os.Remove(filepath.Join(s.dir, stateName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := atomicfile.SyncDir(s.dir); err != nil {
		return err
	}
	for _, pattern := range []string{"backup-*", temporary + "*"} {
		left, _ := filepath.Glob(filepath.Join(s.dir, pattern))
		for _, path := range left {
			os.Remove(path)
		}
	}
	return nil
}
