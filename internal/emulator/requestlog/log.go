// Package requestlog remembers the latest requests and what became of them, without
// key material.
package requestlog

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
)

// These bound the log of a server that runs for long.
const (
	maxLoggedRequests = 4096
	maxLoggedPath     = 1024
	maxLoggedValue    = 256 // of a parameter
	maxLoggedParams   = 64
)

// An Exchange is a request with what became of it.
type Exchange struct {
	Time       time.Time         `json:"time"`    // on the host's clock
	Service    string            `json:"service"` // the signing name, or imds
	Instance   string            `json:"instance,omitempty"`
	Method     string            `json:"method"`
	Path       string            `json:"path"`
	Operation  string            `json:"operation,omitempty"`
	Region     string            `json:"region,omitempty"`
	Parameters map[string]string `json:"parameters,omitempty"` // a key as its fingerprint, user data left out
	Caller     string            `json:"caller,omitempty"`     // ARN
	AccessKey  string            `json:"accessKey,omitempty"`
	Source     string            `json:"source,omitempty"` // address of the client
	RequestID  string            `json:"requestId,omitempty"`
	Status     int               `json:"status,omitempty"` // 0: not answered, or not yet
	Error      string            `json:"error,omitempty"`
	Message    string            `json:"message,omitempty"`
	Duration   float64           `json:"durationMillis"`
}

// imdsService is the Service of an Exchange with a metadata service.
const imdsService = "imds"

// Max is how many exchanges a Log keeps.
const Max = maxLoggedRequests

// Options configure a Log.
type Options struct {
	Out       io.Writer                  // gets a line for each request that was answered; nil: nobody
	Now       func() time.Time           // the host's clock
	ServiceOf func(*http.Request) string // of the API
}

// A Log keeps the latest requests.
type Log struct {
	o     Options
	mu    sync.Mutex
	ring  []*Exchange // from next on, and then from the start, once it is full
	next  int
	count int
	out   sync.Mutex // of Options.Out
}

// New returns an empty Log.
func New(o Options) *Log { return &Log{o: o} }

func (l *Log) add(e *Exchange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	if len(l.ring) < maxLoggedRequests {
		l.ring = append(l.ring, e)
		return
	}
	l.ring[l.next] = e
	l.next = (l.next + 1) % maxLoggedRequests
}

// Latest returns copies, oldest first.
func (l *Log) Latest() []Exchange {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Exchange, 0, len(l.ring))
	for _, e := range slices.Concat(l.ring[l.next:], l.ring[:l.next]) {
		all = append(all, *e)
	}
	return all
}

type exchangeKey struct{}

// Handler logs the requests of a handler. instanceID is "" for the API.
func (l *Log) Handler(instanceID string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := &Exchange{
			Time: l.o.Now(), Service: imdsService, Instance: instanceID, Method: bounded(r.Method, maxLoggedPath),
			Path: bounded(r.URL.Path, maxLoggedPath), Source: bounded(r.RemoteAddr, maxLoggedPath),
		}
		if instanceID == "" {
			e.Service = bounded(l.o.ServiceOf(r), maxLoggedValue)
		}
		l.add(e)
		began := time.Now()
		watched := &statusWriter{ResponseWriter: w}
		defer func() {
			l.mu.Lock()
			e.Status, e.Duration = watched.status, float64(time.Since(began).Microseconds())/1000
			line := e.line()
			l.mu.Unlock()
			if l.o.Out != nil {
				l.out.Lock()
				defer l.out.Unlock()
				_, _ = io.WriteString(l.o.Out, line) // a request is not refused for it
			}
		}()
		h.ServeHTTP(watched, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, e)))
	})
}

// Call adds operation, caller, parameters and error of a call to its logged exchange.
func (l *Log) Call(c *api.Call, refusal *api.Error) {
	e, ok := c.Context.Value(exchangeKey{}).(*Exchange)
	if !ok {
		return
	}
	parameters := parametersOf(c)
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Service, e.Operation, e.Region, e.RequestID = bounded(c.Service.Name, maxLoggedValue), bounded(c.Asked, maxLoggedValue), bounded(c.Region, maxLoggedValue), c.RequestID
	e.Caller, e.AccessKey, e.Parameters = c.Caller.ARN, bounded(c.Caller.KeyID, maxLoggedValue), parameters
	if refusal != nil {
		e.Error, e.Message = refusal.Code, bounded(refusal.Message, maxLoggedPath)
	}
}

// parametersOf returns the parameters without key material.
func parametersOf(c *api.Call) map[string]string {
	all := make(map[string]string)
	put := func(name, value string) {
		if len(all) >= maxLoggedParams {
			return
		}
		switch name {
		case "SSHPublicKey", "PublicKeyMaterial", "publicKeyBase64":
			value = fingerprintOf(value)
		case "UserData":
			value = "(" + strconv.Itoa(len(value)) + " bytes)"
		}
		all[bounded(name, maxLoggedValue)] = bounded(value, maxLoggedValue)
	}
	for name, raw := range c.Input {
		var value string
		if json.Unmarshal(raw, &value) != nil {
			value = string(raw)
		}
		put(name, value)
	}
	for name := range c.Params {
		if name != "Action" && name != "Version" {
			put(name, c.Params.Text(name))
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// fingerprintOf is what stands in the log for a key: its SHA-256 fingerprint.
func fingerprintOf(text string) string {
	key, err := fingerprint.ParseKey(fromBase64(text))
	if err != nil {
		return "(" + strconv.Itoa(len(text)) + " bytes, not a public key)"
	}
	return fingerprint.SHA256(key.Blob())
}

// line is the exchange as --log-requests has it.
func (e *Exchange) line() string {
	var b strings.Builder
	what := e.Operation
	if what == "" {
		what = e.Method + " " + api.Plain(e.Path)
	}
	fmt.Fprintf(&b, "%s %s %s %d %.1fms", e.Time.UTC().Format(time.RFC3339), api.Plain(e.Service), what, e.Status, e.Duration)
	for _, one := range []struct{ name, value string }{{"instance", e.Instance}, {"caller", e.Caller}, {"request", e.RequestID}, {"error", e.Error}} {
		if one.value != "" {
			fmt.Fprintf(&b, " %s=%s", one.name, api.Plain(one.value))
		}
	}
	if e.Message != "" {
		fmt.Fprintf(&b, ": %s", plainText(e.Message))
	}
	return b.String() + "\n"
}

// plainText keeps a line one line.
func plainText(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, text)
}

func bounded(text string, most int) string { return strings.Clone(text[:min(len(text), most)]) }

// A statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Count returns how many requests have come since New or Reset.
func (l *Log) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// Reset empties the log and its count.
func (l *Log) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring, l.next, l.count = nil, 0, 0
}

// Select returns those that have all that the query names: service,
// instance, method, operation, region, caller, accessKey, status, error, and the
// beginning of a path. limit keeps the latest.
func (l *Log) Select(query url.Values) ([]Exchange, error) {
	properties := map[string]func(Exchange, string) bool{
		"service":   func(e Exchange, v string) bool { return e.Service == v },
		"instance":  func(e Exchange, v string) bool { return e.Instance == v },
		"method":    func(e Exchange, v string) bool { return e.Method == v },
		"operation": func(e Exchange, v string) bool { return e.Operation == v },
		"region":    func(e Exchange, v string) bool { return e.Region == v },
		"caller":    func(e Exchange, v string) bool { return e.Caller == v },
		"accessKey": func(e Exchange, v string) bool { return e.AccessKey == v },
		"status":    func(e Exchange, v string) bool { return strconv.Itoa(e.Status) == v },
		"error":     func(e Exchange, v string) bool { return e.Error == v },
		"path":      func(e Exchange, v string) bool { return strings.HasPrefix(e.Path, v) },
	}
	all := l.Latest()
	for name := range query {
		if name != "limit" && properties[name] == nil {
			return nil, fmt.Errorf("cannot filter requests by %q", api.Cut(name))
		}
		if name == "limit" {
			continue
		}
		for _, value := range query[name] {
			if _, err := strconv.Atoi(value); name == "status" && err != nil {
				return nil, fmt.Errorf("status must be a number such as 400, not %q", api.Cut(value))
			}
		}
		all = slices.DeleteFunc(all, func(e Exchange) bool {
			return !slices.ContainsFunc(query[name], func(v string) bool { return properties[name](e, v) })
		})
	}
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("limit must be 1 or more, not %q", api.Cut(text))
		}
		all = all[max(0, len(all)-n):]
	}
	return all, nil
}

// fromBase64 decodes what can be decoded, as ImportKeyPair has its keys.
func fromBase64(text string) []byte {
	if decoded, err := base64.StdEncoding.DecodeString(text); err == nil {
		return decoded
	}
	return []byte(text)
}
