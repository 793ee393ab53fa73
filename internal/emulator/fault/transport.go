package fault

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// The faults of an exchange as such. Transport.Serve knows these names.
const (
	Latency  = "latency"
	Jitter   = "jitter"
	Status   = "status"
	Throttle = "throttle"
	CutOff   = "cut-off"
	Drip     = "drip"
	Endless  = "endless"
	Reset    = "reset"
	Hang     = "hang"
	Empty    = "empty"
	HTML     = "html"
	Redirect = "redirect"
)

// Throttled, instead of a status, lets the service choose its own.
const Throttled = 0

const (
	defaultDrip = 10 * time.Millisecond
	// maxEndless ends a body that nobody stops reading, where no timeout of
	// the server does.
	maxEndless = 256 << 20
	maxKept    = 2 << 20 // of a request's body; the API takes half of it
	page       = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><h1>Sign in to this network</h1></body></html>\n"
	elsewhere  = "http://127.0.0.1:9/"
)

// A Transport does faults to exchanges. Make one with NewTransport.
type Transport struct {
	mu     sync.Mutex
	random *rand.Rand
	recent map[string][]time.Time // of throttle faults, the calls of the last second
}

// NewTransport returns a Transport whose jitter is the same for the same seed
// and the same order of requests.
func NewTransport(seed uint64) *Transport {
	return &Transport{random: rand.New(rand.NewPCG(seed, 1)), recent: make(map[string][]time.Time)}
}

// Answers are how a service answers instead of its handler.
type Answers struct {
	// Refuse answers with a status, or Throttled, in the words of the service.
	Refuse func(w http.ResponseWriter, r *http.Request, status int)
	// Lost is called for a request that the named fault keeps from the handler,
	// and to which the service has nothing to say. It may be nil.
	Lost func(r *http.Request, fault string)
}

// Serve lets handler answer, and does what the specs say to the answer.
func (t *Transport) Serve(w http.ResponseWriter, r *http.Request, handler http.Handler, specs []Spec, now time.Time, answers Answers) {
	// net/http notices that a client has left once the body has been read.
	if !keepBody(r) {
		answers.Refuse(w, r, http.StatusRequestEntityTooLarge)
		return
	}
	if slices.ContainsFunc(specs, Spec.slow) { // the server's deadlines are for clients that are slow
		connection := http.NewResponseController(w)
		_ = connection.SetReadDeadline(time.Time{}) // there may be no connection
		_ = connection.SetWriteDeadline(time.Time{})
	}
	var last *Spec // of several that replace or spoil the answer, the last one ordered counts
	for _, spec := range specs {
		switch spec.Name {
		case Latency, Jitter:
			if !wait(r.Context(), t.delay(spec)) {
				return
			}
		case Throttle:
			if t.tooMany(spec, now) {
				answers.Refuse(w, r, Throttled)
				return
			}
		default:
			last = &spec
		}
	}
	if last == nil {
		handler.ServeHTTP(w, r)
		return
	}
	switch last.Name {
	case Redirect, Reset, Hang:
		if answers.Lost != nil {
			answers.Lost(r, last.Name)
		}
	}
	switch last.Name {
	case Status:
		status, err := strconv.Atoi(last.Value)
		if err != nil {
			status = http.StatusServiceUnavailable
		}
		answers.Refuse(w, r, status)
	case Redirect:
		http.Redirect(w, r, elsewhere, http.StatusFound)
	case Reset:
		reset(w)
	case Hang:
		<-r.Context().Done()
	default:
		spoil(w, r, handler, *last)
	}
}

// slow reports whether the fault is one that takes time.
func (s Spec) slow() bool {
	return s.Name == Latency || s.Name == Jitter || s.Name == Drip || s.Name == Hang
}

// keepBody reads the body and puts it back. It reports false for one that is
// too long or does not come.
func keepBody(r *http.Request) bool {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxKept+1))
	r.Body = io.NopCloser(bytes.NewReader(body))
	return err == nil && len(body) <= maxKept
}

// spoil has the handler's answer, and sends something else instead.
func spoil(w http.ResponseWriter, r *http.Request, handler http.Handler, spec Spec) {
	got := &recorder{header: w.Header(), status: http.StatusOK}
	handler.ServeHTTP(got, r)
	body := got.body.Bytes()
	switch spec.Name {
	case CutOff:
		cutOff(w, got, body)
		return
	case Empty:
		body = nil
	case HTML:
		got.status, body = http.StatusOK, []byte(page)
		w.Header().Set("Content-Type", "text/html")
	}
	if spec.Name == Endless {
		w.Header().Del("Content-Length")
		w.WriteHeader(got.status)
		flood(w, r, body)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(got.status)
	if spec.Name != Drip {
		_, _ = w.Write(body)
		return
	}
	interval, err := time.ParseDuration(spec.Value)
	if err != nil {
		interval = defaultDrip
	}
	flush := http.NewResponseController(w)
	for i := range body {
		if _, err := w.Write(body[i : i+1]); err != nil || flush.Flush() != nil || !wait(r.Context(), interval) {
			return
		}
	}
}

func (t *Transport) delay(spec Spec) time.Duration {
	d, err := time.ParseDuration(spec.Value)
	if err != nil || d <= 0 {
		return 0
	}
	if spec.Name == Latency {
		return d
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Duration(t.random.Int64N(int64(d)))
}

// tooMany reports whether the last second has had as many calls as spec allows.
func (t *Transport) tooMany(spec Spec, now time.Time) bool {
	limit, err := strconv.Atoi(spec.Value)
	if err != nil {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	name := spec.String()
	calls := t.recent[name]
	for len(calls) > 0 && now.Sub(calls[0]) >= time.Second {
		calls = calls[1:]
	}
	if len(calls) >= limit {
		t.recent[name] = calls
		return true
	}
	t.recent[name] = append(calls, now)
	return false
}

// wait reports false when the client has gone.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// reset ends the connection with a RST.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		w.WriteHeader(http.StatusBadGateway) // the connection cannot be hijacked
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

// cutOff announces the whole body, sends half of it and hangs up.
func cutOff(w http.ResponseWriter, got *recorder, body []byte) {
	conn, out, err := http.NewResponseController(w).Hijack()
	if err != nil {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(got.status)
		_, _ = w.Write(body[:len(body)/2])
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	header := got.header.Clone()
	header.Set("Content-Length", strconv.Itoa(len(body)))
	fmt.Fprintf(out, "HTTP/1.1 %d %s\r\n", got.status, http.StatusText(got.status))
	_ = header.Write(out)
	fmt.Fprintf(out, "\r\n%s", body[:len(body)/2])
	_ = out.Flush()
}

// flood sends the body again and again, and then hangs up.
func flood(w http.ResponseWriter, r *http.Request, body []byte) {
	chunk := bytes.Repeat(append(body, '\n'), 1+(32<<10)/(len(body)+1))
	for sent := 0; sent < maxEndless && r.Context().Err() == nil; sent += len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
	panic(http.ErrAbortHandler) // it is cut off, and does not end
}

// A recorder keeps an answer back.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) { r.status = status }

func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
