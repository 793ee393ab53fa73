package imds

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// sessionToken is what the fake service gives out first; later ones have a
// number behind it.
const sessionToken = "c2Vzc2lvbi10b2tlbg=="

// An exchangeFunc answers one request by writing to conn, and reports whether
// the connection may carry another. n counts the requests of that kind from 0.
type exchangeFunc func(s *service, conn net.Conn, n int) bool

// A service is a metadata service made of raw bytes, so that it can break every
// rule of HTTP. Whatever token and entry do, it checks that entries are asked
// for with a token that it gave out.
type service struct {
	t            testing.TB
	listener     net.Listener
	token, entry exchangeFunc
	done         chan struct{} // closed when the test is over

	mu       sync.Mutex
	puts     int
	gets     int
	paths    []string
	agents   []string
	encoding []string
	issued   map[string]bool
	conns    []net.Conn
}

func newService(t testing.TB, token, entry exchangeFunc) *service {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, listener: listener, token: token, entry: entry, done: make(chan struct{}), issued: make(map[string]bool)}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, conn)
			s.mu.Unlock()
			serving.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		close(s.done)
		listener.Close()
		s.mu.Lock()
		for _, conn := range s.conns {
			conn.Close()
		}
		s.mu.Unlock()
		serving.Wait()
	})
	return s
}

func (s *service) url() string { return "http://" + s.listener.Addr().String() }

func (s *service) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		n, answer := s.note(req)
		if answer == nil || !answer(s, conn, n) {
			return
		}
	}
}

// note checks and counts a request and returns what answers it.
func (s *service) note(req *http.Request) (int, exchangeFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paths = append(s.paths, req.Method+" "+req.RequestURI)
	s.agents = append(s.agents, req.UserAgent())
	s.encoding = append(s.encoding, req.Header.Get("Accept-Encoding"))
	given := req.Header.Values("X-Aws-Ec2-Metadata-Token")
	switch req.Method {
	case http.MethodPut:
		if req.RequestURI != "/latest/api/token" || req.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") == "" || len(given) > 0 {
			s.t.Errorf("the request for a token is %s with %v", req.RequestURI, req.Header)
		}
		s.puts++
		return s.puts - 1, s.token
	case http.MethodGet:
		if len(given) != 1 || !s.issued[given[0]] {
			s.t.Errorf("an entry was asked for with the tokens %q, of which none was given out", given)
		}
		s.gets++
		return s.gets - 1, s.entry
	}
	s.t.Errorf("a request has the method %s", req.Method)
	return 0, nil
}

func (s *service) counts() (puts, gets int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.puts, s.gets
}

// raw answers with bytes as they are, and closes the connection.
func raw(text string) exchangeFunc {
	return func(_ *service, conn net.Conn, _ int) bool {
		fmt.Fprint(conn, text)
		return false
	}
}

// status answers with a status and further header lines.
func status(code int, header ...string) exchangeFunc {
	return func(_ *service, conn net.Conn, _ int) bool {
		const body = "<html>an error page</html>"
		fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Length: %d\r\n%s\r\n%s", code, http.StatusText(code), len(body), lines(header), body)
		return true
	}
}

func lines(header []string) string {
	if len(header) == 0 {
		return ""
	}
	return strings.Join(header, "\r\n") + "\r\n"
}

// ok answers with 200 and body. The header has the lifetime of a token, which
// entries do not need.
func ok(body string, header ...string) exchangeFunc {
	return func(s *service, conn net.Conn, _ int) bool {
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 300\r\n%s\r\n%s", len(body), lines(header), body)
		return len(header) == 0
	}
}

// goodToken gives out a token.
func goodToken(s *service, conn net.Conn, n int) bool {
	text := sessionToken
	if n > 0 {
		text += fmt.Sprint(n)
	}
	s.mu.Lock()
	s.issued[text] = true
	s.mu.Unlock()
	return ok(text)(s, conn, n)
}

const entryBody = "what the entry says\n"

func goodEntry(s *service, conn net.Conn, n int) bool { return ok(entryBody)(s, conn, n) }

// until waits for the end of the test.
func until(s *service, _ net.Conn, _ int) bool {
	<-s.done
	return false
}

// reset ends the connection with a RST.
func reset(_ *service, conn net.Conn, _ int) bool {
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
	return false
}

// endless writes begin and then more for as long as it is read.
func endless(begin, more string) exchangeFunc {
	more = strings.Repeat(more, 1+4096/len(more))
	return func(_ *service, conn net.Conn, _ int) bool {
		fmt.Fprint(conn, begin)
		for {
			if _, err := fmt.Fprint(conn, more); err != nil {
				return false
			}
		}
	}
}
