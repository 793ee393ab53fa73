package e2e

import (
	"testing"

	"github.com/eic-agent/eic-agent/test/crowd"
)

// Many logins at once, while the metadata service throttles: each gets its key, and none
// by asking until it is let through. Only on a machine that is too busy to answer in time do
// some go without.
func TestCrowds(t *testing.T) {
	const calls = 30
	for name, users := range map[string]int{"one user": 1, "a user each": calls} {
		t.Run(name, func(t *testing.T) {
			result, err := crowd.Run(w.Host, credential(t), crowd.Options{Calls: calls, Users: users, Cached: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d requests, %d of them throttled; %d calls had no answer in time", result.Requests, result.Throttled, result.Late)
			if result.Granted == 0 || len(result.Failures) > 0 {
				t.Errorf("%d of %d calls got the key; others said %q", result.Granted, calls, result.Failures)
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
