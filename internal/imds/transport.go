package imds

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// secondAddressAfter is how long the IPv4 address may take to connect
	// before the IPv6 one is tried beside it (RFC 8305 has 250 ms for the
	// Internet; the service is on the host).
	secondAddressAfter = 100 * time.Millisecond
	// connectTimeout is how long an address may take to connect. The service
	// is on the host and connects in microseconds; a packet that is lost is
	// sent again after a second. Where a firewall drops them all, sshd goes on
	// to its other keys the sooner.
	connectTimeout = 1500 * time.Millisecond
	// maxErrorBody is how much is read of a body that is not data.
	maxErrorBody = 4 << 10
	// maxHeader bounds the header of an answer; AWS's have less than 1 KiB.
	maxHeader = 16 << 10
)

// tokenHeader carries the session token, which makes a request one of version 2.
const tokenHeader = "X-Aws-Ec2-Metadata-Token"

var (
	errTooLarge = errors.New("the answer is too large")
	errBadToken = errors.New("the session token is not usable")
	errStatus   = errors.New("the status is neither 200 nor an error")
)

// An exchange is the outcome of the last HTTP request of one attempt. The
// requests of an attempt follow each other: a session token, then the entry.
type exchange struct {
	limit     int // bytes that the entry may have; a token has its own bound
	method    string
	connected bool // a connection was made
	status    int  // 0 while there is no answer
	broken    bool // the connection or the answer ended early
	tooLarge  bool
	body      []byte // of an entry, once it is read whole
	badToken  bool   // no request was sent: no usable session token
	err       error  // why there is no answer, or nil
}

// bound returns how many bytes the answer may have.
func (x *exchange) bound() int {
	if x.method == http.MethodPut {
		return maxToken
	}
	return x.limit
}

type exchangeKey struct{}

func withExchange(ctx context.Context, x *exchange) context.Context {
	return context.WithValue(ctx, exchangeKey{}, x)
}

// A transport is the HTTP client below the SDK's. It bounds every body, keeps
// that of an entry in the context's exchange, and notes there what happened,
// which the SDK's errors do not tell for session tokens.
type transport struct {
	wire      wire
	userAgent string
	patience  time.Duration
	tokens    Tokens // nil where none are kept
}

// newTransport returns one to address, a host and a port, or to either of the
// service's addresses for "".
func newTransport(address, userAgent string, patience time.Duration, tokens Tokens) *transport {
	dial := func(ctx context.Context, _ bool) (net.Conn, error) { return dialer().DialContext(ctx, "tcp", address) }
	if address == "" {
		dial = dialEither
	}
	return &transport{
		wire:      wire{dial: dial},
		userAgent: userAgent,
		patience:  patience,
		tokens:    tokens,
	}
}

// Do implements imds.HTTPClient.
func (t *transport) Do(req *http.Request) (*http.Response, error) {
	if t.tokens == nil {
		return t.send(req)
	}
	if req.Method == http.MethodPut {
		return t.token(req)
	}
	resp, err := t.send(req)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		// The SDK drops its copy too, and asks again.
		t.tokens.DropToken()
	}
	return resp, err
}

// send sends a request.
func (t *transport) send(req *http.Request) (*http.Response, error) {
	x, ok := req.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		return nil, errors.New("request without an exchange")
	}
	base := exchange{limit: x.limit, method: req.Method}
	*x = base
	if req.Method != http.MethodPut && !IsToken(req.Header.Get(tokenHeader)) {
		x.badToken = true
		return nil, errBadToken
	}

	// The SDK's own has AWS_EXECUTION_ENV.
	req.Header.Set("User-Agent", t.userAgent)

	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	first := attempt{exchange: base}
	firstCtx, endFirst := context.WithCancel(ctx)
	defer endFirst()
	second := make(chan attempt, 1)
	// Without a connection there is nothing to ask again: the kernel sends lost
	// packets again.
	var hurry *time.Timer
	first.send(&t.wire, req.WithContext(firstCtx), false, func() {
		hurry = time.AfterFunc(t.patience, func() {
			other := attempt{exchange: base}
			other.send(&t.wire, req.WithContext(ctx), true, func() {})
			if other.err == nil {
				endFirst()
			}
			second <- other
		})
	})
	last := first
	if hurry != nil && !hurry.Stop() && first.err != nil {
		last = <-second
	}
	*x = last.exchange
	return last.resp, last.err
}

// An attempt is one try of an exchange, with its outcome.
type attempt struct {
	exchange
	resp *http.Response
	err  error
}

// send sends req and reads the answer. again says that another attempt has not been
// answered yet; connected is called when a connection was had.
func (a *attempt) send(w *wire, req *http.Request, again bool, connected func()) {
	x := &a.exchange
	resp, done, err := w.exchange(req, again, func() {
		if !x.connected {
			x.connected = true
			connected()
		}
	})
	if err != nil {
		x.broken = req.Context().Err() == nil
		x.err, a.err = err, err
		return
	}
	whole := false
	defer func() { done(whole) }()
	x.status = resp.StatusCode
	if resp.StatusCode < 300 && resp.StatusCode != http.StatusOK {
		// The SDK would take part of an entry (206) for the whole, and what
		// follows a 101 is no body.
		a.err = errStatus
		return
	}
	if resp.StatusCode != http.StatusOK {
		// What comes with it is a page for people. The connection is good
		// for more once it has been read.
		_, err := io.CopyN(io.Discard, resp.Body, maxErrorBody)
		whole = err == io.EOF
		resp.Body = http.NoBody
		a.resp = resp
		return
	}
	body, err := x.read(resp)
	if err != nil {
		a.err = err
		return
	}
	whole = true
	a.resp = resp
	if req.Method == http.MethodPut {
		resp.Body = io.NopCloser(bytes.NewReader(body))
		return
	}
	// The SDK would copy it twice over.
	x.body, resp.Body = body, http.NoBody
}

// IsToken reports whether s can be sent as a session token: it is not empty nor too
// long, and has nothing but visible ASCII.
func IsToken(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxToken
}

// read reads a whole body within its bound.
func (x *exchange) read(resp *http.Response) ([]byte, error) {
	bound := x.bound()
	var b bytes.Buffer
	b.Grow(int(min(max(resp.ContentLength, 0), int64(bound))) + bytes.MinRead)
	// One byte more than the bound tells a full body from an endless one.
	_, err := b.ReadFrom(io.LimitReader(resp.Body, int64(bound)+1))
	if x.tooLarge = b.Len() > bound || resp.ContentLength > int64(bound); x.tooLarge {
		x.body = b.Bytes()[:min(b.Len(), bound)]
		return nil, errTooLarge
	}
	if err != nil {
		x.broken = true
		return nil, err
	}
	return b.Bytes(), nil
}

// dialer returns one without TCP's keep-alive, for which a run does not live long
// enough.
func dialer() *net.Dialer { return &net.Dialer{Timeout: connectTimeout, KeepAlive: -1} }

// dialEither connects to the IPv4 address of the service, or to the IPv6 one
// where the first fails or takes long; again, the other way round: an address may
// take connections and not answer.
func dialEither(ctx context.Context, again bool) (net.Conn, error) {
	first, second := addresses(again)
	return raceDial(ctx, func(ctx context.Context, address string) (net.Conn, error) {
		return dialer().DialContext(ctx, "tcp", address)
	}, first, second)
}

// addresses returns those of the service in the order in which they are tried.
func addresses(again bool) (first, second string) {
	const v4, v6 = "169.254.169.254:80", "[fd00:ec2::254]:80"
	if again {
		return v6, v4
	}
	return v4, v6
}

// raceDial dials first, and second as well when first has failed or
// secondAddressAfter has passed. It returns the first connection, or the first
// error when neither connects.
func raceDial(ctx context.Context, dial func(context.Context, string) (net.Conn, error), first, second string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result)
	start := func(address string) {
		conn, err := dial(ctx, address)
		select {
		case results <- result{conn, err}:
		case <-ctx.Done():
			if conn != nil {
				conn.Close()
			}
		}
	}
	go start(first)
	hurry := time.NewTimer(secondAddressAfter)
	defer hurry.Stop()

	started, failed := 1, 0
	var firstErr error
	for {
		select {
		case r := <-results:
			if r.err == nil {
				return r.conn, nil
			}
			failed++
			if firstErr == nil {
				firstErr = r.err
			}
			if failed == 2 {
				return nil, firstErr
			}
		case <-hurry.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if started == 1 {
			started++
			go start(second)
		}
	}
}
