package sshd

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

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/test/host"
)

// authkeys runs eic-authkeys as sshd does, with its standard output to f or into
// the text that is returned.
func (m *machine) authkeys(f *os.File, args ...string) (stdout, stderr string, code int, took time.Duration) {
	m.t.Helper()
	account, err := w.Account(agentUser)
	m.must(err)
	var out bytes.Buffer
	// A file, since a pipe would be waited for as long as a command that hangs has it, too.
	said, err := os.Create(filepath.Join(m.t.TempDir(), "stderr"))
	m.must(err)
	defer said.Close()
	cmd := exec.Command(authkeys, args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "USER=" + agentUser, "LOGNAME=" + agentUser, "HOME=/nonexistent"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account}
	cmd.Stdout, cmd.Stderr = &out, said
	if f != nil {
		cmd.Stdout = f
	}
	start := time.Now()
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		m.t.Fatal(err)
	}
	took = time.Since(start)
	text, err := os.ReadFile(said.Name())
	m.must(err)
	return out.String(), string(text), cmd.ProcessState.ExitCode(), took
}

// A metadata service that hangs and a command that hangs cost nobody else a key,
// and sshd has an answer inside 5 seconds.
func TestChainInTime(t *testing.T) {
	m := newMachine(t, "debian12", func(m *machine) {
		m.write(config, m.read(config)+`
[chain]
command = [
	'/bin/sh -c "trap : TERM; echo lost; sleep 1000 & wait; sleep 1000"',
	'/bin/sh -c "sleep 1; echo theirs"',
]
`)
	})
	m.must(w.emulator.InjectFault("hang"))
	defer w.emulator.ClearFaults("")
	stdout, stderr, code, took := m.authkeys(nil, "alice", "SHA256:PqiDne3jtq8gOHvvFS5pep5ZjdvyeO5jVfnX7/h5u8E")
	if code != 0 || stdout != "theirs\n" || !strings.Contains(stderr, "(imds-unreachable)") {
		t.Errorf("exit %d, printed %q, said %q", code, stdout, stderr)
	}
	if took > host.Patience {
		t.Errorf("it took %v", took)
	}
	records, err := w.Records("EIC_EVENT=chain-failed", "EIC_REASON=chain-failed", "EIC_USER=alice")
	if err != nil || len(records) != 1 || !strings.Contains(records[0].Field("MESSAGE"), "timed out") || records[0].Field("PRIORITY") != "4" {
		t.Errorf("the journal has %v, %v", records, err)
	}
}

// One that hangs before it runs, as on a file system that does not answer, cannot be
// ended, and costs nobody our own keys all the same.
func TestChainHangsInStart(t *testing.T) {
	const further = "/run/further"
	m := newMachine(t, "debian12", func(m *machine) {
		m.program(further)
		m.write(config, m.read(config)+"\n[chain]\ncommand = ['"+further+"']\n")
	})
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC, 0)
	if err == nil {
		err = unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_OPEN_EXEC_PERM, unix.AT_FDCWD, further)
	}
	if err != nil {
		t.Skipf("the kernel asks nobody before a program is run: %v", err)
	}
	defer unix.Close(fd) // nobody has answered it
	_, public := m.newKey()
	m.push("carol", public)
	stdout, stderr, code, took := m.authkeys(nil, "carol")
	if code != 0 || !strings.Contains(public, strings.TrimSpace(stdout)) || stdout == "" {
		t.Errorf("exit %d, printed %q, said %q", code, stdout, stderr)
	}
	if took > host.Patience {
		t.Errorf("it took %v", took)
	}
	records, err := w.Records("EIC_EVENT=chain-failed", "EIC_USER=carol")
	if err != nil || !strings.Contains(records[len(records)-1].Field("MESSAGE"), "timed out") {
		t.Errorf("the journal has %v, %v", records, err)
	}
}

// A hanging command does not hold up somebody whose key was pushed.
func TestChainIsNotWaitedFor(t *testing.T) {
	m := newMachine(t, "debian12", func(m *machine) {
		m.write(config, m.read(config)+"\n[chain]\ncommand = ['/bin/sleep 1000']\n")
	})
	m.enable(0)
	user := m.newUser()
	key, public := m.newKey()
	m.push(user, public)
	start := time.Now()
	if !m.login(user, key) {
		t.Fatal("a pushed key does not log in")
	}
	if took := time.Since(start); took > host.Patience {
		t.Errorf("the login took %v", took)
	}
}

// sshd before 7.6 closes the pipe when it has found its key, and a command of the
// chain may be told so in the usual way.
func TestChainSignals(t *testing.T) {
	const commands = `
[chain]
command = [
	'/bin/sh -c "grep -q ^SigIgn:.*[13579bdf]...$ /proc/self/status && echo ignored || echo default"',
]
`
	m := newMachine(t, "debian12", func(m *machine) { m.write(config, m.read(config)+commands) })
	if stdout, stderr, code, _ := m.authkeys(nil, "alice"); stdout != "default\n" || code != 0 {
		t.Errorf("exit %d, printed %q, said %q", code, stdout, stderr)
	}
	r, pipe, err := os.Pipe()
	m.must(err)
	r.Close()
	defer pipe.Close()
	if _, stderr, code, _ := m.authkeys(pipe, "alice"); code != 0 || stderr != "" {
		t.Errorf("closed pipe: exit %d, said %q", code, stderr)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	m.must(err)
	defer full.Close()
	if _, stderr, code, _ := m.authkeys(full, "alice"); code != 1 || !strings.Contains(stderr, "(output-failed)") {
		t.Errorf("full device: exit %d, said %q", code, stderr)
	}
}

// sshd ends eic-authkeys when a login takes too long: what it had started ends too.
func TestChainEndsWithUs(t *testing.T) {
	const fifo = "/run/pid-of-sleeper"
	m := newMachine(t, "debian12", func(m *machine) {
		m.write(config, m.read(config)+"\n[chain]\ncommand = ['/bin/sh -c \"echo $$ > "+fifo+"; exec sleep 1000\"']\n")
	})
	m.must(syscall.Mkfifo(fifo, 0o666))
	defer os.Remove(fifo)
	m.must(os.Chmod(fifo, 0o666))
	account, err := w.Account(agentUser)
	m.must(err)
	cmd := exec.Command(authkeys, "alice")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account}
	m.must(cmd.Start())
	pid, err := strconv.Atoi(strings.TrimSpace(m.read(fifo)))
	m.must(err)
	fd, err := unix.PidfdOpen(pid, 0)
	m.must(err)
	defer unix.Close(fd)
	m.must(cmd.Process.Kill())
	cmd.Wait()
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000); n != 1 {
		t.Errorf("it lives on: %v", err)
	}
}
