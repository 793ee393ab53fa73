package chain

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, lines := range [][]string{
		nil,
		{"/usr/bin/userdbctl ssh-authorized-keys %u", "/usr/bin/sss_ssh_authorizedkeys"},
		{"/opt/x/opkssh verify %u %k %t", `/opt/my\ program "%f a" 100%%`, "/opt/%x"},
	} {
		if err := Check(lines); err != nil {
			t.Errorf("%q: %v", lines, err)
		}
	}
	for line, want := range map[string]string{
		"":             "empty",
		"  ":           "empty",
		"userdbctl %u": "absolute path",
		"/opt/../x":    "absolute path",
		"/opt//x":      "absolute path",
		"/opt/./x":     "absolute path",
		"/":            "absolute path",
		"/opt/x/":      "absolute path",
		"/opt/x %h":    "%h is none of the tokens",
		"/opt/x %U":    "%U is none of the tokens",
		"/opt/x %":     "unescaped %",
		"/opt/x 'a":    "quote",
		"/opt/x a\nb":  "control character",
		"/opt/x \x00":  "control character",
		"/opt/x \x7f":  "control character",
	} {
		if err := Check([]string{"/ok %u", line}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
	many := slices.Repeat([]string{"/ok %u"}, maxCommands+1)
	if err := Check(many); err == nil {
		t.Error("too many commands are taken")
	}
	if err := Check(many[1:]); err != nil {
		t.Errorf("as many commands as may be: %v", err)
	}
}

func run(t *testing.T, ctx context.Context, lines ...string) []Result {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	return Run(ctx, lines, Call{User: "alice", Fingerprint: "SHA256:x", KeyType: "ssh-rsa", Key: "AAAA", Stderr: null, Root: "/"})
}

func TestJoin(t *testing.T) {
	t.Parallel()
	got := Join([]string{"%u", "/a", "-x", "%u", "/b %f", `"%k"`, "c d", "", "/e"})
	want := []string{"%u", "/a -x %u", `/b %f "%k"`, "c d", "", "/e"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Join(nil); got != nil {
		t.Errorf("of nothing: %q", got)
	}
}

func TestRun(t *testing.T) {
	for line, want := range map[string]string{
		`/bin/echo %u %f %t %k 100%% $HOME *`:    "alice SHA256:x ssh-rsa AAAA 100% $HOME *\n",
		`/bin/echo "two  words"`:                 "two  words\n",
		`/bin/echo`:                              "alice\n",
		`/bin/sh -c "printf 'a\\nb'"`:            "a\nb\n",
		`/bin/sh -c "exit 0"`:                    "",
		`/bin/sh -c "cat; echo read"`:            "read\n",
		`/bin/sh -c "pwd; umask; echo lost >&2"`: "/\n" + umask() + "\n",
		// It has the signals that this program was started with, which sshd resets.
		`/bin/sh -c "grep -E '^Sig(Blk|Ign)' /proc/self/status"`: signals(t),
	} {
		r := run(t, t.Context(), line)[0]
		if r.Err != nil || string(r.Output) != want || r.Line != line {
			t.Errorf("%s: %q, %v, want %q", line, r.Output, r.Err, want)
		}
	}
}

// signals returns what a program is given that os/exec starts here.
func signals(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("/bin/sh", "-c", "grep -E '^Sig(Blk|Ign)' /proc/self/status").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func umask() string {
	old := syscall.Umask(0)
	syscall.Umask(old)
	s := strconv.FormatInt(int64(old), 8)
	return strings.Repeat("0", 4-len(s)) + s
}

func TestEnvironment(t *testing.T) {
	t.Setenv("CHAIN_TEST", "kept")
	if r := run(t, t.Context(), `/bin/sh -c "echo $CHAIN_TEST"`)[0]; string(r.Output) != "kept\n" {
		t.Errorf("%q, %v", r.Output, r.Err)
	}
}

// One that fails leaves the others' answers and their order alone.
func TestFailures(t *testing.T) {
	t.Parallel()
	lines := []string{
		`/bin/sh -c "sleep 0.1; echo first"`,
		`/bin/sh -c "echo lost; exit 3"`,
		`/bin/sh -c "echo lost; kill -SEGV $$"`,
		`/none/such %u`,
		`/etc/passwd`,
		`/bin/sh -c "head -c 2000000 /dev/zero"`,
		`/bin/echo last`,
	}
	results := run(t, t.Context(), lines...)
	for i, want := range []string{"", "exited with status 3", "segmentation fault", "no such file", "cannot start: permission denied", "more than 1048576", ""} {
		r := results[i]
		switch {
		case want == "" && r.Err != nil:
			t.Errorf("%s: %v", r.Line, r.Err)
		case want != "" && (r.Err == nil || !strings.Contains(r.Err.Error(), want) || r.Output != nil):
			t.Errorf("%s: %q, %v, want %q", r.Line, r.Output, r.Err, want)
		}
	}
	if string(results[0].Output) != "first\n" || string(results[6].Output) != "last\n" {
		t.Errorf("%q, %q", results[0].Output, results[6].Output)
	}
}

func TestUnsafePath(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/program"
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho key\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if r := run(t, t.Context(), path)[0]; r.Err == nil || r.Output != nil {
		t.Errorf("a program below /tmp was run: %q", r.Output)
	}
}

func TestMissingToken(t *testing.T) {
	t.Parallel()
	r := Run(t.Context(), []string{"/bin/echo %u %k"}, Call{User: "alice", Root: "/", Stderr: os.Stderr})[0]
	if r.Err == nil || !strings.Contains(r.Err.Error(), "%u %f %t %k") {
		t.Errorf("%q, %v", r.Output, r.Err)
	}
}

// What hangs is killed with its children, however it hangs.
func TestHang(t *testing.T) {
	t.Parallel()
	pids := newFIFO(t)
	fifo := pids.Name()
	ctx, cancel := context.WithCancel(t.Context())
	var sleepers []unix.PollFd
	go func() {
		defer cancel()
		lines := bufio.NewScanner(pids)
		for range 3 {
			if !lines.Scan() {
				return
			}
			pid, _ := strconv.Atoi(lines.Text())
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				return
			}
			sleepers = append(sleepers, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
	}()
	results := run(t, ctx,
		`/bin/sh -c "echo key; trap '' TERM INT HUP; sh -c 'echo $$ > `+fifo+`; exec sleep 1000' & echo $$ > `+fifo+`; wait"`,
		`/bin/sh -c "echo key; exec >&-; echo $$ > `+fifo+`; exec sleep 1000"`)
	for _, r := range results {
		if !errors.Is(r.Err, errLate) || r.Output != nil {
			t.Errorf("%s: %q, %v", r.Line, r.Output, r.Err)
		}
	}
	if len(sleepers) != 3 {
		t.Fatalf("%d of them hang, want 3", len(sleepers))
	}
	for _, s := range sleepers {
		if !ends(s) {
			t.Error("a process lives on")
		}
		unix.Close(int(s.Fd))
	}
}

// ends waits until the process of a pidfd has ended.
func ends(pidfd unix.PollFd) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{pidfd}, 10_000)
		if err != unix.EINTR {
			return n == 1
		}
	}
}

// family is a command with a child, a grandchild that lost its parent, and one with a
// session of its own. Each of the four writes its pid into a FIFO and sleeps.
func family(fifo string) string {
	const one = "sh -c 'echo $$ > FIFO; exec sleep 1000'"
	return strings.ReplaceAll(`/bin/sh -c "`+one+` & (`+one+` &) ; setsid `+one+` & echo $$ > FIFO; wait"`, "FIFO", fifo)
}

// watch returns pidfds of as many processes as write their pids into a FIFO.
func watch(t *testing.T, fifo *os.File, n int) (watched []unix.PollFd) {
	t.Helper()
	lines := bufio.NewScanner(fifo)
	for range n {
		if !lines.Scan() {
			t.Fatal("a process did not start")
		}
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			unix.Close(fd)
		})
		watched = append(watched, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	return watched
}

func newFIFO(t *testing.T) *os.File {
	t.Helper()
	path := t.TempDir() + "/pids"
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	fifo, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fifo.Close() })
	return fifo
}

// TestEndsWithUs kills a program that waits for a command: every process of it ends.
func TestEndsWithUs(t *testing.T) {
	t.Parallel()
	const variable = "EIC_CHAIN_TEST_PIPE"
	if pipe := os.Getenv(variable); pipe != "" {
		run(t, t.Context(), family(pipe))
		return
	}
	for _, signal := range []os.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		fifo := newFIFO(t)
		us := exec.Command(os.Args[0], "-test.run=^TestEndsWithUs$")
		us.Env = append(os.Environ(), variable+"="+fifo.Name())
		if err := us.Start(); err != nil {
			t.Fatal(err)
		}
		watched := watch(t, fifo, 4)
		if err := us.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		us.Wait()
		for _, w := range watched {
			if !ends(w) {
				t.Errorf("%v: a process lives on", signal)
			}
		}
	}
}

// TestLateFamily: the same where the time of the command is over.
func TestLateFamily(t *testing.T) {
	t.Parallel()
	fifo := newFIFO(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan []Result, 1)
	go func() { done <- run(t, ctx, family(fifo.Name())) }()
	watched := watch(t, fifo, 4)
	cancel()
	if r := <-done; !errors.Is(r[0].Err, errLate) {
		t.Errorf("%v", r[0].Err)
	}
	for _, w := range watched {
		if !ends(w) {
			t.Error("a process lives on")
		}
	}
}

// What a command leaves behind when it exits is left alone, as sshd leaves it.
func TestLeftBehind(t *testing.T) {
	t.Parallel()
	fifo := newFIFO(t)
	r := run(t, t.Context(), `/bin/sh -c "sh -c 'exec >&-; echo $$ > `+fifo.Name()+`; exec sleep 1000' & echo key"`)
	if string(r[0].Output) != "key\n" || r[0].Err != nil {
		t.Errorf("%q, %v", r[0].Output, r[0].Err)
	}
	watched := watch(t, fifo, 1)
	if n, err := unix.Poll(watched, 0); n != 0 && err == nil {
		t.Error("it has ended")
	}
}
