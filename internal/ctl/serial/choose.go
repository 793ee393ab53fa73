package serial

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/eic-agent/eic-agent/internal/atomicfile"
	"github.com/eic-agent/eic-agent/internal/config"
)

// choose writes when_unreachable to the configuration, and leaves all else in it as
// it stands.
func (s *System) choose(value string) error {
	path := s.path(config.DefaultPath)
	mode := fs.FileMode(0o644)
	uid, gid := os.Geteuid(), os.Getegid()
	old, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		st, err := os.Stat(path)
		if err != nil {
			return err
		}
		mode = st.Mode().Perm()
		// The agent may read it for its group alone.
		if system, ok := st.Sys().(*syscall.Stat_t); ok {
			uid, gid = int(system.Uid), int(system.Gid)
		}
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return err
		}
	}
	text, err := withChoice(string(old), value)
	if err != nil {
		return err
	}
	return replace(path, []byte(text), mode, uid, gid)
}

// withChoice returns the text of a configuration with when_unreachable in it, where
// it was not set to anything. The error is a *Refusal.
func withChoice(text, value string) (string, error) {
	line := fmt.Sprintf("when_unreachable = %q\n", value)
	lines := strings.SplitAfter(text, "\n")
	table, unset := -1, -1
	inSerial := false
	for i, l := range lines {
		l, _, _ = strings.Cut(l, "#")
		l = strings.TrimSpace(l)
		if strings.HasPrefix(l, "[") {
			if inSerial = l == "[serial]"; inSerial {
				table = i
			}
		}
		if key, _, ok := strings.Cut(l, "="); inSerial && ok && strings.TrimSpace(key) == "when_unreachable" {
			unset = i
		}
	}
	switch {
	case unset >= 0:
		lines[unset] = line
	case table >= 0:
		lines[table] = strings.TrimSuffix(lines[table], "\n") + "\n" + line
	default:
		if text != "" && !strings.HasSuffix(text, "\n") {
			lines = append(lines, "\n")
		}
		if text != "" {
			lines = append(lines, "\n")
		}
		lines = append(lines, "[serial]\n", line)
	}
	text = strings.Join(lines, "")
	if c, err := config.Parse([]byte(text)); err != nil || c.Serial.WhenUnreachable != value {
		return "", refuse(fmt.Sprintf("write %s into [serial] by hand", strings.TrimSpace(line)), "%s is written in a way that it cannot be changed here", config.DefaultPath)
	}
	return text, nil
}

// replace puts a file in place, whole or not at all.
func replace(path string, text []byte, mode fs.FileMode, uid, gid int) error {
	return atomicfile.Write(path, "."+filepath.Base(path)+".*", text, func(f *os.File) error {
		return errors.Join(f.Chown(uid, gid), f.Chmod(mode))
	})
}
