package serialgate

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// A push opens the console for one login, and then it is locked again.
func TestOpen(t *testing.T) {
	t.Parallel()
	c := newConsole(t, `when_unreachable = "lock"`)
	c.knock()
	c.expect(`The console pts/\d+ is locked \(not-pushed\): no key is pushed for it.`)
	c.expect(`aws ec2-instance-connect send-ssh-public-key --instance-id ` + c.id + ` \\\r\n +--instance-os-user ` + c.id + `.port0 --ssh-public-key`)
	c.expect(`Press Enter to look again`)

	c.open(time.Minute)
	c.logIn()
	c.typed("tty; id -un\r")
	c.expect(c.path + `\r\n` + account)
	c.typed("exit\r")
	c.knock()
	c.expect(`locked \(already-used\)`)
	if shown := c.shown(); strings.Contains(shown, password) {
		t.Error("the password was echoed")
	}
	opened := c.records("gate-opened")
	if len(opened) != 1 {
		t.Fatalf("the journal has %d records of the opening", len(opened))
	}
	for field, want := range map[string]string{
		"EIC_CALLER": "arn:aws:iam::123456789012:user/alice", "EIC_PORT": "0", "EIC_USER": c.user(), "PRIORITY": "6",
		"SYSLOG_IDENTIFIER": "eic-serial-getty", "SYSLOG_FACILITY": "10", "EIC_KEY_TYPE": "ssh-ed25519",
	} {
		if got := opened[0].Field(field); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	for _, field := range []string{"EIC_FINGERPRINT", "EIC_EXPIRES", "EIC_REQUEST_ID", "MESSAGE_ID"} {
		if opened[0].Field(field) == "" {
			t.Errorf("there is no %s", field)
		}
	}
}

// What is not a live, proved, unused push for this port of this instance opens
// nothing.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		prepare func(c *console)
		word    string
	}{
		"nothing": {func(*console) {}, "not-pushed"},
		"wrong instance": {func(c *console) {
			c.push(c.user(), time.Minute, func(s *keyrecord.Statement) { s.Instance = "i-0fedcba9876543210" })
		}, "wrong-instance"},
		"expired":    {func(c *console) { c.push(c.user(), -time.Second) }, "expired"},
		"long-lived": {func(c *console) { c.push(c.user(), time.Hour) }, "lifetime-too-long"},
		"other port": {func(c *console) { c.push(User(c.id, 1), time.Minute) }, "not-pushed"},
		"other user": {func(c *console) { c.push(account, time.Minute) }, "not-pushed"},
		"forged": {func(c *console) {
			c.publish(c.user(), bytes.Replace(c.push(account, time.Minute), []byte("user/alice"), []byte("user/mallo"), 1))
		}, "bad-signature"},
		"options": {func(c *console) {
			c.push(c.user(), time.Minute, func(s *keyrecord.Statement) { s.Key = "restrict " + s.Key })
		}, "malformed"},
		"junk":          {func(c *console) { c.publish(c.user(), []byte("\x1b]0;x\x07junk\n\n")) }, "malformed"},
		"page":          {func(c *console) { c.fault("html,path=/latest/meta-data/managed-ssh-keys/active-keys") }, "malformed"},
		"revoked":       {func(c *console) { c.push(c.user(), time.Minute); c.fault("staple-revoked") }, "signer-revoked"},
		"foreign chain": {func(c *console) { c.push(c.user(), time.Minute); c.fault("chain-foreign") }, "signer-untrusted"},
		"turned off":    {func(c *console) { c.push(c.user(), time.Minute); c.fault("status=403,service=imds") }, "imds-error"},
		"broken": {func(c *console) {
			if err := os.WriteFile(c.config, []byte("[serial]\nwhen = 1\n"), 0o644); err != nil {
				c.t.Fatal(err)
			}
		}, "config"},
		"users denied": {func(c *console) {
			c.push(c.user(), time.Minute)
			c.configure("[users]\nallow = [\"ec2-user\"]\n")
		}, "user-denied"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Not even where the console opens when nobody answers.
			c := newConsole(t, `when_unreachable = "open"`, func(h *hurry) { h.BreakGlass, h.Relook = 0, 0 })
			test.prepare(c)
			c.knock()
			c.expect(`locked \(` + test.word + `\)`)
			c.expect(`Press Enter to look again`)
			if name := c.program(); name == "agetty" || name == "login" {
				t.Errorf("the console is open: %s", name)
			}
			if strings.ContainsAny(c.shown(), "\x1b\x07") || strings.Contains(c.shown(), "arn:") || strings.Contains(c.shown(), "junk") {
				t.Errorf("the screen shows what the record says: %s", visible(c.shown()))
			}
			event := "gate-refused"
			if !reason.Word(test.word).RefusesRecord() && test.word != "not-pushed" {
				event = "gate-failed"
			}
			if strings.Contains(c.shown(), "INSTANCE-ID") || test.word == "config" {
				return // nor does the journal know the instance
			}
			records := c.records(event)
			if len(records) != 1 || records[0].Field("EIC_REASON") != test.word || records[0].Field("EIC_PORT") != "0" {
				t.Errorf("the journal has %v", records)
			}
		})
	}
}

// Where [users] is not enforced a push that it would refuse opens the console, and the
// journal says so.
func TestNotEnforced(t *testing.T) {
	t.Parallel()
	c := newConsole(t, `when_unreachable = "lock"`)
	c.configure("[users]\nallow = [\"ec2-user\"]\nenforce = false\n")
	c.open(time.Minute)
	c.expect(`login: `)
	opened, would := c.records("gate-opened"), c.records("would-refuse")
	if len(opened) != 1 || len(would) != 1 {
		t.Fatalf("the journal has %d openings and %d refusals that would be", len(opened), len(would))
	}
	for field, want := range map[string]string{
		"EIC_REASON": "user-denied", "EIC_USER": c.user(), "EIC_PORT": "0", "EIC_INSTANCE_ID": c.id, "PRIORITY": "4",
		"EIC_REQUEST_ID": opened[0].Field("EIC_REQUEST_ID"), "EIC_FINGERPRINT": opened[0].Field("EIC_FINGERPRINT"),
	} {
		if got := would[0].Field(field); got != want || want == "" {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
}

// What opened the console once opens it no more, also after the gate was started
// anew; a new push does.
func TestReplay(t *testing.T) {
	t.Parallel()
	c := newConsole(t, `when_unreachable = "lock"`)
	c.open(time.Minute)
	c.expect(`login: `)
	c.hangUp()
	c.knock()
	c.expect(`locked \(already-used\)`)
	c.expect(`look again`)
	c.signal(unix.SIGTERM)
	c.knock()
	c.expect(`locked \(already-used\)`)
	refused := c.records("gate-refused")
	if len(refused) != 2 || refused[0].Field("EIC_REASON") != "already-used" || refused[0].Field("EIC_CALLER") == "" {
		t.Errorf("the journal has %v", refused)
	}
	// Also where it does not live as long as the one that is used.
	c.push(c.user(), 30*time.Second)
	c.expect(`look again`)
	c.typed("\r")
	c.expect(`login: `)
}

// A key has the time that it has left, and never more than a key may have.
func TestTimeLeft(t *testing.T) {
	t.Parallel()
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		var dir string
		c := newConsole(t, `when_unreachable = "lock"`, func(h *hurry) { dir = h.Used })
		c.held()
		time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
		c.push(c.user(), time.Second)
		c.typed("\r")
		c.expect(`locked \(expired\)`)
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the push is used up: %v", err)
		}
		c.expect(`look again`)
		if refused := c.records("gate-refused"); len(refused) != 1 || refused[0].Field("EIC_REASON") != "expired" {
			t.Errorf("the journal has %v", refused)
		}
	})
	t.Run("more", func(t *testing.T) {
		t.Parallel()
		// The clock of this host is behind.
		c := newConsole(t, "when_unreachable = \"lock\"\n[keys]\nmax_lifetime = \"9s\"")
		c.open(50 * time.Second)
		c.expect(`login: `)
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", c.getty()))
		if err != nil || !strings.HasPrefix(string(text), "/sbin/agetty\x00--timeout\x009\x00") {
			t.Errorf("the getty is %q, %v", text, err)
		}
	})
}

// Of several pushes the one that lives longest opens the console.
func TestLongestPush(t *testing.T) {
	t.Parallel()
	c := newConsole(t, `when_unreachable = "lock"`)
	c.held()
	c.push(c.user(), 20*time.Second)
	c.push(c.user(), 50*time.Second)
	c.push(c.user(), 25*time.Second)
	c.typed("\r")
	c.expect(`login: `)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", c.getty()))
	if err != nil || !strings.Contains(string(text), "--timeout\x004") {
		t.Errorf("the getty is %q, %v", text, err)
	}
}

// A push that cannot be recorded as used opens nothing.
func TestNotRemembered(t *testing.T) {
	t.Parallel()
	c := newConsole(t, `when_unreachable = "open"`, func(h *hurry) {
		if err := os.Mkdir(h.Used, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(h.Used, 0o777); err != nil {
			t.Fatal(err)
		}
	})
	c.open(time.Minute)
	c.expect(`locked \(not-remembered\)`)
}

// life is that of the keys whose end a test waits for: a busy machine has to get to the
// prompt, and through a login, before it is over.
const life = 20 * time.Second

// The name prompt ends with the key, the password prompt soon after.
func TestUnusedPrompts(t *testing.T) {
	t.Parallel()
	t.Run("name", func(t *testing.T) {
		t.Parallel()
		// One that does not heed its time limit.
		getty := filepath.Join(t.TempDir(), "agetty")
		if err := os.WriteFile(getty, []byte("#!/bin/sh\nsleep 1000\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		c := newConsole(t, `when_unreachable = "lock"`, func(h *hurry) {
			h.Command = []string{getty, "-", "vt220"}
			h.Limits.Grace = 500 * time.Millisecond
		})
		c.open(life)
		c.eventually("the getty is there", func() bool { return c.program() == "agetty" })
		c.expect(`hung up: no user name within the time limit`)
		c.held()
	})
	t.Run("name, by agetty itself", func(t *testing.T) {
		t.Parallel()
		c := newConsole(t, `when_unreachable = "lock"`)
		c.open(life)
		c.expect(`login: `)
		c.held()
		if n := len(c.records("gate-closed")); n != 0 {
			t.Errorf("the line was hung up %d times", n)
		}
	})
	t.Run("password", func(t *testing.T) {
		t.Parallel()
		c := newConsole(t, `when_unreachable = "lock"`, func(h *hurry) { h.Limits.Login = time.Second })
		c.open(life)
		c.expect(`login: `)
		c.typed(account + "\r")
		c.expect(`Password: `)
		c.expect(`hung up: no login within the time limit`)
		c.held()
		closed := c.records("gate-closed")
		if len(closed) != 1 || closed[0].Field("EIC_CALLER") == "" || !strings.Contains(closed[0].Field("MESSAGE"), "no login within") {
			t.Errorf("the journal has %v", closed)
		}
	})
}

// What login runs before anybody is logged in is no session.
func TestHelpersAreNoSession(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	getty, login := filepath.Join(dir, "agetty"), filepath.Join(dir, "login")
	if err := errors.Join(
		os.WriteFile(getty, []byte("#!/bin/sh\nexec "+login+"\n"), 0o755),
		os.WriteFile(login, []byte("#!/bin/sh\nwhile :; do sleep 0.3; done\n"), 0o755),
	); err != nil {
		t.Fatal(err)
	}
	c := newConsole(t, `when_unreachable = "lock"`, func(h *hurry) {
		h.Command = []string{getty, "-", "vt220"}
		h.Limits.Login, h.Limits.Settle = time.Second, time.Second
	})
	c.open(life)
	c.eventually("login is there", func() bool { return c.program() == "login" })
	c.expect(`hung up: no login within the time limit`)
	c.held()
}

// An Enter that comes before its time is no attempt.
func TestEarlyEnter(t *testing.T) {
	t.Parallel()
	c := newConsole(t, `when_unreachable = "lock"`)
	c.knock()
	c.expect(`next attempt can be made in 1s`)
	before := c.emulator.RequestCount()
	c.typed("\r\r")
	c.expect(`look again`)
	time.Sleep(500 * time.Millisecond)
	if n := c.emulator.RequestCount() - before; n != 0 {
		t.Errorf("there were %d requests", n)
	}
}

// Sessions that nobody is at, or that last too long, end; others do not.
func TestSessionLimits(t *testing.T) {
	t.Parallel()
	hurried := func(l *limits) {
		l.Login, l.Settle, l.Warning = time.Second, 500*time.Millisecond, time.Second
	}
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		c := newConsole(t, `when_unreachable = "lock"`, func(h *hurry) { hurried(&h.Limits); h.Idle = 3 * time.Second })
		c.open(life)
		c.logIn()
		// Output is no input.
		c.typed("while sleep 1; do echo; done\r")
		start := time.Now()
		c.expect(`no input: press a key to stay`)
		c.expect(`hung up: no input for 3s`)
		if took := time.Since(start); took < 3*time.Second {
			t.Errorf("it was hung up after %v", took)
		}
		c.held()
		c.typed("\r")
		c.expect(`locked \(`)
	})
	t.Run("not idle", func(t *testing.T) {
		t.Parallel()
		c := newConsole(t, `when_unreachable = "lock"`, func(h *hurry) {
			hurried(&h.Limits)
			h.Idle, h.Limits.Warning = 10*time.Second, 9*time.Second
		})
		c.open(life)
		c.logIn()
		c.expect(`press a key to stay`)
		for ends := time.Now().Add(life + 3*time.Second); time.Now().Before(ends); {
			c.typed("echo here\r")
			c.expect(`\r\nhere\r\n`)
			time.Sleep(time.Second)
		}
		if strings.Contains(c.shown(), "hung up:") {
			t.Error("a session that was used was hung up")
		}
	})
	t.Run("long", func(t *testing.T) {
		t.Parallel()
		c := newConsole(t, `when_unreachable = "lock"`, func(h *hurry) { hurried(&h.Limits); h.Session = 12 * time.Second })
		c.open(life)
		c.logIn()
		c.typed("trap '' HUP; sleep 1000\r") // does not go by itself
		c.expect(`this session is limited to 12s; the line is hung up in 1s`)
		c.expect(`hung up: the session reached its limit of 12s`)
		c.held()
	})
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		c := newConsole(t, `when_unreachable = "lock"`, func(h *hurry) { hurried(&h.Limits) })
		c.open(life)
		c.logIn()
		c.mu.Lock()
		pid := c.pid
		c.mu.Unlock()
		c.eventually("nothing is left to watch", func() bool { return len(watchers(t, c.path)) == 0 })
		if of, err := readProcess(pid); err != nil || of.name != "login" {
			t.Errorf("the session is over: %v, %v", of, err)
		}
	})
}

// The watcher is nobody's child, holds no terminal, and goes with the getty.
func TestWatcher(t *testing.T) {
	t.Parallel()
	c := newConsole(t, `when_unreachable = "lock"`)
	c.open(time.Minute)
	c.logIn()
	c.mu.Lock()
	getty := c.pid
	c.mu.Unlock()
	pids := watchers(t, c.path)
	if len(pids) != 1 {
		t.Fatalf("there are %d watchers", len(pids))
	}
	of, err := readProcess(pids[0])
	if err != nil {
		t.Fatal(err)
	}
	if of.parent == getty || of.parent == os.Getpid() && os.Getpid() != 1 {
		t.Errorf("its parent is %d", of.parent)
	}
	if sid, err := unix.Getsid(pids[0]); err != nil || sid == getty || sid == unix.Getpid() {
		t.Errorf("its session is %d, %v", sid, err)
	}
	// What this test was started with is not theirs.
	others := append(filesOf(t, os.Getpid()), "/dev/null", "anon_inode:[pidfd]")
	for _, file := range filesOf(t, pids[0]) {
		if !slices.Contains(others, file) && !strings.HasPrefix(file, "/sys/fs/cgroup/") && !strings.HasPrefix(file, "anon_inode:[event") {
			t.Errorf("it holds %s", file)
		}
	}
	for _, file := range filesOf(t, getty) {
		if !slices.Contains(others, file) && file != c.path && !strings.HasPrefix(file, "socket:") { // of syslog
			t.Errorf("login holds %s", file)
		}
	}
	c.typed("exit\r")
	c.held()
	c.eventually("the watcher is gone", func() bool { return len(watchers(t, c.path)) == 0 })
	if n := len(c.records("gate-closed")); n != 0 {
		t.Errorf("the line was hung up %d times", n)
	}
}

// filesOf returns what a process has open.
func filesOf(t *testing.T, pid int) []string {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.ReadDir(dir) // none of a login of util-linux, as Debian 13 has it
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, fd := range fds {
		if target, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil {
			targets = append(targets, target)
		}
	}
	return targets
}

// watchers returns the processes that watch a terminal.
func watchers(t *testing.T, path string) []int {
	t.Helper()
	var pids []int
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil && strings.HasSuffix(string(text), "\x00"+argWatch+"\x00"+path+"\x00") {
			pid, err := strconv.Atoi(strings.Split(file, "/")[2])
			if err != nil {
				t.Fatal(err)
			}
			if of, err := readProcess(pid); err == nil && !of.dead() {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
