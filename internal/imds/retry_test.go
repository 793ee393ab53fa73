package imds

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A wait that does not fit before the deadline is cut short for one last attempt.
func TestSleep(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, test := range map[string]struct {
		left, wait, took time.Duration
		again            bool
	}{
		"it fits":            {1000 * ms, 100 * ms, 100 * ms, true},
		"it just fits":       {1000 * ms, 950 * ms, 950 * ms, true},
		"it is too long":     {1000 * ms, 951 * ms, 750 * ms, true},
		"far too long":       {251 * ms, time.Hour, 1 * ms, true},
		"no time is left":    {249 * ms, 200 * ms, 0, false},
		"short at the end":   {100 * ms, 50 * ms, 50 * ms, true},
		"no wait":            {50 * ms, 0, 0, true},
		"no wait, no time":   {49 * ms, 0, 0, false},
		"without a deadline": {0, time.Hour, time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if test.left > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.left)
					defer cancel()
				}
				start := time.Now()
				again := sleep(ctx, test.wait)
				if took := time.Since(start); again != test.again || took != test.took {
					t.Errorf("%v after %v, want %v after %v", again, took, test.again, test.took)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if sleep(ctx, time.Hour) {
			t.Error("it goes on after the context has ended")
		}
	})
}
