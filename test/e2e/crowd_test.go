package e2e

import (
	"testing"

	"github.com/eic-agent/eic-agent/test/crowd"
)

// Many logins at once, while the metadata service throttles: each gets its key, and none
// by asking until it is let through. The crowd is small enough for a busy machine to have
// room within the deadline; make bench times larger ones.
func TestCrowds(t *testing.T) {
	const calls = 50
	for name, users := range map[string]int{"one user": 1, "a user each": calls} {
		t.Run(name, func(t *testing.T) {
			result, err := crowd.Run(w.Host, credential(t), crowd.Options{Calls: calls, Users: users, Rate: 75, Cached: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("slowest %v, %d requests, %d of them throttled", result.Slowest, result.Requests, result.Throttled)
			if result.Granted != calls {
				t.Errorf("%d of %d calls got the key; the others said %q", result.Granted, calls, result.Failures)
			}
			if result.Throttled == 0 {
				t.Error("nothing was throttled")
			}
			if result.Requests > 12*calls {
				t.Errorf("%d calls made %d requests", calls, result.Requests)
			}
		})
	}
}
