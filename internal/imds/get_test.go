package imds

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/reason"
)

const (
	entryPath = "placement/region"
	// entryLimit is more than that of a token, so that one bound is not
	// taken for the other.
	entryLimit = 3000
	// slack is what a busy machine may take beyond a deadline.
	slack = time.Second
)

// get gets the entry and checks what holds for every answer.
func get(t *testing.T, c *Client, within time.Duration) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	start := time.Now()
	body, err := c.Get(ctx, entryPath, entryLimit)
	if took := time.Since(start); took > within+slack {
		t.Errorf("it took %v, longer than %v", took, within)
	}
	checkAnswer(t, body, err)
	return body, err
}

func checkAnswer(t *testing.T, body []byte, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if body != nil {
		t.Errorf("there is a body with the error: %q", body)
	}
	text := err.Error()
	if strings.ContainsFunc(text, unicode.IsControl) || text == "" {
		t.Errorf("the error is no line of text: %q", text)
	}
	if strings.Contains(text, sessionToken) || strings.Contains(text, "operation error") || strings.Contains(text, "error page") {
		t.Errorf("the error says what it should not: %s", text)
	}
	if word := reason.Of(err); !errors.Is(err, ErrNotFound) && word != reason.IMDSUnreachable && word != reason.IMDSError {
		t.Errorf("the error has the reason %q: %v", word, err)
	}
}

// once answers the first request with first and the later ones with then.
func once(first, then exchangeFunc) exchangeFunc {
	return func(s *service, conn net.Conn, n int) bool {
		if n == 0 {
			return first(s, conn, n)
		}
		return then(s, conn, n)
	}
}

// hinted answers with two informational answers before that of then.
func hinted(then exchangeFunc) exchangeFunc {
	return func(s *service, conn net.Conn, n int) bool {
		fmt.Fprint(conn, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
		return then(s, conn, n)
	}
}

// drip writes begin and then a byte a second.
func drip(begin, rest string) exchangeFunc {
	return func(s *service, conn net.Conn, _ int) bool {
		fmt.Fprint(conn, begin)
		second := time.NewTicker(time.Second)
		defer second.Stop()
		for _, c := range []byte(rest) {
			select {
			case <-s.done:
				return false
			case <-second.C:
				conn.Write([]byte{c})
			}
		}
		return true
	}
}

func zipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(text))
	w.Close()
	return b.String()
}

// An outcome is what Get comes to: the error's word, "not-found", or "" for a
// body; and how many requests were made, where it says.
type outcome struct {
	word       string
	puts, gets int
	says       string // part of the sentence
}

const anyNumber = -1

func (o outcome) judge(t *testing.T, s *service, body []byte, err error, want string) {
	t.Helper()
	word := string(reason.Of(err))
	if errors.Is(err, ErrNotFound) {
		word = "not-found"
	}
	if word != o.word || (err == nil) != (o.word == "") {
		t.Errorf("got %q (%v), want %q", word, err, o.word)
	}
	if err == nil && string(body) != want {
		t.Errorf("got %.100q (%d bytes), want %.100q (%d bytes)", body, len(body), want, len(want))
	}
	if err != nil && !strings.Contains(err.Error(), o.says) {
		t.Errorf("the sentence does not say %q: %v", o.says, err)
	}
	puts, gets := s.counts()
	if o.puts != anyNumber && puts != o.puts || o.gets != anyNumber && gets != o.gets {
		t.Errorf("%d tokens and %d entries were asked for, want %d and %d", puts, gets, o.puts, o.gets)
	}
	if o.puts == anyNumber && puts < 3 || o.gets == anyNumber && gets < 3 {
		t.Errorf("%d tokens and %d entries were asked for: that is not patient", puts, gets)
	}
}

const (
	notFound    = "not-found"
	unreachable = string(reason.IMDSUnreachable)
	fault       = string(reason.IMDSError)

	short = 450 * time.Millisecond // where the deadline ends it
	long  = 10 * time.Second       // where something else has to
)

// Each row is one fault, in the answer to the request for a token and in the
// answer to the one for the entry.
func TestGet(t *testing.T) {
	t.Parallel()
	target := newService(t, status(500), status(500))
	location := "Location: " + target.url() + "/latest/meta-data/" + entryPath
	longHeader := "X-Filler: " + strings.Repeat("x", 2*maxHeader)
	tests := []struct {
		name         string
		answer       exchangeFunc
		within       time.Duration
		token, entry outcome
	}{
		{"nothing", until, short, outcome{unreachable, 1, 0, "did not answer"}, outcome{unreachable, 1, 1, "did not answer"}},
		{"a dripping header", drip("HTTP/1.1 200 OK\r\n", "Content-Length: 1\r\n\r\n"), short, outcome{unreachable, 1, 0, "in time"}, outcome{unreachable, 1, 1, "in time"}},
		{"a dripping body", drip("HTTP/1.1 200 OK\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 300\r\nContent-Length: 9\r\n\r\n", "body body"), short, outcome{unreachable, 1, 0, "in time"}, outcome{unreachable, 1, 1, "in time"}},
		{"a dripping error", drip("HTTP/1.1 500 x\r\nContent-Length: 9\r\n\r\n", "body body"), short, outcome{unreachable, 1, 0, "in time"}, outcome{unreachable, 1, 1, "in time"}},
		{"Connection: close", nil, long, outcome{"", 1, 1, ""}, outcome{"", 1, 1, ""}},

		{"201", status(201), long, outcome{fault, 1, 0, "status 201"}, outcome{fault, 1, 1, "status 201"}},
		{"204", raw("HTTP/1.1 204 x\r\n\r\n"), long, outcome{fault, 1, 0, "status 204"}, outcome{fault, 1, 1, "status 204"}},
		{"206", status(206), long, outcome{fault, 1, 0, "status 206"}, outcome{fault, 1, 1, "status 206"}},
		{"301", status(301, location), long, outcome{fault, 1, 0, "redirect (301)"}, outcome{fault, 1, 1, "redirect (301)"}},
		{"302", status(302, location), long, outcome{fault, 1, 0, "redirect (302)"}, outcome{fault, 1, 1, "redirect (302)"}},
		{"303", status(303, location), long, outcome{fault, 1, 0, "redirect (303)"}, outcome{fault, 1, 1, "redirect (303)"}},
		{"307", status(307, location), long, outcome{fault, 1, 0, "redirect (307)"}, outcome{fault, 1, 1, "redirect (307)"}},
		{"308", status(308, location), long, outcome{fault, 1, 0, "redirect (308)"}, outcome{fault, 1, 1, "redirect (308)"}},
		{"400", status(400), long, outcome{fault, 1, 0, "status 400"}, outcome{fault, 1, 1, "status 400"}},
		{"401 once", once(status(401), nil), long, outcome{"", 2, 1, ""}, outcome{"", 2, 2, ""}},
		{"401", status(401), long, outcome{fault, 2, 0, "status 401"}, outcome{fault, 2, 2, "status 401"}},
		{"403", status(403), long, outcome{fault, 1, 0, "status 403"}, outcome{fault, 1, 1, "status 403"}},
		{"404", status(404), long, outcome{fault, 1, 0, "status 404"}, outcome{notFound, 1, 1, ""}},
		{"405", status(405), long, outcome{fault, 1, 0, "status 405"}, outcome{fault, 1, 1, "status 405"}},
		{"410", status(410), long, outcome{fault, 1, 0, "status 410"}, outcome{fault, 1, 1, "status 410"}},
		{"429 once", once(status(429), nil), long, outcome{"", 2, 1, ""}, outcome{"", 1, 2, ""}},
		{"429", status(429), time.Second, outcome{fault, anyNumber, 0, "status 429"}, outcome{fault, 1, anyNumber, "status 429"}},
		{"500 once", once(status(500), nil), long, outcome{"", 2, 1, ""}, outcome{"", 1, 2, ""}},
		{"500", status(500), long, outcome{fault, 3, 0, "status 500"}, outcome{fault, 1, 3, "status 500"}},
		{"502", status(502), long, outcome{fault, 3, 0, "status 502"}, outcome{fault, 1, 3, "status 502"}},
		{"503 once", once(status(503), nil), long, outcome{"", 2, 1, ""}, outcome{"", 1, 2, ""}},
		{"503", status(503), time.Second, outcome{fault, anyNumber, 0, "status 503"}, outcome{fault, 1, anyNumber, "status 503"}},

		{"an endless body", endless("HTTP/1.1 200 OK\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 300\r\n\r\n", "x"), long, outcome{fault, 1, 0, "more than 1024 bytes"}, outcome{fault, 1, 1, "more than 3000 bytes"}},
		{"an endless error", endless("HTTP/1.1 403 x\r\n\r\n", "x"), long, outcome{fault, 1, 0, "status 403"}, outcome{fault, 1, 1, "status 403"}},
		{"a body cut off", raw("HTTP/1.1 200 OK\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 300\r\nContent-Length: 99\r\n\r\nx"), long, outcome{fault, 3, 0, "early"}, outcome{fault, 1, 3, "early"}},
		{"a length of exabytes", raw("HTTP/1.1 200 OK\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 300\r\nContent-Length: 9223372036854775807\r\n\r\nx"), long, outcome{fault, 1, 0, "more than 1024 bytes"}, outcome{fault, 1, 1, "more than 3000 bytes"}},
		{"a chunk cut off", raw("HTTP/1.1 200 OK\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 300\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nx"), long, outcome{fault, 3, 0, "early"}, outcome{fault, 1, 3, "early"}},
		{"a body cut off once", once(raw("HTTP/1.1 200 OK\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 300\r\nContent-Length: 99\r\n\r\nx"), nil), long, outcome{"", 2, 1, ""}, outcome{"", 1, 2, ""}},
		// Where a kept connection ends before its answer there is one more
		// request, which is no attempt.
		{"a reset", reset, long, outcome{fault, 3, 0, "closed the connection"}, outcome{fault, 1, 4, "closed the connection"}},
		{"a reset once", once(reset, nil), long, outcome{"", 2, 1, ""}, outcome{"", 1, 2, ""}},
		{"an end", raw(""), long, outcome{fault, 3, 0, "closed the connection"}, outcome{fault, 1, 4, "closed the connection"}},
		{"garbage", raw("SSH-2.0-OpenSSH_9.2\r\n\x1b[31m\x00\xff\r\n\r\n"), long, outcome{fault, 3, 0, "valid answer"}, outcome{fault, 1, 3, "valid answer"}},
		{"an endless header", endless("HTTP/1.1 200 OK\r\n", "X-A: b\r\n"), long, outcome{fault, 3, 0, "valid answer"}, outcome{fault, 1, 3, "valid answer"}},
		{"a header of two bounds", ok("x", longHeader), long, outcome{fault, 3, 0, "valid answer"}, outcome{fault, 1, 3, "valid answer"}},
		{"an endless header line", endless("HTTP/1.1 200 OK\r\nX-A: ", "x"), long, outcome{fault, 3, 0, "valid answer"}, outcome{fault, 1, 3, "valid answer"}},
		{"1xx first", nil, long, outcome{"", 1, 1, ""}, outcome{"", 1, 1, ""}},
		{"endless 1xx", endless("", "HTTP/1.1 103 Early Hints\r\n\r\n"), long, outcome{fault, 3, 0, "valid answer"}, outcome{fault, 1, 3, "valid answer"}},
	}
	for _, test := range tests {
		t.Run("token: "+test.name, func(t *testing.T) {
			t.Parallel()
			answer := test.answer
			switch {
			case test.name == "1xx first":
				answer = hinted(goodToken)
			case answer == nil:
				answer = func(s *service, conn net.Conn, n int) bool {
					s.mu.Lock()
					s.issued[sessionToken] = true
					s.mu.Unlock()
					return ok(sessionToken, "Connection: close")(s, conn, n)
				}
			case strings.HasSuffix(test.name, " once"):
				first := test.answer
				answer = once(first, goodToken)
			}
			s := newService(t, answer, goodEntry)
			body, err := get(t, New(s.url(), "test", time.Minute, nil), test.within)
			test.token.judge(t, s, body, err, entryBody)
		})
		t.Run("entry: "+test.name, func(t *testing.T) {
			t.Parallel()
			answer := test.answer
			switch {
			case test.name == "1xx first":
				answer = hinted(goodEntry)
			case answer == nil:
				answer = ok(entryBody, "Connection: close")
			case strings.HasSuffix(test.name, " once"):
				first := test.answer
				answer = once(first, goodEntry)
			}
			s := newService(t, goodToken, answer)
			body, err := get(t, New(s.url(), "test", time.Minute, nil), test.within)
			test.entry.judge(t, s, body, err, entryBody)
		})
	}
	t.Cleanup(func() {
		if puts, gets := target.counts(); puts+gets > 0 {
			t.Errorf("a redirect was followed: %v", target.paths)
		}
	})
}

// A server that switches protocols keeps the connection, and there is no body
// to read to its end.
func TestGetSwitchingProtocols(t *testing.T) {
	t.Parallel()
	answer := func(s *service, conn net.Conn, n int) bool {
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
		return until(s, conn, n)
	}
	s := newService(t, answer, nil)
	body, err := get(t, New(s.url(), "test", time.Minute, nil), short)
	outcome{fault, 1, 0, "status 101"}.judge(t, s, body, err, "")
	s = newService(t, goodToken, answer)
	body, err = get(t, New(s.url(), "test", time.Minute, nil), short)
	outcome{fault, 1, 1, "status 101"}.judge(t, s, body, err, "")
}

func TestGetBodies(t *testing.T) {
	t.Parallel()
	full := strings.Repeat("x", entryLimit)
	for name, body := range map[string]string{
		"empty": "", "one byte": "\x00", "at the limit": full, "gzip": zipped("not unpacked"), "binary": "\xff\x00\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, answer := range map[string]exchangeFunc{
				"length": ok(body, "Content-Encoding: gzip"),
				"close":  raw("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body),
				"chunks": raw(fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n", chunk(body))),
			} {
				s := newService(t, goodToken, answer)
				got, err := get(t, New(s.url(), "test", time.Minute, nil), long)
				outcome{"", 1, 1, ""}.judge(t, s, got, err, body)
				if slices.ContainsFunc(s.encoding, func(e string) bool { return e != "" && e != "identity" }) {
					t.Errorf("the requests take encodings: %q", s.encoding)
				}
			}
		})
	}
	for name, answer := range map[string]exchangeFunc{
		"length": ok(full + "x"),
		"close":  raw("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + full + "x"),
		"chunks": raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(full) + chunk("x") + "0\r\n\r\n"),
	} {
		t.Run("a byte too many, "+name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, goodToken, answer)
			body, err := get(t, New(s.url(), "test", time.Minute, nil), long)
			outcome{fault, 1, 1, "more than 3000 bytes"}.judge(t, s, body, err, "")
		})
	}
}

func chunk(s string) string {
	if s == "" {
		return ""
	}
	return fmt.Sprintf("%x\r\n%s\r\n", len(s), s)
}

func TestGetTokens(t *testing.T) {
	t.Parallel()
	give := func(token string) exchangeFunc {
		return func(s *service, conn net.Conn, n int) bool {
			s.mu.Lock()
			s.issued[token] = true
			s.mu.Unlock()
			return ok(token)(s, conn, n)
		}
	}
	const ttl = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	for name, test := range map[string]struct {
		answer exchangeFunc
		want   outcome
	}{
		"at the limit":      {give(strings.Repeat("x", maxToken)), outcome{"", 1, 1, ""}},
		"a byte too many":   {give(strings.Repeat("x", maxToken+1)), outcome{fault, 1, 0, "more than 1024 bytes"}},
		"empty":             {give(""), outcome{fault, 1, 0, "no valid session token"}},
		"a space":           {give(" "), outcome{fault, 1, 0, "no valid session token"}},
		"two lines":         {give(sessionToken + "\r\nX-Injected: 1"), outcome{fault, 1, 0, "no valid session token"}},
		"NUL":               {give(sessionToken + "\x00"), outcome{fault, 1, 0, "no valid session token"}},
		"not ASCII":         {give(sessionToken + "\u00e4"), outcome{fault, 1, 0, "no valid session token"}},
		"gzip":              {give(zipped(sessionToken)), outcome{fault, 1, 0, "no valid session token"}},
		"without lifetime":  {raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntoken"), outcome{fault, 1, 0, "without a lifetime"}},
		"a junk lifetime":   {raw("HTTP/1.1 200 OK\r\n" + ttl + ": soon\r\nContent-Length: 5\r\n\r\ntoken"), outcome{fault, 1, 0, "without a lifetime"}},
		"a lifetime of two": {raw("HTTP/1.1 200 OK\r\n" + ttl + ": 3 4\r\nContent-Length: 5\r\n\r\ntoken"), outcome{fault, 1, 0, "without a lifetime"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, test.answer, goodEntry)
			body, err := get(t, New(s.url(), "test", time.Minute, nil), long)
			test.want.judge(t, s, body, err, entryBody)
		})
	}
}

func TestGetRefusedPort(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	start := time.Now()
	_, err = get(t, New("http://"+listener.Addr().String(), "test", time.Minute, nil), long)
	if reason.Of(err) != reason.IMDSUnreachable || !strings.HasSuffix(err.Error(), "cannot be reached: connection refused") {
		t.Errorf("a refused port: %v", err)
	}
	if took := time.Since(start); took > slack {
		t.Errorf("a refused port took %v", took)
	}

	// The service goes away after the token.
	var s *service
	s = newService(t, func(_ *service, conn net.Conn, n int) bool {
		s.listener.Close()
		goodToken(s, conn, n)
		return false
	}, nil)
	c := New(s.url(), "test", time.Minute, nil)
	body, err := get(t, c, long)
	if reason.Of(err) == "" || body != nil {
		t.Errorf("a service that went away: %q, %v", body, err)
	}
	// Now no connection is left.
	if _, err := get(t, c, long); reason.Of(err) != reason.IMDSUnreachable {
		t.Errorf("a service that is away: %v", err)
	}
}

// TestGetDroppedPackets asks a port whose queue is full: Linux drops further
// SYNs to it.
func TestGetDroppedPackets(t *testing.T) {
	t.Parallel()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
	for range 10 {
		conn, err := net.DialTimeout("tcp", address, 300*time.Millisecond)
		if err != nil {
			for _, within := range []time.Duration{short, long} {
				start := time.Now()
				_, err = get(t, New("http://"+address, "test", time.Minute, nil), within)
				if reason.Of(err) != reason.IMDSUnreachable || !strings.HasSuffix(err.Error(), "did not answer in time") || !IsOutage(err) {
					t.Errorf("an address that drops packets: %v", err)
				}
				if took := time.Since(start); took > connectTimeout+slack {
					t.Errorf("an address that drops packets took %v", took)
				}
			}
			return
		}
		defer conn.Close()
	}
	t.Fatal("the queue does not fill")
}

func TestGetPaths(t *testing.T) {
	t.Parallel()
	s := newService(t, goodToken, goodEntry)
	c := New(s.url(), "test", time.Minute, nil)
	for _, user := range []string{"ec2-user", "a@b", "a.b", "_a", "a-", "user$", "i-0123456789abcdef0.port0", "1a", "a..b", "a.", "A"} {
		path := "managed-ssh-keys/active-keys/" + user + "/"
		if _, err := c.Get(t.Context(), path, entryLimit); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if got, want := s.paths[len(s.paths)-1], "GET /latest/meta-data/"+path; got != want {
			t.Errorf("asked for %q, want %q", got, want)
		}
	}
	if puts, _ := s.counts(); puts != 1 {
		t.Errorf("%d tokens were asked for, want 1", puts)
	}
	if want := slices.Repeat([]string{"test"}, len(s.agents)); !slices.Equal(s.agents, want) {
		t.Errorf("the user agents are %q", s.agents)
	}
}

func TestGetTogether(t *testing.T) {
	t.Parallel()
	s := newService(t, goodToken, goodEntry)
	c := New(s.url(), "test", time.Minute, nil)
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			body, err := get(t, c, long)
			if err != nil || string(body) != entryBody {
				t.Errorf("got %q, %v", body, err)
			}
		})
	}
	wait.Wait()
	if puts, gets := s.counts(); puts != 1 || gets != 50 {
		t.Errorf("%d tokens and %d entries were asked for, want 1 and 50", puts, gets)
	}
}

// One after the other, requests share a connection, errors included.
func TestGetKeepsConnection(t *testing.T) {
	t.Parallel()
	s := newService(t, goodToken, func(s *service, conn net.Conn, n int) bool {
		return []exchangeFunc{goodEntry, status(http.StatusNotFound)}[n%2](s, conn, n)
	})
	c := New(s.url(), "test", time.Minute, nil)
	for range 6 {
		get(t, c, long)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) != 1 {
		t.Errorf("6 requests took %d connections, want 1", len(s.conns))
	}
}

// What comes behind an answer that nobody asked for, or behind the part of an
// error page that is read, is no answer to the next request.
func TestGetUnasked(t *testing.T) {
	t.Parallel()
	const evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	for name, test := range map[string]struct{ first, later string }{
		"answer": {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + evil, ""},
		"page":   {fmt.Sprintf("HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%s", maxErrorBody+len(evil), strings.Repeat("x", maxErrorBody)), evil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var first net.Conn
			s := newService(t, goodToken, func(s *service, conn net.Conn, n int) bool {
				if n == 0 {
					first = conn
					fmt.Fprint(conn, test.first)
					return true
				}
				if conn == first {
					fmt.Fprint(conn, test.later)
				}
				return goodEntry(s, conn, n)
			})
			c := New(s.url(), "test", time.Minute, nil)
			get(t, c, long)
			if body, err := get(t, c, long); err != nil || string(body) != entryBody {
				t.Errorf("got %q, %v", body, err)
			}
		})
	}
}

func TestGetEndedContext(t *testing.T) {
	t.Parallel()
	s := newService(t, goodToken, goodEntry)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	body, err := New(s.url(), "test", time.Minute, nil).Get(ctx, entryPath, entryLimit)
	checkAnswer(t, body, err)
	if reason.Of(err) != reason.IMDSUnreachable {
		t.Errorf("with a context that has ended: %v", err)
	}

	// A context without a deadline ends the patience with throttling.
	ctx, cancel = context.WithCancel(t.Context())
	s = newService(t, goodToken, func(s *service, conn net.Conn, n int) bool {
		if n == 3 {
			cancel()
		}
		return status(http.StatusServiceUnavailable)(s, conn, n)
	})
	body, err = New(s.url(), "test", time.Minute, nil).Get(ctx, entryPath, entryLimit)
	checkAnswer(t, body, err)
	if reason.Of(err) == "" {
		t.Errorf("with a context that ends: %q, %v", body, err)
	}
	if _, gets := s.counts(); gets < 4 || gets > 5 {
		t.Errorf("%d entries were asked for, want 4", gets)
	}
}

// A run asks for a token and an entry over a new connection.
func BenchmarkGet(b *testing.B) {
	s := newService(b, goodToken, goodEntry)
	b.ReportAllocs()
	for b.Loop() {
		c := New(s.url(), "test", time.Minute, nil)
		if _, err := c.Get(b.Context(), "instance-id", 100); err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}
