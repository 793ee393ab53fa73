package imds

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"sync"
	"time"
)

// maxInformational is how many answers with a status below 200 may come before
// the one that counts.
const maxInformational = 5

// A wire has HTTP/1.1 exchanges over connections that it keeps. It does what
// http.Transport does, but in the goroutine that asks: there, each connection has
// goroutines of its own, and to start and to wait for them is a tenth of what a
// login pays.
type wire struct {
	// dial connects, to another address where there is one if again is set.
	dial func(ctx context.Context, again bool) (net.Conn, error)

	mu   sync.Mutex
	idle []*link
}

// A link is one connection.
type link struct {
	net.Conn
	bound io.LimitedReader // of Conn; bounds a header
	r     *bufio.Reader    // of bound
	used  bool             // it has had an exchange
}

// exchange sends req and reads the head of the answer. With a nil error the caller
// has to read the body and to call done, with whether it was read to its end; until
// then the end of the request's context breaks the connection. With again it takes no
// connection that was kept, which may be as dead as that of the attempt before.
// connected is called when a connection was had.
func (w *wire) exchange(req *http.Request, again bool, connected func()) (resp *http.Response, done func(whole bool), err error) {
	for {
		l, err := w.link(req.Context(), again)
		if err != nil {
			return nil, nil, err
		}
		connected()
		stop := context.AfterFunc(req.Context(), func() { l.SetDeadline(time.Unix(1, 0)) })
		resp, err := l.exchange(req)
		if err == nil {
			return resp, func(whole bool) {
				if stop() && whole && !resp.Close && l.r.Buffered() == 0 {
					w.keep(l)
				} else {
					l.Close()
				}
			}, nil
		}
		stop()
		l.Close()
		// The other side may close a kept connection at any time: then another is tried.
		if !l.used || req.Context().Err() != nil || !errors.As(err, new(noAnswer)) {
			return nil, nil, err
		}
	}
}

// link returns a connection that was kept, or else a new one.
func (w *wire) link(ctx context.Context, again bool) (*link, error) {
	w.mu.Lock()
	if n := len(w.idle); n > 0 && !again {
		l := w.idle[n-1]
		w.idle = w.idle[:n-1]
		w.mu.Unlock()
		return l, nil
	}
	w.mu.Unlock()
	conn, err := w.dial(ctx, again)
	if err != nil {
		return nil, err
	}
	l := &link{Conn: conn, bound: io.LimitedReader{R: conn}}
	l.r = bufio.NewReader(&l.bound)
	return l, nil
}

func (w *wire) keep(l *link) {
	l.used = true
	w.mu.Lock()
	defer w.mu.Unlock()
	w.idle = append(w.idle, l)
}

// close closes the connections that are kept.
func (w *wire) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.idle {
		l.Close()
	}
	w.idle = nil
}

// A noAnswer says why a connection broke before the first byte of an answer.
type noAnswer struct{ error }

func (e noAnswer) Unwrap() error { return e.error }

// exchange sends req and reads the head of the answer.
func (l *link) exchange(req *http.Request) (*http.Response, error) {
	b := bufio.NewWriter(l)
	err := req.Write(b)
	if err == nil {
		err = b.Flush()
	}
	if err != nil {
		return nil, noAnswer{err}
	}
	l.bound.N = maxHeader
	if _, err := l.r.Peek(1); err != nil {
		return nil, noAnswer{err}
	}
	for range maxInformational {
		resp, err := http.ReadResponse(l.r, req)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			l.bound.N = math.MaxInt64 // the body has a bound of its own
			return resp, nil
		}
	}
	return nil, errors.New("no end of informational answers")
}
