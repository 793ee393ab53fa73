package imds

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/reason"
)

// A kept keeps a token in memory, as the cache does in a file.
type kept struct {
	mu      sync.Mutex
	token   string
	left    time.Duration
	expires time.Time // of what was stored
}

func (k *kept) Token(time.Time) (string, time.Duration, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.token, k.left, k.token != ""
}

func (k *kept) StoreToken(token string, expires time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.token, k.left, k.expires = token, time.Until(expires), expires
}

func (k *kept) DropToken() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.token = ""
}

func (k *kept) LeadToken(context.Context) (waited bool, done func()) {
	return false, func() {}
}

// A tokenService takes tokens like those that it gives out. It answers what faults
// say to the first requests for an entry.
type tokenService struct {
	*httptest.Server
	mu         sync.Mutex
	faults     []int
	puts, gets int
	ttl        []string
}

func newTokenService(t *testing.T, faults ...int) *tokenService {
	s := &tokenService{faults: faults}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *tokenService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method == http.MethodPut {
		s.puts++
		s.ttl = append(s.ttl, r.Header.Get(ttlHeader))
		w.Header().Set(ttlHeader, "600")
		fmt.Fprintf(w, "fresh%d", s.puts)
		return
	}
	s.gets++
	if len(s.faults) > 0 {
		w.WriteHeader(s.faults[0])
		s.faults = s.faults[1:]
		return
	}
	if !strings.HasPrefix(r.Header.Get(tokenHeader), "fresh") {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	io.WriteString(w, entryBody)
}

func TestKeptToken(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		token      string
		faults     []int
		word       reason.Word
		puts, gets int
	}{
		"none":                    {"", nil, "", 1, 1},
		"good":                    {"fresh0", nil, "", 0, 1},
		"refused":                 {"stale", nil, "", 1, 2},
		"refused after 503":       {"stale", []int{503}, "", 1, 3},
		"refused after 503 twice": {"stale", []int{503, 503}, "", 1, 4},
		"500 after 503":           {"fresh0", []int{503, 503, 503, 500, 500}, "", 0, 6},
		"500 thrice":              {"fresh0", []int{503, 500, 500, 500}, reason.IMDSError, 0, 4},
		"refused twice":           {"stale", []int{401, 401}, reason.IMDSError, 1, 2},
		"two lines":               {"fresh\r\nX-Injected: 1", nil, "", 1, 1},
		"two":                     {"fresh fresh", nil, "", 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTokenService(t, test.faults...)
			tokens := &kept{token: test.token, left: time.Hour}
			body, err := get(t, New(s.URL, "test", time.Minute, tokens), long)
			if reason.Of(err) != test.word || (err == nil) != (string(body) == entryBody) {
				t.Errorf("got %q, %v", body, err)
			}
			if s.puts != test.puts || s.gets != test.gets {
				t.Errorf("%d tokens and %d entries were asked for, want %d and %d", s.puts, s.gets, test.puts, test.gets)
			}
		})
	}
}

// A token is asked for six hours and kept for as long as the service says; one that
// cannot be sent is not kept.
func TestTokenIsKept(t *testing.T) {
	t.Parallel()
	s := newTokenService(t)
	tokens := new(kept)
	before := time.Now()
	if _, err := get(t, New(s.URL, "test", time.Minute, tokens), long); err != nil {
		t.Fatal(err)
	}
	early, late := before.Add(600*time.Second), time.Now().Add(600*time.Second)
	if tokens.token != "fresh1" || tokens.expires.Before(early) || tokens.expires.After(late) {
		t.Errorf("kept %q until %v, want fresh1 until %v", tokens.token, tokens.expires, early)
	}
	if len(s.ttl) != 1 || s.ttl[0] != "21600" {
		t.Errorf("the tokens were asked for %q seconds", s.ttl)
	}

	for name, answer := range map[string]exchangeFunc{
		"two lines":        ok("a\r\nb"),
		"empty":            ok(""),
		"refused":          status(http.StatusForbidden),
		"an end":           raw(""),
		"without lifetime": raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntoken"),
	} {
		tokens := new(kept)
		if body, err := get(t, New(newService(t, answer, nil).url(), "test", time.Minute, tokens), long); err == nil {
			t.Errorf("%s: got %q", name, body)
		}
		if tokens.token != "" {
			t.Errorf("%s: kept %q", name, tokens.token)
		}
	}
}

// Who waited for another's token uses it, and gets one of its own where there is none.
func TestTokenOfAnother(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		got  string
		puts int
	}{"got": {"fresh0", 0}, "not got": {"", 1}} {
		s := newTokenService(t)
		tokens := &awaited{got: test.got}
		if body, err := get(t, New(s.URL, "test", time.Minute, tokens), long); err != nil || string(body) != entryBody {
			t.Errorf("%s: got %q, %v", name, body, err)
		}
		if s.puts != test.puts || tokens.leads != 0 {
			t.Errorf("%s: %d tokens were asked for, want %d; %d leads were not ended", name, s.puts, test.puts, tokens.leads)
		}
	}
}

// An awaited gets its token from another run, while this one waits.
type awaited struct {
	kept
	got   string
	leads int
}

func (a *awaited) LeadToken(context.Context) (waited bool, done func()) {
	a.StoreToken(a.got, time.Now().Add(time.Hour))
	a.leads++
	return true, func() { a.leads-- }
}
