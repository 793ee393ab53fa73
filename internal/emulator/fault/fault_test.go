package fault

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

var epoch = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func TestSpec(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"reset", "latency=250ms", "status=503,service=imds,path=/latest/meta-data,share=0.25,after=2,times=3,from=1s,until=1m0s",
		"staple-revoked,certificate=leaf", "error=AuthException,operation=SendSSHPublicKey", "hang,instance=i-00000001",
	} {
		spec, err := ParseSpec(text)
		if err != nil || spec.String() != text {
			t.Errorf("%s is read as %s, %v", text, spec, err)
		}
	}
	for _, text := range []string{
		"", "=x", ",times=1", "reset,", "reset,times", "reset,times=", "reset,times=x", "reset,times=-1", "reset,after=-1", "reset,share=2", "reset,share=0",
		"reset,share=NaN", "reset,share=-1", "reset,service=s3", "reset,certificate=x", "reset,color=red", "reset,from=1", "reset,from=2s,until=1s",
	} {
		if spec, err := ParseSpec(text); err == nil || spec != (Spec{}) {
			t.Errorf("%q is read as %+v, %v", text, spec, err)
		}
	}
}

// TestStrikes writes down which of ten exchanges are struck.
func TestStrikes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"x":                        "1111111111",
		"x,share=0.5":              "0101010101",
		"x,share=0.3":              "0001001001",
		"x,share=0.1":              "0000000001",
		"x,share=1":                "1111111111",
		"x,times=2":                "1100000000",
		"x,after=3":                "0001111111",
		"x,after=3,times=1":        "0001000000",
		"x,after=2,share=0.5":      "0001010101",
		"x,share=0.5,times=2":      "0101000000",
		"x,from=2s":                "0011111111",
		"x,until=2s":               "1100000000",
		"x,from=2s,until=4s":       "0011000000",
		"x,path=/a/":               "1111111111",
		"x,path=/b":                "0000000000",
		"x,service=api":            "0000000000",
		"x,operation=Op,instance=": "",
		"x,instance=i-1":           "1111111111",
		"x,instance=i-2":           "0000000000",
		"x,operation=Op":           "0000000000",
	} {
		spec, err := ParseSpec(text)
		if want == "" {
			if err == nil {
				t.Errorf("%s is taken", text)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var set Set
		set.Add(spec, "layer", epoch)
		set.Add(spec, "another layer", epoch)
		var got strings.Builder
		for i := range 10 {
			hits := set.Strikes("layer", Target{Service: IMDS, Instance: "i-1", Path: "/a/b"}, epoch.Add(time.Duration(i)*time.Second), nil)
			got.WriteByte(byte('0' + len(hits)))
		}
		if got.String() != want {
			t.Errorf("%s strikes %s, want %s", text, got.String(), want)
		}
		if set.Remove("y") != 0 || len(set.Specs()) != 2 || set.Remove("") != 2 || set.Strikes("layer", Target{}, epoch, nil) != nil {
			t.Errorf("%s: the set cannot be emptied", text)
		}
	}
}

// TestConcerns does not count what a fault cannot touch.
func TestConcerns(t *testing.T) {
	t.Parallel()
	var set Set
	set.Add(Spec{Name: "x", Share: 0.5, Times: 1}, "layer", epoch)
	var got strings.Builder
	for i := range 6 {
		hits := set.Strikes("layer", Target{}, epoch, func(Spec) bool { return i%2 == 1 })
		got.WriteByte(byte('0' + len(hits)))
	}
	if got.String() != "000100" {
		t.Errorf("strikes %s", got.String())
	}
}

func exchange(t *testing.T, fault string) (status int, body string, err error) {
	t.Helper()
	spec, err := ParseSpec(fault)
	if err != nil {
		t.Fatal(err)
	}
	transport := NewTransport(1)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte("0123456789"))
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		transport.Serve(w, r, handler, []Spec{spec}, time.Now(), Answers{Refuse: func(w http.ResponseWriter, _ *http.Request, status int) {
			if status == Throttled {
				status = http.StatusServiceUnavailable
			}
			w.WriteHeader(status)
		}})
	}))
	defer server.Close()
	client := http.Client{Timeout: 2 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Get(server.URL)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return response.StatusCode, string(data), err
}

func TestTransport(t *testing.T) {
	t.Parallel()
	for fault, row := range map[string]struct {
		status int
		length int
		fails  bool
		least  time.Duration
	}{
		"latency=100ms": {202, 10, false, 100 * time.Millisecond},
		"jitter=1ms":    {202, 10, false, 0},
		"status=418":    {418, 0, false, 0},
		"throttle=0":    {503, 0, false, 0},
		"throttle=1":    {202, 10, false, 0},
		"cut-off":       {202, 5, true, 0},
		"drip=10ms":     {202, 10, false, 90 * time.Millisecond},
		"endless":       {202, 1 << 20, false, 0},
		"reset":         {0, 0, true, 0},
		"empty":         {202, 0, false, 0},
		"html":          {200, len(page), false, 0},
		"redirect":      {302, -1, false, 0},
		"hang":          {0, 0, true, 2 * time.Second},
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			status, body, err := exchange(t, fault)
			if status != row.status || row.length >= 0 && len(body) != row.length || (err != nil) != row.fails || time.Since(began) < row.least {
				t.Errorf("got %d, %d bytes, %v after %v", status, len(body), err, time.Since(began))
			}
		})
	}
}

// TestWithoutConnection is what happens where there is no connection to break.
func TestWithoutConnection(t *testing.T) {
	t.Parallel()
	for fault, status := range map[string]int{Reset: http.StatusBadGateway, CutOff: http.StatusOK, Drip: http.StatusOK} {
		w := httptest.NewRecorder()
		NewTransport(0).Serve(w, httptest.NewRequest(http.MethodGet, "/", nil), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("01"))
		}), []Spec{{Name: fault, Value: "1ms"}}, epoch, Answers{})
		if w.Code != status {
			t.Errorf("%s: got %d, want %d", fault, w.Code, status)
		}
	}
}

// TestSlow takes longer than the server gives its clients.
func TestSlow(t *testing.T) {
	t.Parallel()
	for _, spec := range []Spec{{Name: Latency, Value: "400ms"}, {Name: Drip, Value: "40ms"}} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			NewTransport(0).Serve(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(w, r.Body)
			}), []Spec{spec}, epoch, Answers{})
		}))
		server.Config.ReadTimeout, server.Config.WriteTimeout = 200*time.Millisecond, 200*time.Millisecond
		server.Start()
		defer server.Close()
		response, err := http.Post(server.URL, "", strings.NewReader("0123456789"))
		if err != nil {
			t.Errorf("%s: %v", spec, err)
			continue
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if string(body) != "0123456789" || err != nil {
			t.Errorf("%s: got %q, %v", spec, body, err)
		}
	}
}

// TestEndlessAborts reads until the end, which is none.
func TestEndlessAborts(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	defer func() {
		if got := recover(); got != http.ErrAbortHandler {
			t.Errorf("it ended with %v", got)
		}
	}()
	NewTransport(0).Serve(discard{w}, httptest.NewRequest(http.MethodGet, "/", nil), http.NotFoundHandler(), []Spec{{Name: Endless}}, epoch, Answers{})
}

type discard struct{ *httptest.ResponseRecorder }

func (discard) Write(p []byte) (int, error) { return len(p), nil }
