package imds

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// An address is what dialling it comes to in a test of raceDial.
type address struct {
	after   time.Duration
	refused bool
	deaf    bool // goes on after its context has ended
}

// A dialler dials addresses and keeps what came of it.
type dialler struct {
	addresses map[string]address
	start     time.Time

	mu     sync.Mutex
	dialed map[string]time.Duration // when each was dialled
	open   map[string]bool          // the connections that are open
}

type testConn struct {
	net.Conn
	d    *dialler
	name string
}

func (c *testConn) Close() error {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	delete(c.d.open, c.name)
	return nil
}

func (d *dialler) dial(ctx context.Context, name string) (net.Conn, error) {
	d.mu.Lock()
	d.dialed[name] = time.Since(d.start)
	d.mu.Unlock()
	a := d.addresses[name]
	if a.deaf {
		time.Sleep(a.after)
	} else {
		select {
		case <-time.After(a.after):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if a.refused {
		return nil, errors.New(name + " is refused")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open[name] = true
	return &testConn{d: d, name: name}, nil
}

func TestRaceDial(t *testing.T) {
	t.Parallel()
	const (
		ms      = time.Millisecond
		timeout = 2 * time.Second
		never   = -1
	)
	for name, test := range map[string]struct {
		first, second address
		conn, err     string
		took          time.Duration
		secondAt      time.Duration
	}{
		"first at once":                  {address{}, address{}, "first", "", 0, never},
		"first fast":                     {address{after: 99 * ms}, address{}, "first", "", 99 * ms, never},
		"first slow":                     {address{after: time.Second}, address{after: 5 * ms}, "second", "", 105 * ms, 100 * ms},
		"first slow and deaf":            {address{after: time.Second, deaf: true}, address{after: 5 * ms}, "second", "", 105 * ms, 100 * ms},
		"first slow, but first":          {address{after: 150 * ms}, address{after: time.Second}, "first", "", 150 * ms, 100 * ms},
		"first slow, second deaf":        {address{after: 150 * ms}, address{after: time.Second, deaf: true}, "first", "", 150 * ms, 100 * ms},
		"both at the same time":          {address{after: 150 * ms, deaf: true}, address{after: 50 * ms, deaf: true}, "any", "", 150 * ms, 100 * ms},
		"first silent":                   {address{after: time.Hour}, address{after: ms}, "second", "", 101 * ms, 100 * ms},
		"first refused":                  {address{after: ms, refused: true}, address{after: ms}, "second", "", 2 * ms, ms},
		"first refused, second silent":   {address{refused: true}, address{after: time.Hour}, "", "context deadline exceeded", timeout, 0},
		"first refused late":             {address{after: 150 * ms, refused: true}, address{after: 100 * ms}, "second", "", 200 * ms, 100 * ms},
		"second refused":                 {address{after: 150 * ms}, address{refused: true}, "first", "", 150 * ms, 100 * ms},
		"both refused":                   {address{refused: true}, address{refused: true}, "", "first is refused", 0, 0},
		"both refused, the second first": {address{after: 150 * ms, refused: true}, address{refused: true}, "", "second is refused", 150 * ms, 100 * ms},
		"both silent":                    {address{after: time.Hour}, address{after: time.Hour}, "", "context deadline exceeded", timeout, 100 * ms},
		"both deaf":                      {address{after: time.Hour, deaf: true}, address{after: time.Hour, deaf: true}, "", "context deadline exceeded", timeout, 100 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// It fails by itself where a goroutine stays behind.
			synctest.Test(t, func(t *testing.T) {
				d := &dialler{
					addresses: map[string]address{"first": test.first, "second": test.second},
					start:     time.Now(),
					dialed:    make(map[string]time.Duration),
					open:      make(map[string]bool),
				}
				// Only where it has to end does the context: what is lost
				// has to be cleared away without that.
				ctx := t.Context()
				if test.took == timeout {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, timeout)
					defer cancel()
				}
				conn, err := raceDial(ctx, d.dial, "first", "second")
				if took := time.Since(d.start); took != test.took {
					t.Errorf("it took %v, want %v", took, test.took)
				}
				winner := ""
				if conn != nil {
					winner = conn.(*testConn).name
				}
				if winner != test.conn && !(test.conn == "any" && conn != nil) {
					t.Errorf("connected to %q, want %q", winner, test.conn)
				}
				if message := errorText(err); message != test.err {
					t.Errorf("the error is %q, want %q", message, test.err)
				}
				time.Sleep(2 * time.Hour) // in the bubble
				d.mu.Lock()
				defer d.mu.Unlock()
				want := never * time.Nanosecond
				if at, ok := d.dialed["second"]; ok {
					want = at
				}
				if want != test.secondAt {
					t.Errorf("the second was dialled at %v, want %v", want, test.secondAt)
				}
				delete(d.open, winner)
				if len(d.open) > 0 {
					t.Errorf("connections were left open: %v", d.open)
				}
			})
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
