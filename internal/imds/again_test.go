package imds

import (
	"context"
	"net"
	"testing"
	"time"
)

// after gives the first exchanges to one function and the rest to another.
func after(n int, first, rest exchangeFunc) exchangeFunc {
	return func(s *service, conn net.Conn, i int) bool {
		if i < n {
			return first(s, conn, i)
		}
		return rest(s, conn, i)
	}
}

// A request that is not answered is sent once more, and the first answer counts.
func TestUnanswered(t *testing.T) {
	t.Parallel()
	const patience = 50 * time.Millisecond
	slow := func(answer exchangeFunc) exchangeFunc {
		return func(s *service, conn net.Conn, n int) bool {
			select {
			case <-time.After(6 * patience):
			case <-s.done:
			}
			return answer(s, conn, n)
		}
	}
	stalled := func(s *service, conn net.Conn, n int) bool {
		raw("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nwhat")(s, conn, n)
		return until(s, conn, n)
	}
	for name, test := range map[string]struct {
		token, entry exchangeFunc
		puts, gets   int
	}{
		"every answer comes":              {goodToken, goodEntry, 1, 1},
		"the first token request is lost": {after(1, until, goodToken), goodEntry, 2, 1},
		"the first entry request is lost": {goodToken, after(1, until, goodEntry), 1, 2},
		"both first requests are lost":    {after(1, until, goodToken), after(1, until, goodEntry), 2, 2},
		"the first answer stops":          {goodToken, after(1, stalled, goodEntry), 1, 2},
		"a slow service":                  {slow(goodToken), slow(goodEntry), 2, 2},
		"the second request is refused":   {goodToken, after(1, slow(goodEntry), reset), 1, 2},
		"the first request fails late":    {goodToken, after(1, slow(reset), slow(goodEntry)), 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, test.token, test.entry)
			c := New(s.url(), "test", patience, nil)
			defer c.Close()
			body, err := get(t, c, long)
			if err != nil || string(body) != entryBody {
				t.Errorf("got %q, %v", body, err)
			}
			// A busy machine may take longer than the patience for an answer, and a kept
			// connection that breaks is replaced.
			puts, gets := s.counts()
			if puts < test.puts || gets < test.gets || puts > 2 || gets > 3 {
				t.Errorf("%d tokens and %d entries were asked for, want %d and %d", puts, gets, test.puts, test.gets)
			}
		})
	}
}

// Within its patience a request is sent once.
func TestPatience(t *testing.T) {
	t.Parallel()
	s := newService(t, goodToken, until)
	c := New(s.url(), "test", time.Hour, nil)
	if body, err := get(t, c, short); err == nil {
		t.Errorf("got %q", body)
	}
	if puts, gets := s.counts(); puts != 1 || gets != 1 {
		t.Errorf("%d tokens and %d entries were asked for", puts, gets)
	}
}

// Of two addresses the other one is tried first where the first took the connection
// and did not answer.
func TestOtherAddress(t *testing.T) {
	t.Parallel()
	silent, good := newService(t, until, until), newService(t, goodToken, goodEntry)
	c := New("http://127.0.0.1:9", "test", 50*time.Millisecond, nil)
	c.transport.wire.dial = func(ctx context.Context, again bool) (net.Conn, error) {
		if again {
			return dialer().DialContext(ctx, "tcp", good.listener.Addr().String())
		}
		return dialer().DialContext(ctx, "tcp", silent.listener.Addr().String())
	}
	if body, err := get(t, c, long); err != nil || string(body) != entryBody {
		t.Errorf("got %q, %v", body, err)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	first, second := addresses(false)
	if first != "169.254.169.254:80" || second != "[fd00:ec2::254]:80" {
		t.Errorf("%s, then %s", first, second)
	}
	if again, then := addresses(true); again != second || then != first {
		t.Errorf("again %s, then %s", again, then)
	}
}

// What was kept may be as dead as the connection of the attempt before.
func TestAgainDials(t *testing.T) {
	t.Parallel()
	dialled := 0
	w := wire{dial: func(context.Context, bool) (net.Conn, error) {
		dialled++
		conn, other := net.Pipe()
		other.Close()
		return conn, nil
	}}
	for i, again := range []bool{false, false, true} {
		l, err := w.link(t.Context(), again)
		if err != nil {
			t.Fatal(err)
		}
		if want := []int{1, 1, 2}[i]; dialled != want {
			t.Errorf("attempt %d: dialled %d times, want %d", i, dialled, want)
		}
		w.keep(l)
	}
	w.close()
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	for name, entry := range map[string]exchangeFunc{
		"with a length":    ok("0123456789"),
		"without a length": raw("HTTP/1.1 200 OK\r\n\r\n0123456789"),
		"one byte":         ok("01234"),
	} {
		c := New(newService(t, goodToken, entry).url(), "test", time.Minute, nil)
		_, err := c.Get(t.Context(), entryPath, 4)
		large, ok := err.(TooLarge)
		if !ok || string(large.Beginning) != "0123" || IsOutage(err) {
			t.Errorf("%s: %v, with %q", name, err, large.Beginning)
		}
	}
}
