package audit

import "time"

// sendLimit is how long one send may take before it counts as hung. A send
// that does not hang takes microseconds on an idle host.
const sendLimit = 50 * time.Millisecond

// An outlet sends to a destination that may hang. It is not safe for concurrent use.
type outlet struct {
	limit time.Duration
	hung  bool
}

// send calls f and reports whether it succeeded within the limit. The first f
// that did not is abandoned, and the outlet is not tried again: what f uses
// must be its own.
func (o *outlet) send(f func() error) bool {
	if o.hung {
		return false
	}
	done := make(chan error, 1)
	go func() { done <- f() }()
	timer := time.NewTimer(o.limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return err == nil
	case <-timer.C:
	}
	// On a busy host both may have happened before we ran again.
	select {
	case err := <-done:
		return err == nil
	default:
		o.hung = true
		return false
	}
}
