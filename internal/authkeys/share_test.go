package authkeys

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/keycache"
)

// A slowMetadata takes its time for an answer, and counts the requests by path.
type slowMetadata struct {
	entries map[string][]byte
	mu      sync.Mutex
	asked   map[string]int
}

func (s *slowMetadata) Get(ctx context.Context, path string, limit int) ([]byte, error) {
	s.mu.Lock()
	s.asked[path]++
	s.mu.Unlock()
	select {
	case <-time.After(20 * time.Millisecond):
	case <-ctx.Done():
	}
	return (&fakeMetadata{s.entries, make(chan string, 1)}).Get(ctx, path, limit)
}

// Runs at the same time share what they fetch: those for one user and key the records,
// and all of them the signing chain. One that begins just when another is done may
// ask once more. What is asked for anyway, without a fingerprint, is not waited for.
func TestRunsShareFetches(t *testing.T) {
	t.Parallel()
	const runs, most = 8, 3
	for name, test := range map[string]struct {
		user   func(i int) string
		filter bool
		keys   int // requests for records, at most
	}{
		"one user":              {func(int) string { return "alice" }, true, most},
		"a user each":           {func(i int) string { return fmt.Sprintf("alice%d", i) }, true, runs},
		"without a fingerprint": {func(int) string { return "alice" }, false, runs},
	} {
		// On a host that is too busy the patience of those that wait ends first.
		for took := time.Hour; took > time.Second; {
			c := newCached(t, config.AttestAuto)
			metadata := &slowMetadata{entries: c.metadata.entries, asked: make(map[string]int)}
			filter := fingerprint.Filter{}
			if test.filter {
				filter = c.filters["alice"]
			}
			for i := range runs {
				metadata.entries[keysPath+test.user(i)+"/"] = metadata.entries[keysPath+"alice/"]
			}
			begin := time.Now()
			var wait sync.WaitGroup
			for i := range runs {
				cache, err := keycache.Open(c.dir)
				if err != nil {
					t.Fatal(err)
				}
				defer cache.Close()
				agent := *c.agent
				agent.Cache, agent.Metadata = cache, metadata
				wait.Go(func() {
					answer, err := agent.Run(t.Context(), test.user(i), filter)
					if err != nil || string(answer.Lines) != c.lines["alice"] {
						t.Errorf("%s: printed %q, %v", name, answer.Lines, err)
					}
				})
			}
			wait.Wait()
			if took = time.Since(begin); took > time.Second {
				continue
			}
			keys := 0
			for i := range runs {
				path := keysPath + test.user(i) + "/"
				keys += metadata.asked[path]
				delete(metadata.asked, path)
			}
			if chains := metadata.asked[chainPath]; keys > test.keys || chains > most {
				t.Errorf("%s: records were asked for %d times, the chain %d times, want at most %d and %d", name, keys, chains, test.keys, most)
			}
			locks, err := filepath.Glob(filepath.Join(c.dir, "keys-*.lock"))
			if err != nil || (len(locks) > 0) != test.filter {
				t.Errorf("%s: the locks are %q, %v", name, locks, err)
			}
		}
	}
}
