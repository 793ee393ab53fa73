package e2e

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// behind has journald come to what f has logged only when f is over: by then every
// program has ended, or is another.
func (w *world) behind(t *testing.T, f func()) {
	t.Helper()
	signal := func(s syscall.Signal) {
		if err := w.journald.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	signal(unix.SIGSTOP)
	defer signal(unix.SIGCONT)
	f()
}

// What a program logs just before it becomes another, or ends, is believed whenever
// journald gets round to it.
func TestJournaldBehind(t *testing.T) {
	s := newSerial(t)
	s.push()
	console := s.connect()
	w.behind(t, func() { s.knock(console, "login: ") })
	report := audit(t, "--user", consoleLogin, "--since", "1m")
	if n := len(report.Sessions); n == 0 || report.Sessions[n-1].Fingerprint != fingerprintOf(t, s.public) || !report.Sessions[n-1].Console {
		t.Errorf("console: %d sessions, notes %q", n, report.Notes)
	}
	s.leave(console)

	user, _ := w.newUser(t)
	key, public := w.newKey(t, "ed25519", 0)
	request := w.push(t, user, public)
	w.behind(t, func() { w.login(t, user, key) })
	report = audit(t, "--user", user)
	if len(report.Sessions) != 1 || report.Sessions[0].Request != request || len(report.Unknown) != 0 {
		t.Errorf("sshd: %d sessions, %d unknown, notes %q", len(report.Sessions), len(report.Unknown), report.Notes)
	}
}

// Where journald hangs, and its queues are full, sshd has its answer all the same. What
// was lost is said with the next record, and by audit.
func TestJournaldFull(t *testing.T) {
	const cache, config = "/run/lost", "/etc/eic-agent/lost.toml"
	account := credential(t)
	if err := errors.Join(
		os.Mkdir(cache, 0o700), os.Chown(cache, int(account.Uid), int(account.Gid)),
		os.WriteFile(config, []byte(strings.ReplaceAll(readFile(t, configPath), `dir = ""`, `dir = "`+cache+`"`)), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	user, _ := w.newUser(t)
	_, public := w.newKey(t, "ed25519", 0)
	w.push(t, user, public)
	run := func() {
		t.Helper()
		if r := runAgent(t, "--config", config, user); r.code != 0 || r.stdout == "" {
			t.Errorf("exit %d, said %q", r.code, r.stderr)
		} else {
			t.Logf("it took %v", r.took)
		}
	}
	w.behind(t, func() {
		for _, path := range []string{"/run/systemd/journal/socket", "/dev/log"} {
			fill(t, path)
		}
		run()
		run()
	})
	// Until journald has room again.
	if err := w.Eventually("journald accepts messages", func() bool {
		run()
		return len(w.records(t, user, "key-provided")) > 0
	}); err != nil {
		t.Fatal(err)
	}
	first := w.records(t, user, "key-provided")[0]
	if n, err := strconv.Atoi(first.Field("EIC_LOST")); err != nil || n < 2 {
		t.Errorf("%q events are said to be lost", first.Field("EIC_LOST"))
	}
	run()
	report := audit(t, "--user", user)
	said := 0
	for _, m := range report.Missing {
		if strings.Contains(m, "neither journald nor syslog accepted "+first.Field("EIC_LOST")+" records of eic-authkeys") {
			said++
		}
	}
	if said != 1 {
		t.Errorf("audit says %q", report.Missing)
	}
}

// fill fills the queue of a socket.
func fill(t *testing.T, path string) {
	t.Helper()
	for {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(os.NewSyscallError("socket", err))
		}
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
			t.Fatal(os.NewSyscallError("connect", err))
		}
		sent := 0
		for ; err == nil; sent++ {
			_, err = unix.Write(fd, []byte("<15>filler"))
		}
		unix.Close(fd)
		if sent == 1 {
			return
		}
	}
}
