package audit

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"golang.org/x/sys/unix"
)

// tooLong is far above what Log may take even on a busy host, and far below
// for ever.
const tooLong = 10 * time.Second

func scenarios() map[string]func(*world) {
	return map[string]func(*world){
		"journald":      playJournald,
		"frozen":        playFrozen,
		"frozen+syslog": playFrozenSyslog,
		"recovers":      playRecovers,
		"syslog":        playSyslog,
		"frozen syslog": playFrozenSyslogOnly,
		"nothing":       playNothing,
		"benchmark":     playBenchmark,
		"slow":          playSlow,
		"busy":          playBusy,
		"busy event":    playBusyEvent,
	}
}

// recorder returns a Logger without a terminal.
func recorder(program string) *Logger { return New(program, nil) }

// A daemon that hung is not waited for again, and several events keep the deadline.
func TestLimit(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, c := range []struct {
		deadline, hungAt time.Time
		want             time.Duration
	}{
		{want: slowTime},
		{deadline: now.Add(time.Hour), want: slowTime},
		{deadline: now.Add(time.Second), want: time.Second / 4},
		{deadline: now.Add(-time.Second), want: 0},
		{hungAt: now, want: 0},
		{hungAt: now.Add(-hungFor), want: slowTime},
	} {
		s := newSystem("prog")
		s.deadline, s.hungAt = c.deadline, c.hungAt
		if got := s.limit(now); got != c.want {
			t.Errorf("%+v: %v, want %v", c, got, c.want)
		}
	}
}

// logInTime logs e and fails when that takes far longer than it may.
func (w *world) logInTime(l *Logger, e Event) {
	start := time.Now()
	l.Log(e)
	if took := time.Since(start); took > tooLong {
		w.fatalf("logging %s took %v", e.Kind, took)
	}
}

func TestJournald(t *testing.T) {
	t.Parallel()
	inWorld(t, "journald", "")
}

func playJournald(w *world) {
	w.startJournald()
	log := w.syslogSocket()
	l := recorder("eic-authkeys")
	full := fullEvent()
	l.Log(full)
	l.Log(Event{Kind: NothingToSay, Message: "nothing was pushed for alice"})
	l.Log(Event{Kind: RecordRefused, Message: "m\nPRIORITY=0\nMESSAGE=forged", User: "x\nEIC_PORT=9\n\x1b"})
	l.Log(Event{Kind: RunFailed, Message: "cannot determine the keys"})
	if n, _, err := unix.Recvfrom(log, make([]byte, 1), unix.MSG_DONTWAIT); err != unix.EAGAIN {
		w.fatalf("syslog has what journald took: %d, %v", n, err)
	}

	w.journalctl("--sync")
	wants := []map[string]string{fullFields(), {
		"MESSAGE_ID": RecordRefused.messageID(),
		"EIC_EVENT":  "record-refused",
		"EIC_USER":   "x\uFFFDEIC_PORT=9\uFFFD\uFFFD",
		"MESSAGE":    "m\uFFFDPRIORITY=0\uFFFDMESSAGE=forged",
		"PRIORITY":   "4",
	}, {
		"MESSAGE_ID": RunFailed.messageID(),
		"EIC_EVENT":  "run-failed",
		"MESSAGE":    "cannot determine the keys",
		"PRIORITY":   "3",
	}}
	wants[0]["MESSAGE"], wants[0]["PRIORITY"] = full.Message, "6"
	lines := strings.Split(strings.TrimSpace(w.journalctl("-o", "json", "SYSLOG_IDENTIFIER=eic-authkeys")), "\n")
	if len(lines) != len(wants) {
		w.fatalf("got %d records, want %d: %q", len(lines), len(wants), lines)
	}
	for i, want := range wants {
		want["SYSLOG_IDENTIFIER"], want["SYSLOG_FACILITY"] = "eic-authkeys", "10"
		want["EIC_SCHEMA"] = "1"
		var got map[string]any
		w.must(json.Unmarshal([]byte(lines[i]), &got))
		for name, value := range want {
			if got[name] != value {
				w.fatalf("record %d: %s is %q, want %q", i, name, got[name], value)
			}
		}
		for name := range got {
			if _, ok := want[name]; !ok && !strings.HasPrefix(name, "_") {
				w.fatalf("record %d: has %s=%q", i, name, got[name])
			}
		}
	}
}

func TestJournaldFrozen(t *testing.T) {
	t.Parallel()
	inWorld(t, "frozen", "prog: cannot determine the keys\n")
}

func playFrozen(w *world) {
	w.freeze(w.startJournald(), journalSocket)
	l := New("prog", os.Stderr)
	for _, k := range []Kind{KeyProvided, RecordRefused, KeyProvided} {
		w.logInTime(l, Event{Kind: k, Message: "m"})
	}
	w.logInTime(l, Event{Kind: RunFailed, Message: "cannot determine the keys"})
}

// A full queue is no reason to lose the event where there is a syslog.
func TestJournaldFrozenWithSyslog(t *testing.T) {
	t.Parallel()
	inWorld(t, "frozen+syslog", "")
}

func playFrozenSyslog(w *world) {
	w.freeze(w.startJournald(), journalSocket)
	log := w.syslogSocket()
	l := recorder("prog")
	for _, message := range []string{"one", "two"} {
		w.logInTime(l, Event{Kind: KeyProvided, Message: message})
		if got := w.receive(log); !strings.Contains(got, ": "+message+" EIC_EVENT=key-provided EIC_SCHEMA=1\n") {
			w.fatalf("syslog got %q", got)
		}
	}
}

// A journald that was full once is used again, and learns what was lost.
func TestJournaldRecovers(t *testing.T) {
	t.Parallel()
	inWorld(t, "recovers", "")
}

func playRecovers(w *world) {
	p := w.startJournald()
	w.freeze(p, journalSocket)
	count := "/run/lost"
	for range 2 { // as two runs
		l := recorder("prog")
		l.CountLosses(count)
		w.logInTime(l, Event{Kind: KeyProvided, Message: "lost"})
	}
	w.must(p.Signal(unix.SIGCONT))
	w.eventually("there is room", func() bool { return deliver(journalSocket, filler, 0, nil) == nil })
	for range 2 {
		l := recorder("prog")
		l.CountLosses(count)
		l.Log(Event{Kind: KeyProvided, Message: "kept"})
	}
	w.journalctl("--sync")
	want := "kept; earlier messages that neither journald nor syslog accepted: 2\nkept\n"
	if got := w.journalctl("-o", "cat", "SYSLOG_IDENTIFIER=prog"); got != want {
		w.fatalf("journal has %q", got)
	}
	if got := w.journalctl("-o", "cat", "EIC_LOST=2"); !strings.HasPrefix(want, got) || got == "" {
		w.fatalf("journal has %q", got)
	}
}

// A syslog daemon that is slow is waited for.
func TestSyslogSlow(t *testing.T) {
	t.Parallel()
	inWorld(t, "slow", "")
}

func playSlow(w *world) {
	log := w.syslogSocket()
	w.freeze(nil, syslogSocket)
	s := newSystem("prog")
	s.patience = time.Hour
	go func() {
		// Long after what is taken for a hang of journald. It reads all there is.
		time.Sleep(20 * hangTime)
		for !strings.Contains(w.receive(log), ": late ") {
		}
	}()
	if !s.handOver(journal.PriInfo, "late", Encode(Event{Kind: KeyProvided})) {
		w.fatalf("it was not waited for")
	}
}

func TestSyslog(t *testing.T) {
	t.Parallel()
	inWorld(t, "syslog", "")
}

func playSyslog(w *world) {
	log := w.syslogSocket()
	l := recorder("eic-authkeys")
	for _, tt := range []struct {
		kind Kind
		pri  int
	}{{KeyProvided, 10<<3 | 6}, {RecordRefused, 10<<3 | 4}, {RunFailed, 10<<3 | 3}, {ChainFailed, 10<<3 | 4}, {GateBrokenGlass, 10<<3 | 2}} {
		l.Log(Event{Kind: NothingToSay, Message: "not for syslog"})
		l.Log(Event{Kind: tt.kind, Message: "a\nb", User: "alice", Caller: "x y\n<0>forged"})
		want := fmt.Sprintf(`^<%d>[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d eic-authkeys\[%d\]: `+
			"a\uFFFDb EIC_EVENT=%s EIC_USER=alice EIC_CALLER=\"x y\uFFFD<0>forged\" EIC_SCHEMA=1\n$", tt.pri, os.Getpid(), tt.kind)
		if got := w.receive(log); !regexp.MustCompile(want).MatchString(got) {
			w.fatalf("got  %q\nwant %q", got, want)
		}
	}
}

func TestSyslogFrozen(t *testing.T) {
	t.Parallel()
	inWorld(t, "frozen syslog", "prog: m\n")
}

func playFrozenSyslogOnly(w *world) {
	w.syslogSocket()
	w.freeze(nil, "/dev/log")
	l := New("prog", os.Stderr)
	for _, k := range []Kind{KeyProvided, RecordRefused, ChainFailed, RunFailed} {
		w.logInTime(l, Event{Kind: k, Message: "m"})
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	inWorld(t, "nothing", "prog: m\n")
}

func playNothing(w *world) {
	l := New("prog", os.Stderr)
	for _, k := range []Kind{KeyProvided, RecordRefused, NothingToSay, RunFailed} {
		w.logInTime(l, Event{Kind: k, Message: "m"})
	}
	l = New("prog", nil)
	w.logInTime(l, Event{Kind: RunFailed, Message: "m"})
}

// BenchmarkLog measures one event to a live journald.
func BenchmarkLog(b *testing.B) {
	ns, err := strconv.ParseFloat(inWorld(b, "benchmark", "", "EIC_AUDIT_TEST_N="+strconv.Itoa(b.N)), 64)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(ns, "ns/op")
}

func playBenchmark(w *world) {
	n, err := strconv.Atoi(os.Getenv("EIC_AUDIT_TEST_N"))
	w.must(err)
	w.startJournald()
	l := recorder("eic-authkeys")
	e := fullEvent()
	start := time.Now()
	for range n {
		l.Log(e)
	}
	fmt.Fprint(w.report, float64(time.Since(start))/float64(n))
}
