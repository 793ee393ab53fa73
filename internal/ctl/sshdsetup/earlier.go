package sshdsetup

import (
	"errors"
	"io/fs"
	"os"

	"github.com/eic-agent/eic-agent/internal/sysroot"
)

// An earlier is an enable that another one starts over, which has to bring it back
// where it cannot go ahead.
type earlier struct {
	record *record
	files  []held // of each change
	// wasRead says that the running sshd has read its configuration with them.
	wasRead bool
}

// held is what stands at a path; state is nil where there is no file.
type held struct {
	state   *fileState
	content []byte
}

// hold notes how the files of r are, and its backups.
func (s *store) hold(root string, r *record) (*earlier, error) {
	e := &earlier{record: r}
	for i := range r.Changes {
		c := &r.Changes[i]
		var h held
		var err error
		if c.Action != actionMkdir {
			if h.state, h.content, err = look(sysroot.Entry(root, c.Path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
		e.files = append(e.files, h)
		if c.Before != nil {
			if c.old, err = s.backup(c.Before.Backup); err != nil {
				return nil, err
			}
		}
	}
	return e, nil
}

// bringBack puts all as it was when it was held, the record and its backups included.
func (s *store) bringBack(root string, e *earlier) error {
	for i := range e.record.Changes {
		c := &e.record.Changes[i]
		path, h := sysroot.Entry(root, c.Path), e.files[i]
		var err error
		switch {
		case c.Action == actionMkdir:
			if err = makeDir(path); errors.Is(err, fs.ErrExist) {
				err = nil
			}
		case h.state != nil && stands(path, h.state):
		case h.state != nil:
			err = writeFile(path, h.content, h.state)
		default:
			if err = os.Remove(path); errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
		}
		if err != nil {
			return err
		}
		if c.Before != nil {
			c.Before.Backup = ""
		}
	}
	return s.save(e.record)
}

// stands reports whether a file is as it was when its state was noted.
func stands(path string, state *fileState) bool {
	now, _, err := look(path)
	return err == nil && now.Sum == state.Sum && now.Mode == state.Mode && now.UID == state.UID && now.GID == state.GID && now.Modified.Equal(state.Modified)
}
