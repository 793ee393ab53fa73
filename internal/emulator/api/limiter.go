package api

import (
	"sync"
	"time"
)

// maxBuckets bounds the callers that a limiter remembers.
const maxBuckets = 1024

// A Limiter lets each account, in each region, make so many calls of one
// operation a second, as many again at once, and no more.
type Limiter struct {
	rate float64 // a second; 0: no limit

	mu      sync.Mutex
	buckets map[string]*bucket
}

// A bucket holds what may be spent.
type bucket struct {
	left float64
	at   time.Time
}

// NewLimiter returns a Limiter; a rate of 0 means no limit.
func NewLimiter(rate float64) *Limiter {
	return &Limiter{rate: rate, buckets: make(map[string]*bucket)}
}

// Reset forgets the calls so far.
func (l *Limiter) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.buckets)
}

func (l *Limiter) allow(c *Call) bool {
	if l.rate <= 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	name := c.Caller.Account + " " + c.Region + " " + c.Service.Name + " " + c.Op.Name
	b := l.buckets[name]
	if b == nil {
		if len(l.buckets) >= maxBuckets {
			clear(l.buckets)
		}
		b = &bucket{left: l.burst(), at: c.Now}
		l.buckets[name] = b
	}
	return b.take(l.rate, l.burst(), c.Now)
}

// burst is what may be spent at once.
func (l *Limiter) burst() float64 { return max(1, l.rate) }

// take spends one call at the time now, if that may be.
func (b *bucket) take(rate, burst float64, now time.Time) bool {
	if passed := now.Sub(b.at); passed > 0 {
		b.left, b.at = min(burst, b.left+passed.Seconds()*rate), now
	}
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
