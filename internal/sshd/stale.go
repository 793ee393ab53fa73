package sshd

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/procfs"
	"github.com/eic-agent/eic-agent/internal/sysroot"
)

// A Reading is when a running sshd last read its configuration.
type Reading struct {
	At time.Time
	// Exact is false where it is only known that it was not before.
	Exact bool
}

// LastRead returns when the listener read its configuration: when it was started or, where
// it has a PidFile, which it writes anew at each reload, when that was written.
func (s *Server) LastRead(values Values) (Reading, error) {
	l, ok := s.Listener()
	if !ok {
		return Reading{}, unknown("it does not run")
	}
	at, err := procfs.Start(l.PID)
	if err != nil {
		return Reading{}, unknown("of %v", err)
	}
	r := Reading{At: at.Add(startTick)}
	path := values.Get("PidFile")
	text, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(text)) != strconv.Itoa(l.PID) {
		return r, nil
	}
	r.Exact = true
	if st, err := os.Stat(path); err == nil && st.ModTime().After(at) {
		r.At = st.ModTime()
	}
	return r, nil
}

// ChangedAfter returns a file of the configuration, or a directory of which sshd reads
// whatever is there, that was changed after a time; "" for none. A file is
// changed when it is written, and when it is put in the place of another, whatever time
// its contents have.
func (c *Config) ChangedAfter(root string, at time.Time) (path string, when time.Time) {
	paths := append([]string(nil), c.Files...)
	for _, i := range c.Includes {
		dir := filepath.Dir(i.Value)
		if dir != filepath.Dir(c.Path) && strings.ContainsAny(filepath.Base(i.Value), "*?[") {
			paths = append(paths, dir)
		}
	}
	for _, p := range paths {
		if changed := changedAt(sysroot.Path(root, p)); changed.After(at) && changed.After(when) {
			path, when = p, changed
		}
	}
	return path, when
}

func changedAt(path string) time.Time {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MTIME|unix.STATX_BTIME, &st); err != nil {
		return time.Time{}
	}
	changed := time.Unix(st.Mtime.Sec, int64(st.Mtime.Nsec))
	if born := time.Unix(st.Btime.Sec, int64(st.Btime.Nsec)); st.Mask&unix.STATX_BTIME != 0 && born.After(changed) {
		return born
	}
	return changed
}

// startTick is how exactly the start of a process is known.
const startTick = 10 * time.Millisecond

// Image tells one run of a program in a process from the next, by where the kernel put
// it: sshd runs itself anew when it reloads. It is "" where that does not tell, as on a
// kernel that puts each program at the same place.
func Image(pid int) string {
	if text, err := os.ReadFile("/proc/sys/kernel/randomize_va_space"); err != nil || strings.TrimSpace(string(text)) == "0" {
		return ""
	}
	auxiliary, err := os.ReadFile(fmt.Sprintf("/proc/%d/auxv", pid))
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(auxiliary)
	return hex.EncodeToString(sum[:8])
}
