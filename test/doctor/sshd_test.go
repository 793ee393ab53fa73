package doctor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/test/host"
)

const (
	sshdConfig = "/etc/ssh/sshd_config"
	pidFile    = "/run/sshd.pid"
)

// A server is a running sshd that reads /etc/ssh/sshd_config.
type server struct{ process *os.Process }

// commandLines have sshd ask the agent.
func commandLines() []string {
	return []string{"AuthorizedKeysCommand " + authkeys + " %u %f", "AuthorizedKeysCommandUser " + agentUser}
}

// startServer writes sshd's configuration and starts it. Lines that begin with
// Match end up last.
func (w *world) startServer(lines []string, args ...string) error {
	if _, err := os.Stat(w.Path("host_key")); err != nil {
		if _, _, err := w.NewKey("host_key", "ed25519", 0); err != nil {
			return err
		}
	}
	own := []string{"Port 2222", "ListenAddress 127.0.0.1", "HostKey " + w.Path("host_key"), "UsePAM no", "LogLevel INFO"}
	own = append(own, host.NoPenalties()...)
	var global, match []string
	for _, line := range lines {
		if strings.HasPrefix(line, "Match ") || len(match) > 0 {
			match = append(match, line)
		} else {
			global = append(global, line)
		}
	}
	text := strings.Join(append(append(global, own...), match...), "\n") + "\n"
	if err := os.WriteFile(sshdConfig, []byte(text), 0o644); err != nil {
		return err
	}
	os.Remove(pidFile)
	cmd := exec.Command("/usr/sbin/sshd", append([]string{"-D"}, args...)...)
	if err := cmd.Start(); err != nil {
		return err
	}
	w.sshd = server{cmd.Process}
	return w.Eventually("sshd listens", func() bool {
		pid, err := os.ReadFile(pidFile)
		return err == nil && strings.TrimSpace(string(pid)) == fmt.Sprint(cmd.Process.Pid)
	})
}

func (s server) stop() {
	s.process.Signal(unix.SIGTERM)
	s.process.Wait()
}

// restart runs sshd otherwise until the test ends.
func restart(t *testing.T, lines []string, args ...string) {
	t.Helper()
	stop(t)
	if err := w.startServer(lines, args...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.sshd.stop)
}

// stop has no sshd run until the test ends.
func stop(t *testing.T) {
	t.Helper()
	w.sshd.stop()
	w.otherwise = true
	t.Cleanup(func() {
		w.otherwise = false
		if err := w.startServer(commandLines()); err != nil {
			t.Fatal(err)
		}
	})
}

// told has a healthy sshd be told more, which counts first.
func told(lines ...string) func(*testing.T) {
	return func(t *testing.T) { restart(t, append(lines, commandLines()...)) }
}

// asks has sshd ask a program with this text.
func asks(path, text string) func(*testing.T) {
	return func(t *testing.T) {
		write(t, path, text, 0o755)
		told("AuthorizedKeysCommand " + path + " %u")(t)
	}
}

// change adds lines to the configuration that sshd has read, more than the second later
// that tells one from the other.
func change(t *testing.T, lines string) {
	t.Helper()
	read, err := os.Stat(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Eventually("time passes", func() bool { return time.Since(read.ModTime()) > 1500*time.Millisecond }); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(sshdConfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sshdConfig, append(text, lines...), 0o644); err != nil {
		t.Fatal(err)
	}
}

// write puts a file there until the test ends.
func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	before, readErr := os.ReadFile(path)
	st, statErr := os.Stat(path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	put := func(text []byte, mode os.FileMode) {
		if err := os.WriteFile(path, text, mode); err != nil {
			t.Error(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Error(err)
		}
	}
	put([]byte(text), mode)
	t.Cleanup(func() {
		if readErr != nil || statErr != nil {
			os.Remove(path)
			return
		}
		put(before, st.Mode().Perm())
		if err := os.Chown(path, 0, 0); err != nil {
			t.Error(err)
		}
	})
}

// cover mounts a file or directory over another until the test ends.
func cover(t *testing.T, path, with string) {
	t.Helper()
	if err := unix.Mount(with, path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	uncover(t, path)
}

func uncover(t *testing.T, path string) {
	t.Helper()
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// command runs a program, and another when the test ends.
func command(t *testing.T, do, undo string) {
	t.Helper()
	sh := func(script string) {
		if out, err := exec.Command("/bin/sh", "-c", script).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", script, err, out)
		}
	}
	sh(do)
	t.Cleanup(func() { sh(undo) })
}

// shell is a fault that a command makes and another undoes.
func shell(do, undo string) func(*testing.T) {
	return func(t *testing.T) { command(t, do, undo) }
}
