package serialgate

import (
	"testing"
	"time"
)

func TestAttempts(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var a attempts
	for i, want := range []int{1, 2, 4, 8, 15, 15, 15} {
		now = now.Add(time.Minute)
		if got := a.fail(now); got != time.Duration(want)*time.Second {
			t.Errorf("failure %d: %v, want %d s", i+1, got, want)
		}
	}
	for range 1000 {
		if got := a.fail(now); got != maxWait {
			t.Fatalf("after many failures: %v", got)
		}
	}
	now = now.Add(forgiven)
	if got := a.fail(now); got != maxWait {
		t.Errorf("not yet forgiven: %v", got)
	}
	now = now.Add(forgiven + time.Second)
	if got := a.fail(now); got != firstWait {
		t.Errorf("after a quiet time: %v", got)
	}
}
