package hostcmd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func sh(script string) Command { return Command{Name: "/bin/sh", Args: []string{"-c", script}} }

// Nothing of the caller's environment reaches the program.
func TestEnvironment(t *testing.T) {
	t.Setenv("EIC_LEAK", "1")
	t.Setenv("PATH", "/nonexistent")
	t.Setenv("LANG", "de_DE.UTF-8")
	c := sh("env; pwd")
	c.Env = []string{"ADDED=yes"}
	r, err := c.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"PATH=" + Path, "LC_ALL=C", "HOME=/", "ADDED=yes", "/"} {
		if !strings.Contains("\n"+r.Stdout, "\n"+line+"\n") {
			t.Errorf("no %s in %q", line, r.Stdout)
		}
	}
	for _, name := range []string{"EIC_LEAK", "LANG"} {
		if strings.Contains(r.Stdout, name+"=") {
			t.Errorf("%s reached the program: %q", name, r.Stdout)
		}
	}
	// A program beside the caller's PATH is found in Path alone.
	if _, err := Output(t.Context(), "true"); err != nil {
		t.Error(err)
	}
}

func TestLookPath(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "eic-program"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	if path, err := LookPath("/", "eic-program"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%q, %v", path, err)
	}
	root := t.TempDir()
	for path, mode := range map[string]os.FileMode{"/usr/sbin/x": 0o644, "/usr/bin/x": 0o755, "/opt/y": 0o755} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(root+path), 0o755), os.WriteFile(root+path, nil, mode)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/opt/y", root+"/usr/bin/y"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"x": "/usr/bin/x", "y": "/usr/bin/y", "z": "", "/any/thing": "/any/thing"} {
		if path, err := LookPath(root, name); path != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v, want %q", name, path, err, want)
		}
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	r, err := sh("head -c 3000000 /dev/zero; echo one >&2; echo two >&2; exit 3").Run(t.Context())
	if len(r.Stdout) != DefaultMaxOutput || !r.Truncated || ExitCode(err) != 3 || FirstLine(err) != "one" || err.Error() != "one; two" {
		t.Errorf("%d bytes, truncated %v, %v", len(r.Stdout), r.Truncated, err)
	}
	if _, err := sh("kill -9 $$").Run(t.Context()); ExitCode(err) != -1 || !strings.Contains(err.Error(), "sh: signal: killed") {
		t.Errorf("killed: %v", err)
	}
	if _, err := Output(t.Context(), "eic-no-such-program"); !errors.Is(err, ErrNotFound) || ExitCode(err) != -1 {
		t.Errorf("not installed: %v", err)
	}
	if _, err := Output(t.Context(), "/nonexistent/program"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Output(canceled, "true"); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	c := sh("cat; exit 0")
	c.Stdin = []byte("in")
	if r, err := c.Run(t.Context()); r.Stdout != "in" || err != nil {
		t.Errorf("%+v, %v", r, err)
	}
	// What leaves a process behind has ended all the same.
	if r, err := sh("sleep 60 & echo done").Run(t.Context()); r.Stdout != "done\n" || err != nil {
		t.Errorf("%+v, %v", r, err)
	}
}

// A program that hangs is killed with what it has started.
func TestTimeout(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "alive")
	c := sh("sh -c 'echo $$ >" + file + "; exec sleep 600' & trap '' TERM; wait; sleep 600")
	c.Timeout = 500 * time.Millisecond
	begin := time.Now()
	if _, err := c.Run(t.Context()); !errors.Is(err, ErrTimeout) || time.Since(begin) > 5*time.Minute {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
	if pid, err := os.ReadFile(file); err == nil && len(pid) > 0 {
		// A kernel that was asked to kill does so a little later; without that the process sleeps for ten minutes.
		stat := "/proc/" + strings.TrimSpace(string(pid)) + "/stat"
		for {
			text, err := os.ReadFile(stat)
			if err != nil || strings.Contains(string(text), ") Z ") {
				break
			}
			if time.Since(begin) > 5*time.Minute {
				t.Fatalf("process %s is still there", strings.TrimSpace(string(pid)))
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// A program has no terminal of the caller's to type on.
func TestSession(t *testing.T) {
	t.Parallel()
	r, err := sh(`read -r pid comm state parent group session rest </proc/$$/stat; echo $((pid - session))`).Run(t.Context())
	if err != nil || r.Stdout != "0\n" {
		t.Errorf("%+v, %v", r, err)
	}
}
