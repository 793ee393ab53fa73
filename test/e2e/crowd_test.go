package e2e

import (
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/test/crowd"
)

// Two hundred logins at once, while the metadata service throttles.
func TestCrowds(t *testing.T) {
	for name, users := range map[string]int{"one user": 1, "a user each": 200} {
		t.Run(name, func(t *testing.T) {
			result, err := crowd.Run(w.Host, credential(t), crowd.Options{Calls: 200, Users: users, Rate: 300, Cached: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("slowest %v, %d requests, %d of them throttled", result.Slowest, result.Requests, result.Throttled)
			if result.Granted != 200 {
				t.Errorf("%d of 200 calls got the key; the others said %q", result.Granted, result.Failures)
			}
			if result.Slowest > 4*time.Second {
				t.Errorf("the slowest call took %v", result.Slowest)
			}
		})
	}
}
