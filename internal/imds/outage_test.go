package imds

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"context"

	"github.com/eic-agent/eic-agent/internal/reason"
)

// A broken service is distinguished from one that says no.
func TestIsOutage(t *testing.T) {
	t.Parallel()
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", code) }
	}
	for name, test := range map[string]struct {
		handle http.HandlerFunc
		want   bool
	}{
		"500":      {status(500), true},
		"503":      {status(503), true},
		"599":      {status(599), true},
		"400":      {status(400), false},
		"401":      {status(401), false},
		"403":      {status(403), false},
		"404":      {status(404), false},
		"302":      {status(302), false},
		"206":      {status(206), false},
		"no token": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "") }, false},
		"closed":   {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true},
		"hangs":    {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, true},
		"too much": {func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 10*maxToken)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(test.handle)
			defer server.Close()
			defer server.CloseClientConnections()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			body, err := New(server.URL, "test", time.Minute, nil).Get(ctx, "x", 100)
			if err == nil || body != nil || IsOutage(err) != test.want {
				t.Errorf("an outage: %v, want %v; %v", IsOutage(err), test.want, err)
			}
			if !errors.Is(err, ErrNotFound) && reason.Of(err) == "" {
				t.Errorf("the error has no reason: %v", err)
			}
		})
	}
	closed := httptest.NewServer(status(200))
	closed.Close()
	if _, err := New(closed.URL, "test", time.Minute, nil).Get(t.Context(), "x", 100); !IsOutage(err) {
		t.Errorf("nobody listens: %v", err)
	}
	for _, err := range []error{nil, ErrNotFound, errors.New("x"), reason.New(reason.IMDSUnreachable, "x")} {
		if IsOutage(err) {
			t.Errorf("%v is an outage", err)
		}
	}
	if !IsOutage(fmt.Errorf("so: %w", outage{ErrNotFound})) {
		t.Error("a wrapped outage is none")
	}
}
