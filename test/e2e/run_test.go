package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

// A result is what became of a program.
type result struct {
	code           int
	stdout, stderr string
	took           time.Duration
}

// runAgent runs eic-authkeys as the user that sshd runs it as, with the
// environment that sshd gives it.
func runAgent(t *testing.T, args ...string) result {
	t.Helper()
	return runAgentWith(t, nil, args...)
}

func runAgentWith(t *testing.T, change func(*exec.Cmd), args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(authkeys, args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "USER=" + agentUser, "LOGNAME=" + agentUser, "HOME=/nonexistent"}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(t)}
	if change != nil {
		change(cmd)
	}
	start := time.Now()
	err := cmd.Run()
	if _, ok := err.(*exec.ExitError); err != nil && !ok {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String(), time.Since(start)}
}

// peakKiB returns the peak memory of a run. The kernel's own account would have
// that of this program in it, from before the exec, so time(1) starts the run.
func peakKiB(t *testing.T, args ...string) int {
	t.Helper()
	report := filepath.Join(t.TempDir(), "peak")
	exec.Command("/usr/bin/time", append([]string{"-q", "-f", "%M", "-o", report, authkeys}, args...)...).Run()
	peak, err := strconv.Atoi(strings.TrimSpace(readFile(t, report)))
	if err != nil {
		t.Fatal(err)
	}
	return peak
}

func credential(t *testing.T) *syscall.Credential {
	t.Helper()
	account, err := w.Account(agentUser)
	if err != nil {
		t.Fatal(err)
	}
	return account
}

func runProgram(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
	return string(out)
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A recordText is a record to be signed by the emulator.
type recordText struct {
	expires  time.Time
	instance string
	key      string
	tamper   bool // change it after it was signed
}

func (r recordText) signed(t *testing.T) []byte {
	t.Helper()
	record, err := w.emulator.Sign(emulator.DefaultInstanceID, keyrecord.Statement{Expires: r.expires, Instance: r.instance, Key: r.key, Request: "request-1"})
	if err != nil {
		t.Fatal(err)
	}
	if r.tamper {
		record = bytes.Replace(record, []byte("request-1"), []byte("request-2"), 1)
	}
	return record
}
