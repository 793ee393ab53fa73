package sshdsetup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/atomicfile"
	"github.com/eic-agent/eic-agent/internal/sysroot"
)

// What a change does to its path.
const (
	actionCreate = "create"
	actionEdit   = "edit"
	actionRemove = "remove"
	actionMkdir  = "mkdir"
)

// A Change is one file or directory that enable changes.
type Change struct {
	Path   string `json:"path"` // as seen from the root of the system
	Action string `json:"action"`
	Why    string `json:"why"`
	// Before is what was there, nil for what was not.
	Before *fileState `json:"before,omitempty"`
	// After is the sum of the contents that enable writes.
	After string `json:"after,omitempty"`

	content []byte // to write
	old     []byte // to keep
}

// A fileState is what disable restores besides the contents.
type fileState struct {
	Mode     uint32    `json:"mode"`
	UID      int       `json:"uid"`
	GID      int       `json:"gid"`
	Modified time.Time `json:"modified"`
	Label    string    `json:"label,omitempty"` // SELinux's
	Sum      string    `json:"sum"`
	Backup   string    `json:"backup"` // name in the state directory
}

const (
	labelAttribute = "security.selinux"
	temporary      = ".eic-agent-" // how the names of unfinished files begin
)

// look returns the state and contents of a regular file.
func look(path string) (*fileState, []byte, error) {
	st, err := os.Lstat(path)
	if err != nil {
		return nil, nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file", path)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	system := st.Sys().(*syscall.Stat_t)
	s := &fileState{Mode: system.Mode & 0o7777, UID: int(system.Uid), GID: int(system.Gid), Modified: st.ModTime(), Sum: sum(content)}
	label := make([]byte, 512)
	if n, err := unix.Lgetxattr(path, labelAttribute, label); err == nil {
		s.Label = string(label[:n])
	}
	return s, content, nil
}

func sum(content []byte) string {
	s := sha256.Sum256(content)
	return hex.EncodeToString(s[:])
}

// create, edit and remove plan changes below root.
func create(path, why string, content []byte) Change {
	return Change{Path: path, Action: actionCreate, Why: why, content: content, After: sum(content)}
}

func edit(root, path, why string, content []byte) (Change, error) {
	before, old, err := look(sysroot.Entry(root, path))
	return Change{Path: path, Action: actionEdit, Why: why, Before: before, content: content, old: old, After: sum(content)}, err
}

func remove(root, path, why string) (Change, error) {
	before, old, err := look(sysroot.Entry(root, path))
	return Change{Path: path, Action: actionRemove, Why: why, Before: before, old: old}, err
}

// apply does the change. One that was planned on other contents than are there now
// is an error.
func (c *Change) apply(root string) error {
	path := sysroot.Entry(root, c.Path)
	switch c.Action {
	case actionMkdir:
		if err := makeDir(path); err != nil {
			return err
		}
		return atomicfile.SyncDir(filepath.Dir(path))
	case actionCreate:
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s was created by another program while eicctl was running", c.Path)
		}
		return writeFile(path, c.content, &fileState{Mode: 0o644})
	}
	if now, _, err := look(path); err != nil {
		return err
	} else if now.Sum != c.Before.Sum {
		return fmt.Errorf("%s was changed in the meantime", c.Path)
	}
	if c.Action == actionRemove {
		if err := os.Remove(path); err != nil {
			return err
		}
		return atomicfile.SyncDir(filepath.Dir(path))
	}
	state := *c.Before
	state.Modified = time.Time{}
	return writeFile(path, c.content, &state)
}

// makeDir makes a directory that everybody can enter, whatever the umask.
func makeDir(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	return os.Chmod(path, 0o755)
}

// undo takes the change back, also one that was not done or only in part. What
// somebody else changed since stays; of that only what enable added goes. It
// returns a note where it could not restore what was there.
func (c *Change) undo(root string, backup func(name string) ([]byte, error)) (note string, err error) {
	path := sysroot.Entry(root, c.Path)
	if c.Action == actionMkdir {
		// On a read-only file system not even what is not there can be removed.
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return "", nil
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
			return "", err
		}
		return "", nil
	}
	now, content, err := look(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return "", err
	}
	switch c.Action {
	case actionCreate:
		switch {
		case missing:
			return "", nil
		case now.Sum == c.After || len(bytes.TrimSpace(strip(content))) == 0:
			if err := os.Remove(path); err != nil {
				return "", err
			}
			return "", atomicfile.SyncDir(filepath.Dir(path))
		}
		return c.Path + " was changed since: removed only the lines that enable wrote", writeFile(path, strip(content), now)
	case actionRemove:
		if !missing {
			if now.Sum == c.Before.Sum {
				return "", nil
			}
			return c.Path + " exists again: not changed", nil
		}
	case actionEdit:
		switch {
		case missing:
			return c.Path + " was removed after eicctl sshd enable; not restored", nil
		case now.Sum == c.Before.Sum:
			return "", nil
		case now.Sum != c.After:
			return c.Path + " was changed since: removed only the lines that enable wrote", writeFile(path, strip(content), now)
		}
	}
	old, err := backup(c.Before.Backup)
	if err != nil {
		return "", err
	}
	if sum(old) != c.Before.Sum {
		return "", fmt.Errorf("the backup of %s is damaged", c.Path)
	}
	return "", writeFile(path, old, c.Before)
}

// writeFile puts content at path, all of it or nothing, with the owner, mode, label
// and, unless it is zero, time of state.
func writeFile(path string, content []byte, state *fileState) error {
	return atomicfile.Write(path, temporary+"*", content, func(f *os.File) error {
		if err := f.Chown(state.UID, state.GID); err != nil {
			return err
		}
		if err := unix.Fchmod(int(f.Fd()), state.Mode); err != nil {
			return err
		}
		if state.Label != "" {
			if err := unix.Fsetxattr(int(f.Fd()), labelAttribute, []byte(state.Label), 0); err != nil {
				return fmt.Errorf("cannot set the SELinux label of %s: %v", path, err)
			}
		}
		if state.Modified.IsZero() {
			return nil
		}
		return os.Chtimes(f.Name(), time.Time{}, state.Modified)
	})
}
