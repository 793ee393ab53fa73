package serialgate

import "time"

// attempts slows down repeated tries. Nobody is locked out: the
// wait is bounded, and a quiet line is as good as new.
type attempts struct {
	failed int
	last   time.Time
}

const (
	firstWait = time.Second
	// maxWait leaves time for several attempts within the life of a key.
	maxWait = 15 * time.Second
	// forgiven is how long after a failure the next one counts as the first.
	forgiven = 5 * time.Minute
)

// fail counts a failure at the time now, and returns how long the next attempt
// has to wait: twice as long as the one before.
func (a *attempts) fail(now time.Time) time.Duration {
	if now.Sub(a.last) > forgiven {
		a.failed = 0
	}
	a.last = now
	a.failed++
	return min(firstWait<<min(a.failed-1, 10), maxWait)
}
