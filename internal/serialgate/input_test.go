package serialgate

import (
	"testing"
	"time"
)

// A clock that is set costs nobody his session.
func TestInput(t *testing.T) {
	t.Parallel()
	start := time.Now()
	i := input{last: start, at: start, seen: start.Round(0)}
	look := func(after time.Duration, access time.Time) (idle time.Duration, changed bool) {
		now := start.Add(after)
		changed = i.observe(access, now)
		return now.Sub(i.last), changed
	}
	wall := start.Round(0)
	for _, step := range []struct {
		after  time.Duration
		access time.Time
		idle   time.Duration
		typed  bool
		what   string
	}{
		{time.Minute, wall, time.Minute, false, "nobody typed"},
		{2 * time.Minute, wall.Add(90 * time.Second), 30 * time.Second, true, "typed half a minute ago"},
		{3 * time.Minute, wall.Add(90 * time.Second), 90 * time.Second, false, "nobody typed since"},
		{4 * time.Minute, wall.Add(-time.Hour), time.Minute, true, "typed after the clock was set back: at most since the last look"},
		{5 * time.Minute, wall.Add(time.Hour), 0, true, "typed after the clock was set ahead: just now"},
		{6 * time.Minute, wall.Add(time.Hour), time.Minute, false, "nobody typed since"},
	} {
		if idle, typed := look(step.after, step.access); idle != step.idle || typed != step.typed {
			t.Errorf("%s: idle for %v, typed %v; want %v, %v", step.what, idle, typed, step.idle, step.typed)
		}
	}
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	const rest = " 55 66 66 34816 66 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2"
	for line, want := range map[string]process{
		"77 (login) S" + rest:        {"login", 'S', 55, 987654},
		"77 (a) Z (b) R 1) Z" + rest: {"a) Z (b) R 1", 'Z', 55, 987654},
		"77 () X" + rest:             {"", 'X', 55, 987654},
	} {
		if got, err := parseStat(line); got != want || err != nil {
			t.Errorf("%q: %+v, %v", line, got, err)
		}
	}
	for _, line := range []string{"", "77", "77 (login", "77 login) S" + rest, "77 (login) S 55", "77 (login) S x" + rest} {
		if got, err := parseStat(line); err == nil || got != (process{}) {
			t.Errorf("%q: %+v, %v", line, got, err)
		}
	}
}
