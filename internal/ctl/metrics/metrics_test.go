package metrics

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/test/journalfile"
)

func event(i int, kind string, more ...string) journalfile.Entry {
	e := journalfile.Entry{
		"SYSLOG_IDENTIFIER": "eic-authkeys", "_PID": fmt.Sprint(2000 + i), "_UID": "990", "MESSAGE": fmt.Sprint(i), "EIC_EVENT": kind,
		"__REALTIME_TIMESTAMP": fmt.Sprint(1700000000000000 + i*1000000), "__MONOTONIC_TIMESTAMP": fmt.Sprint(1000 + i*1000000),
	}
	for _, field := range more {
		name, value, _ := strings.Cut(field, "=")
		e[name] = value
	}
	return e
}

// count counts the journal in dir from a state on, and returns what is not 0.
func count(t *testing.T, s *State, dir string) map[string]uint64 {
	t.Helper()
	journalfile.Need(t)
	if err := s.count(t.Context(), Options{Trust: journal.Trust{UIDs: []uint64{990}}, directory: dir}); err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]uint64)
	for _, e := range countedEvents() {
		for _, sample := range s.samples(e) {
			name := e.name
			for _, l := range sample.Labels {
				name += " " + l.Value
			}
			if sample.Value != 0 {
				counts[name] = uint64(sample.Value)
			}
		}
	}
	if s.Lost > 0 {
		counts["lost"] = s.Lost
	}
	return counts
}

func newState(t *testing.T) *State {
	t.Helper()
	s, err := load("")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	gate := []string{"SYSLOG_IDENTIFIER=eic-serial-getty", "_UID=0"}
	journalfile.Write(t, filepath.Join(dir, "a.journal"),
		event(0, "key-provided"), event(1, "key-provided", "EIC_LOST=3"), event(2, "key-provided", "_UID=1000"),
		event(3, "record-refused", "EIC_REASON=expired"), event(4, "record-refused", "EIC_REASON=made-up"),
		event(5, "run-failed", "EIC_REASON=imds-unreachable"), event(6, "would-refuse", "EIC_REASON=user-denied"),
		event(7, "gate-opened", gate...), event(8, "gate-refused", append(gate, "EIC_REASON=not-pushed")...),
		event(9, "gate-broken-glass", append(gate, "EIC_REASON=imds-unreachable")...), event(10, "gate-failed", append(gate, "EIC_REASON=getty-failed")...),
		event(11, "gate-closed", gate...), event(12, "chain-failed", "EIC_REASON=chain-failed"), event(13, "new-event"),
	)
	want := map[string]uint64{
		"eic_keys_provided_total": 2, "eic_records_refused_total expired": 1, "eic_records_refused_total other": 1,
		"eic_runs_failed_total imds-unreachable": 1, "eic_records_would_refuse_total user-denied": 1, "eic_chain_failed_total": 1,
		"eic_gates_opened_total": 1, "eic_gates_refused_total not-pushed": 1, "eic_gates_opened_without_key_total": 1,
		"eic_gates_failed_total getty-failed": 1, "lost": 3,
	}
	s := newState(t)
	for range 2 { // a record counts once
		if got := count(t, s, dir); !maps.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	}
}

// The counters go on after what they counted is gone from the journal, and after a
// restart of the follower.
func TestCountersSurvive(t *testing.T) {
	t.Parallel()
	first, second := t.TempDir(), t.TempDir()
	journalfile.Write(t, filepath.Join(first, "a.journal"), event(0, "key-provided"), event(1, "key-provided"))
	state := filepath.Join(t.TempDir(), "sub", "state")
	s := newState(t)
	count(t, s, first)
	if err := (&Snapshot{state: *s}).Save(state); err != nil {
		t.Fatal(err)
	}
	journalfile.Write(t, filepath.Join(second, "b.journal"), event(2, "key-provided"), event(3, "record-refused", "EIC_REASON=expired"))
	again, err := load(state)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]uint64{"eic_keys_provided_total": 3, "eic_records_refused_total expired": 1}
	if got := count(t, again, second); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A state that cannot be used is an error: beginning again without a word would look
// like a restart.
func TestBrokenState(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty": "", "cut off": `{"schema":1,"counts":{"a"`, "of another version": `{"schema":2,"counts":{}}`, "another file": `{"a":1}`,
	} {
		path := filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if s, err := load(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	if _, err := load(filepath.Join(t.TempDir(), "none")); err != nil {
		t.Errorf("no state: %v", err)
	}
}

func TestAlive(t *testing.T) {
	t.Parallel()
	now := time.Now()
	pid := uint64(os.Getpid())
	for name, c := range map[string]struct {
		open Open
		want bool
	}{
		"this process":    {Open{pid, now}, true},
		"one before it":   {Open{pid, now.Add(-time.Hour)}, false},
		"no such process": {Open{1 << 30, now}, false},
	} {
		if got := c.open.alive(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	var s Snapshot
	s.add("eic_x", gauge, "What it is.", Sample{[]Label{{"a", "b\"\\\n"}, {"c", "d"}}, 1}, Sample{Value: 1700000000})
	s.add("eic_y_total", counter, "None.")
	want := `# HELP eic_x What it is.
# TYPE eic_x gauge
eic_x{a="b\"\\\n",c="d"} 1
eic_x 1700000000
# HELP eic_y_total None.
# TYPE eic_y_total counter
`
	if got := s.Text(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A setting that differs changes the digest, wherever it is in a file.
func TestDigest(t *testing.T) {
	t.Parallel()
	digest := func(text string) string {
		cfg, err := config.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return Digest(cfg)
	}
	if a, b := digest(""), digest("# nothing\n[keys]\nmax_lifetime = \"1m\"\n"); a != b || len(a) != 16 {
		t.Errorf("the same settings: %q and %q", a, b)
	}
	seen := make(map[string]string)
	for _, text := range []string{"", "[users]\ndeny = [\"a\"]", "[users]\nallow = [\"a\"]", "[users]\nenforce = false", "[keys]\nmax_lifetime = \"30s\"", "[serial]\nidle_timeout = \"5m\"", "[trust]\nroots = \"system\""} {
		if other, ok := seen[digest(text)]; ok {
			t.Errorf("%q and %q have one digest", text, other)
		}
		seen[digest(text)] = text
	}
}
