package sshd

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/atomicfile"
	"github.com/eic-agent/eic-agent/internal/procfs"
	"github.com/eic-agent/eic-agent/internal/sysroot"
)

// A Reading is when a running sshd last read its configuration.
type Reading struct {
	At time.Time
	// Exact is false where it is only known that it was not before.
	Exact bool
}

// readPath is where NoteRead writes.
const readPath = "/run/eicctl-sshd-read.json"

// A noted reading says that a process had read its configuration at a time.
type noted struct {
	PID   int       `json:"pid"`
	Image string    `json:"image"` // of the program that it ran
	At    time.Time `json:"at"`
}

// NoteRead notes that these processes, which were reloaded just now, have read their
// configuration. Of an sshd without a PidFile nothing else tells it. What cannot be
// noted is unknown later.
func NoteRead(pids ...int) {
	var list []noted
	for _, n := range readNotes() {
		if !slices.Contains(pids, n.PID) && n.Image == Image(n.PID) {
			list = append(list, n)
		}
	}
	for _, pid := range pids {
		if image := Image(pid); image != "" {
			list = append(list, noted{pid, image, time.Now()})
		}
	}
	if text, err := json.Marshal(list); err == nil && len(list) > 0 {
		_ = atomicfile.Write(readPath, ".eicctl-*", text, func(f *os.File) error { return f.Chmod(0o644) })
	}
}

func readNotes() (list []noted) {
	text, err := readFile(readPath, maxConfig)
	if err != nil || json.Unmarshal(text, &list) != nil {
		return nil
	}
	return list
}

// notedRead returns when a process had read its configuration by what NoteRead wrote, or
// the zero time.
func notedRead(pid int) time.Time {
	for _, n := range readNotes() {
		if n.PID == pid && n.Image == Image(pid) {
			return n.At
		}
	}
	return time.Time{}
}

// LastRead returns when the listener read its configuration: when it was started, when it
// wrote its PidFile, as it does anew at each reload, or when eicctl had it do so.
func (s *Server) LastRead(values Values) (Reading, error) {
	l, ok := s.Listener()
	if !ok {
		return Reading{}, unknown("it does not run")
	}
	r, err := l.lastRead(values.Get("PidFile"))
	if err != nil {
		return Reading{}, unknown("%v", err)
	}
	return r, nil
}

func (l Listener) lastRead(pidFile string) (Reading, error) {
	at, err := procfs.Start(l.PID)
	if err != nil {
		return Reading{}, err
	}
	r := Reading{At: at.Add(startTick)}
	later := func(at time.Time) {
		if at.After(r.At) {
			r.At = at
		}
	}
	if at := notedRead(l.PID); !at.IsZero() {
		r.Exact = true
		later(at)
	}
	text, err := os.ReadFile(pidFile)
	if err == nil && strings.TrimSpace(string(text)) == strconv.Itoa(l.PID) {
		r.Exact = true
		if st, err := os.Stat(pidFile); err == nil {
			later(st.ModTime())
		}
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
