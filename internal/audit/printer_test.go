package audit

import (
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/test/need"
)

// logEach logs an event of each kind to stderr alone.
func logEach(stderr *os.File) {
	p := newPrinter("prog", stderr)
	p.out.limit = time.Hour
	l := &Logger{zap: zap.New(p.core())}
	for _, k := range []Kind{KeyProvided, RecordRefused, RunFailed, NothingToSay} {
		l.Log(Event{Kind: k, Message: string(k) + "\nsecond\x1b[2J", User: "alice"})
	}
}

func TestStderrIsPipe(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	logEach(w)
	w.Close()
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if want := "prog: run-failed\uFFFDsecond\uFFFD[2J\n"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStderrIsTerminal(t *testing.T) {
	t.Parallel()
	master, terminal := openPTY(t)
	logEach(terminal)
	var want strings.Builder
	for _, k := range []Kind{KeyProvided, RecordRefused, RunFailed, NothingToSay} {
		want.WriteString("prog: " + string(k) + "\uFFFDsecond\uFFFD[2J\r\n")
	}
	got := make([]byte, want.Len())
	if _, err := io.ReadFull(master, got); err != nil {
		t.Fatal(err)
	}
	if string(got) != want.String() {
		t.Errorf("got %q, want %q", got, want.String())
	}
}

func TestStderrHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		p := &printer{program: "prog", w: w, out: outlet{limit: sendLimit}, isTerminal: func() bool { return false }, takes: func() bool { return false }}
		start := time.Now()
		for range 3 {
			p.write(zapcore.ErrorLevel, "m", nil)
		}
		if got := time.Since(start); got != sendLimit {
			t.Errorf("took %v, want %v", got, sendLimit)
		}
		r.Close()
	})
}

// A line that the kernel takes waits for its turn on a busy host; one that it does not
// take soon counts as hung.
func TestStderrOnBusyHost(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if !newPrinter("prog", w).takes() {
		t.Error("an empty pipe takes nothing")
	}
	if err := w.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 4096); err == nil; {
		_, err = w.Write(block)
	}
	if newPrinter("prog", w).takes() {
		t.Error("a full pipe takes something")
	}
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		p := &printer{program: "prog", w: w, out: outlet{limit: sendLimit}, isTerminal: func() bool { return false }, takes: func() bool { return true }}
		go func() {
			time.Sleep(10 * sendLimit) // until this process had its turn
			io.Copy(io.Discard, r)
		}()
		p.write(zapcore.ErrorLevel, "m", nil)
		if p.out.hung {
			t.Error("the line is lost")
		}
		w.Close()
	})
}

// openPTY returns both ends of a new pseudo-terminal.
func openPTY(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		need.Missing(t, "needs a pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return master, terminal
}
