package serialgate

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The installed program, with a push through the API's own code, from the locked
// line to a session and back.
func TestProgram(t *testing.T) {
	t.Parallel()
	c := newPort(t, `when_unreachable = "lock"`)
	c.supervise(installed, "--config", c.config, strings.TrimPrefix(c.path, "/dev/"), "--", "/sbin/agetty", "--noclear", "-o", `-p -- \u`, "--keep-baud", "115200", "-", "vt220")
	c.knock()
	c.expect(`locked \(not-pushed\)`)
	c.expect(`look again`)
	_, public, err := private.NewKey("program", "rsa", 2048)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.emulator.Push(c.id, c.user(), public, "arn:aws:sts::123456789012:assumed-role/oncall/bob"); err != nil {
		t.Fatal(err)
	}
	c.typed("\r")
	c.logIn()
	c.typed("id -un\r")
	c.expect(`\r\n` + account + `\r\n`)
	c.typed("exit\r")
	c.knock()
	c.expect(`locked \(already-used\)`)
	if opened := c.records("gate-opened"); len(opened) != 1 || opened[0].Field("EIC_CALLER") != "arn:aws:sts::123456789012:assumed-role/oncall/bob" {
		t.Errorf("the journal has %v", opened)
	}
}

// A login through the gate is, to the kernel, what it is without, however the gate was
// started.
func TestLoginAsWithoutGate(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(command ...string) []string{
		"started by systemd": func(command ...string) []string { return command },
		"started oddly":      oddly,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			loginAsWithoutGate(t, start)
		})
	}
}

func loginAsWithoutGate(t *testing.T, start func(command ...string) []string) {
	getty := []string{"/sbin/agetty", "-o", `-p -- \u`, "-", "vt220"}
	plain := newPort(t, "")
	if _, err := plain.startPlain(getty[0], getty[1:]...); err != nil {
		t.Fatal(err)
	}
	plain.logIn()
	gated := newPort(t, `when_unreachable = "lock"`)
	gated.env = []string{
		"JOURNAL_STREAM=8:1234", // of systemd with StandardError=journal
		"CREDENTIALS_DIRECTORY=/run/credentials/serial-getty@ttyS0.service", // which may have agetty.autologin or login.noauth
	}
	command := start(append([]string{installed, "--config", gated.config, gated.path, "--"}, getty...)...)
	if _, err := gated.start(command[0], command[1:]...); err != nil {
		t.Fatal(err)
	}
	gated.open(time.Minute)
	gated.logIn()
	for _, pid := range append(watchers(t, gated.path), gated.getty()) {
		if slices.Contains(filesOf(t, pid), "/dev/zero") {
			t.Errorf("process %d has a file that the gate was started with", pid)
		}
	}

	of := func(c *console, file string) string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", c.getty(), file))
		if err != nil {
			t.Fatal(err)
		}
		words := strings.SplitAfter(strings.ReplaceAll(string(text), c.path, "TTY"), "\x00")
		if file == "environ" {
			slices.Sort(words)
		}
		return strings.Join(words, "")
	}
	signals := func(c *console) string {
		var lines []string
		for line := range strings.Lines(of(c, "status")) {
			if name, _, _ := strings.Cut(line, ":"); strings.HasPrefix(name, "Sig") && name != "SigQ" || strings.HasPrefix(name, "Cap") || name == "NoNewPrivs" || name == "Seccomp" || name == "Umask" || name == "Uid" || name == "Groups" {
				lines = append(lines, line)
			}
		}
		return strings.Join(lines, "")
	}
	if a, b := signals(plain), signals(gated); a != b || a == "" {
		t.Errorf("without the gate\n%s\nwith it\n%s", a, b)
	}
	for _, file := range []string{"limits", "environ", "cmdline", "oom_score_adj", "timerslack_ns"} {
		if a, b := of(plain, file), of(gated, file); a != b {
			t.Errorf("%s: without the gate\n%q\nwith it\n%q", file, a, b)
		}
	}
	shell := func(c *console) string {
		// Not of the shell itself: dash blocks all signals at times while it waits.
		c.typed("stty -a; ulimit -a; env | sort; grep ^Sig /proc/self/status; echo end-$((1+1))\r")
		return strings.ReplaceAll(strings.ReplaceAll(c.expect(`(?s)speed.*end-2`), c.path, "TTY"), "pts", "")
	}
	strip := func(s string) string {
		var kept []string
		for line := range strings.Lines(s) {
			if !strings.HasPrefix(line, "SigQ") {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "")
	}
	if a, b := strip(shell(plain)), strip(shell(gated)); a != b {
		t.Errorf("the shell without the gate\n%s\nwith it\n%s", a, b)
	}
}

// Others than root can neither hold a console nor have the program record what they
// make up.
func TestOnlyRoot(t *testing.T) {
	t.Parallel()
	c := newPort(t, "")
	who, err := private.Account(account)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(c.path, int(who.Uid), -1); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{argWatch, c.path}, {argFork, c.path}, {c.path}} {
		// As a child of process 1, which this may be, it would wait for a minute.
		cmd := exec.Command("/bin/sh", append([]string{"-c", `"$@"; exit $?`, "sh", installed}, args...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
		cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"TTY":"made up","PID":%d,"Limits":{"Session":1},"Event":{"Kind":"gate-opened"}}`, os.Getpid()))
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "must run as root") {
			t.Errorf("%q: %s, %v", args, out, err)
		}
	}
	records, err := private.Records()
	for _, r := range records {
		if strings.Contains(r.Field("MESSAGE"), "made up") {
			t.Errorf("the journal has %q", r.Field("MESSAGE"))
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// While nobody is there the program does nothing, asks nothing, and is small.
func TestIdle(t *testing.T) {
	t.Parallel()
	c := newPort(t, `when_unreachable = "lock"`)
	c.supervise(installed, "--config", c.config, c.path)
	c.held()
	quiet := func(what string) {
		t.Helper()
		c.eventually("all threads sleep", func() bool {
			before := switches(t, c.getty())
			time.Sleep(300 * time.Millisecond)
			return switches(t, c.getty()) == before
		})
		requests := c.emulator.RequestCount()
		before := switches(t, c.getty())
		time.Sleep(5 * time.Second)
		// Go's runtime wakes a thread of its own once a minute, for a moment.
		if n := switches(t, c.getty()) - before; n > 3 {
			t.Errorf("%s: woke up %d times in 5 seconds", what, n)
		}
		if n := c.emulator.RequestCount() - requests; n != 0 {
			t.Errorf("%s: %d requests", what, n)
		}
		if kib := status(t, c.getty(), "VmRSS"); kib > 15<<10 {
			t.Errorf("%s: it takes %d KiB", what, kib)
		}
		t.Logf("%s: %d KiB, of them %d KiB its own", what, status(t, c.getty(), "VmRSS"), status(t, c.getty(), "RssAnon"))
	}
	quiet("at first")
	if n := c.emulator.RequestCount(); n != 0 {
		t.Errorf("before an Enter there were %d requests", n)
	}
	c.typed("\r")
	c.expect(`locked \(not-pushed\)`)
	c.expect(`look again`)
	quiet("after an attempt")
	// One socket is journald's.
	inherited := filesOf(t, os.Getpid())
	sockets := slices.DeleteFunc(filesOf(t, c.getty()), func(file string) bool {
		return !strings.HasPrefix(file, "socket:") || slices.Contains(inherited, file)
	})
	if len(sockets) > 1 {
		t.Errorf("after an attempt it holds %q", sockets)
	}

	c.push(c.user(), time.Minute)
	c.typed("\r")
	c.logIn()
	for _, pid := range watchers(t, c.path) {
		if kib := status(t, pid, "VmRSS"); kib > 15<<10 {
			t.Errorf("the watcher takes %d KiB", kib)
		} else {
			t.Logf("watcher: %d KiB, of them %d KiB its own", kib, status(t, pid, "RssAnon"))
		}
		before := switches(t, pid)
		time.Sleep(2 * time.Second)
		if n := switches(t, pid) - before; n > 3 {
			t.Errorf("the watcher woke up %d times in 2 seconds", n)
		}
	}
}

// switches returns how often the threads of a process have gone to sleep.
func switches(t *testing.T, pid int) int {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil || len(tasks) == 0 {
		t.Fatal(len(tasks), err)
	}
	n := 0
	for _, task := range tasks {
		n += field(t, task+"/status", "voluntary_ctxt_switches")
	}
	return n
}

// status returns a number of /proc/PID/status.
func status(t *testing.T, pid int, name string) int {
	t.Helper()
	return field(t, fmt.Sprintf("/proc/%d/status", pid), name)
}

func field(t *testing.T, file, name string) int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s has no %s", file, name)
	return 0
}
