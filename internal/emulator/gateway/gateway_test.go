package gateway

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

const wait = 20 * time.Second

func newEd25519(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newKey(t testing.TB) ssh.Signer {
	t.Helper()
	signer, err := ssh.NewSignerFromSigner(newEd25519(t))
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// A door is a gateway that lets one key in, to one line.
type door struct {
	t       *testing.T
	key     ssh.Signer
	line    *Line
	address string

	mu     sync.Mutex
	cut    context.CancelCauseFunc // of the latest session
	busy   bool
	ends   chan ending
	logged []string
	admits []bool
	refuse error // of proved keys
	stop   context.CancelFunc
	served chan error
}

type ending struct {
	why     error
	dropped int64
}

func newDoor(t *testing.T, target string, change func(*Config)) *door {
	t.Helper()
	parsed, err := ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	line, err := Open(parsed)
	if err != nil {
		t.Fatal(err)
	}
	d := &door{t: t, key: newKey(t), line: line, ends: make(chan ending, 100), served: make(chan error, 1)}
	config := Config{HostKey: newKey(t), Admit: d.admit, Start: d.start, Log: d.log}
	if change != nil {
		change(&config)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.address = listener.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	go func() { d.served <- New(config).Serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-d.served; err != nil {
			t.Error(err)
		}
		line.Close()
	})
	return d
}

func (d *door) admit(c ssh.ConnMetadata, key ssh.PublicKey, proved bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.admits = append(d.admits, proved)
	if proved && d.refuse != nil {
		return d.refuse
	}
	if c.User() == "console" && bytes.Equal(key.Marshal(), d.key.PublicKey().Marshal()) {
		return nil
	}
	return errors.New("no")
}

func (d *door) start(ssh.ConnMetadata, ssh.PublicKey) (*Session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy {
		return nil, errors.New("there is a session already")
	}
	d.busy = true
	over, cut := context.WithCancelCause(context.Background())
	d.cut = cut
	return &Session{Line: d.line, Over: over, End: func(why error, dropped int64) {
		d.mu.Lock()
		d.busy = false
		d.mu.Unlock()
		d.ends <- ending{why, dropped}
	}}, nil
}

func (d *door) log(_ net.Addr, user, line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.logged = append(d.logged, user+": "+line)
}

func (d *door) lines() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.logged, "\n")
}

// ended returns how a session ended.
func (d *door) ended() ending {
	d.t.Helper()
	select {
	case e := <-d.ends:
		return e
	case <-time.After(wait):
		d.t.Fatal("the session does not end")
		return ending{}
	}
}

func (d *door) config() *ssh.ClientConfig {
	return &ssh.ClientConfig{User: "console", Auth: []ssh.AuthMethod{ssh.PublicKeys(d.key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: wait}
}

// A client is one with a session channel.
type client struct {
	*ssh.Client
	session *ssh.Session
	in      io.WriteCloser
	out     *output
	errors  *output
}

// An output gathers what comes.
type output struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func newOutput() *output { return &output{more: make(chan struct{}, 1)} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	signal(o.more)
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// until waits for a text to come.
func (o *output) until(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(wait)
	for !strings.Contains(o.String(), text) {
		select {
		case <-o.more:
		case <-timeout:
			t.Fatalf("%q does not come, only %q", text, o.String())
		}
	}
}

func (d *door) dial() *client {
	d.t.Helper()
	conn, err := ssh.Dial("tcp", d.address, d.config())
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { conn.Close() })
	session, err := conn.NewSession()
	if err != nil {
		d.t.Fatal(err)
	}
	c := &client{Client: conn, session: session, out: newOutput(), errors: newOutput()}
	session.Stdout, session.Stderr = c.out, c.errors
	if c.in, err = session.StdinPipe(); err != nil {
		d.t.Fatal(err)
	}
	return c
}

func (d *door) connect() *client {
	d.t.Helper()
	c := d.dial()
	if err := c.session.RequestPty("vt100", 24, 80, nil); err != nil {
		d.t.Fatal(err)
	}
	if err := c.session.Shell(); err != nil {
		d.t.Fatal(err)
	}
	return c
}

func (c *client) send(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(c.in, text); err != nil {
		t.Fatal(err)
	}
}

// A guest is the other end of a socket, as QEMU is.
type guest struct {
	t        *testing.T
	path     string
	listener net.Listener
}

func newGuest(t *testing.T) *guest {
	t.Helper()
	dir, err := os.MkdirTemp("", "gateway") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{t: t, path: filepath.Join(dir, "serial")}
	t.Cleanup(func() {
		g.listener.Close()
		os.RemoveAll(dir)
	})
	g.boot()
	return g
}

func (g *guest) boot() {
	g.t.Helper()
	var err error
	if g.listener, err = net.Listen("unix", g.path); err != nil {
		g.t.Fatal(err)
	}
}

func (g *guest) accept() net.Conn {
	g.t.Helper()
	conn, err := g.listener.Accept()
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		g.t.Fatal(err)
	}
	return conn
}

func read(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

func TestParseTarget(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Target{
		"pty": {kind: targetPty}, "pty:/run/x": {targetPty, "/run/x"}, "unix:/run/s": {targetSocket, "/run/s"},
		"/dev/ttyS1": {targetTTY, "/dev/ttyS1"}, "/dev/../dev/ttyS1": {targetTTY, "/dev/ttyS1"},
	} {
		if got, err := ParseTarget(text); err != nil || got != want {
			t.Errorf("%s is read as %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "pty:", "pty:x", "unix", "unix:", "unix:x", "ttyS0", "tcp:1", "pty:/a\x00", "unix:/" + strings.Repeat("x", 107)} {
		if got, err := ParseTarget(text); err == nil || got != (Target{}) {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
}

// TestSocket carries bytes both ways, whole, and drops what the guest says while
// nobody listens.
func TestSocket(t *testing.T) {
	t.Parallel()
	g := newGuest(t)
	d := newDoor(t, "unix:"+g.path, nil)
	serial := g.accept()
	write(t, serial, "nobody listens")
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	c := d.connect()
	c.send(t, string(all))
	read(t, serial, string(all))
	write(t, serial, string(all))
	c.out.until(t, string(all))
	if got := c.out.String(); got != string(all) {
		t.Errorf("got %q", got)
	}
	c.Close()
	if e := d.ended(); !errors.Is(e.why, ErrLeft) {
		t.Errorf("it ended since %v", e.why)
	}
	write(t, serial, "dropped")
	c = d.connect()
	write(t, serial, "kept")
	c.out.until(t, "kept")
	if got := c.out.String(); got != "kept" {
		t.Errorf("got %q", got)
	}
}

// TestReboot takes the guest away in a session, and brings it back.
func TestReboot(t *testing.T) {
	t.Parallel()
	g := newGuest(t)
	d := newDoor(t, "unix:"+g.path, nil)
	serial := g.accept()
	c := d.connect()
	write(t, serial, "before")
	c.out.until(t, "before")
	g.listener.Close()
	serial.Close()
	c.send(t, "nobody there")
	g.boot()
	serial = g.accept()
	write(t, serial, "after")
	c.out.until(t, "after")
	c.send(t, "hello")
	read(t, serial, "hello")
}

// TestLateGuest starts before the guest.
func TestLateGuest(t *testing.T) {
	t.Parallel()
	g := newGuest(t)
	g.listener.Close()
	d := newDoor(t, "unix:"+g.path, nil)
	c := d.connect()
	c.send(t, "too early")
	g.boot()
	write(t, g.accept(), "hello")
	c.out.until(t, "hello")
}

// TestRequests asks for everything that is no serial console.
func TestRequests(t *testing.T) {
	t.Parallel()
	g := newGuest(t)
	d := newDoor(t, "unix:"+g.path, nil)
	serial := g.accept()
	c := d.connect()
	for _, row := range []struct {
		name string
		want bool
	}{
		{"window-change", true}, {"pty-req", true}, {"shell", false}, {"exec", false}, {"subsystem", false}, {"env", false},
		{"x11-req", false}, {"auth-agent-req@openssh.com", false}, {"signal", false}, {"break", false}, {"nonsense", false},
	} {
		if got, err := c.session.SendRequest(row.name, true, nil); err != nil || got != row.want {
			t.Errorf("%s is answered with %v, %v", row.name, got, err)
		}
	}
	for _, name := range []string{"tcpip-forward", "streamlocal-forward@openssh.com", "keepalive@openssh.com", "no-more-sessions@openssh.com"} {
		if ok, _, err := c.SendRequest(name, true, nil); err != nil || ok {
			t.Errorf("%s is answered with %v, %v", name, ok, err)
		}
	}
	for _, kind := range []string{"direct-tcpip", "direct-streamlocal@openssh.com", "x11", "tun@openssh.com", "session", "nonsense"} {
		if channel, _, err := c.OpenChannel(kind, nil); err == nil {
			channel.Close()
			t.Errorf("a channel of type %s is opened", kind)
		}
	}
	c.send(t, "still here")
	read(t, serial, "still here")
	if got := d.lines(); !strings.Contains(got, "console: refused the request exec") || !strings.Contains(got, "cannot send a break: the port's backend does not support break") {
		t.Errorf("logged was %s", got)
	}
}

// TestManyRequests cannot flood the log.
func TestManyRequests(t *testing.T) {
	t.Parallel()
	g := newGuest(t)
	d := newDoor(t, "unix:"+g.path, nil)
	g.accept()
	c := d.connect()
	for i := range 200 {
		if got, err := c.session.SendRequest([]string{"break", "exec"}[i%2], true, nil); err != nil || got {
			t.Fatal(got, err)
		}
	}
	lines := strings.Split(d.lines(), "\n")
	if len(lines) != maxNotes || !strings.HasSuffix(lines[maxNotes-1], "; further events of this connection are not logged") || strings.HasSuffix(lines[maxNotes-2], "connection") {
		t.Errorf("logged was %q", lines)
	}
}

// TestExecAlone has no session to begin with.
func TestExecAlone(t *testing.T) {
	t.Parallel()
	g := newGuest(t)
	d := newDoor(t, "unix:"+g.path, nil)
	first, err := ssh.Dial("tcp", d.address, d.config())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if channel, _, err := first.OpenChannel("direct-tcpip", nil); err == nil {
		channel.Close()
		t.Error("a channel to elsewhere is opened first")
	}
	c := d.dial()
	if ok, err := c.session.SendRequest("break", true, nil); ok || err != nil {
		t.Errorf("a break without a session is answered with %v, %v", ok, err)
	}
	if err := c.session.Run("id"); err == nil {
		t.Error("a command was run")
	}
	if len(d.ends) != 0 {
		t.Error("there was a session")
	}
}

// TestSecond: the second client sees why it gets nothing.
func TestSecond(t *testing.T) {
	t.Parallel()
	g := newGuest(t)
	d := newDoor(t, "unix:"+g.path, nil)
	first := d.connect()
	second := d.connect()
	var exit *ssh.ExitError
	if err := second.session.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 1 {
		t.Errorf("it ended with %v", err)
	}
	second.errors.until(t, "eic-emulator: there is a session already.")
	write(t, g.accept(), "first")
	first.out.until(t, "first")
}

// TestCut ends sessions from outside.
func TestCut(t *testing.T) {
	t.Parallel()
	g := newGuest(t)
	d := newDoor(t, "unix:"+g.path, nil)
	c := d.connect()
	d.cut(errors.New("it is time"))
	c.errors.until(t, "\r\neic-emulator: it is time.\r\n")
	_ = c.session.Wait()
	if e := d.ended(); e.why.Error() != "it is time" {
		t.Errorf("it ended since %v", e.why)
	}
	c = d.connect()
	d.stop()
	c.errors.until(t, "the gateway is shutting down")
	if e := d.ended(); !errors.Is(e.why, ErrShutdown) {
		t.Errorf("it ended since %v", e.why)
	}
}

// TestEOF is a client that only listens.
func TestEOF(t *testing.T) {
	t.Parallel()
	g := newGuest(t)
	d := newDoor(t, "unix:"+g.path, nil)
	serial := g.accept()
	c := d.connect()
	c.send(t, "last words")
	if err := c.in.Close(); err != nil {
		t.Fatal(err)
	}
	read(t, serial, "last words")
	write(t, serial, "listen")
	c.out.until(t, "listen")
}

// TestStalledClient takes nothing while the guest writes 16 MB: the guest is let
// go on, and what is kept is bounded.
func TestStalledClient(t *testing.T) {
	t.Parallel()
	g := newGuest(t)
	d := newDoor(t, "unix:"+g.path, nil)
	serial := g.accept()
	c := d.dial()
	stalled, release := make(chan struct{}), make(chan struct{})
	c.session.Stdout = writerFunc(func(p []byte) (int, error) {
		select {
		case <-stalled:
		default:
			close(stalled)
		}
		<-release
		return c.out.Write(p)
	})
	if err := c.session.Shell(); err != nil {
		t.Fatal(err)
	}
	const total = 16 << 20
	write(t, serial, strings.Repeat("x", total))
	<-stalled
	close(release)
	// What the kernel still holds comes first, then the end.
	for range 100 {
		write(t, serial, "the end\n")
		if strings.Contains(c.out.String(), "the end\n") {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.out.until(t, "the end\n")
	c.Close()
	e := d.ended()
	if kept := int64(strings.Count(c.out.String(), "x")); e.dropped == 0 || kept+e.dropped > total+1<<10 || kept > 6<<20 {
		t.Errorf("%d were kept and %d dropped of %d", kept, e.dropped, total)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestFlood loses nothing of what a guest writes as fast as it can, when the
// client reads.
func TestFlood(t *testing.T) {
	t.Parallel()
	g := newGuest(t)
	d := newDoor(t, "unix:"+g.path, nil)
	serial := g.accept()
	c := d.connect()
	const total = 8 << 20
	write(t, serial, strings.Repeat("y", total)+"the end")
	c.out.until(t, "the end")
	if n := strings.Count(c.out.String(), "y"); n != total {
		t.Errorf("%d bytes came of %d", n, total)
	}
	c.Close()
	if e := d.ended(); e.dropped != 0 {
		t.Errorf("%d bytes were dropped", e.dropped)
	}
}

// TestDeafGuest reads nothing; the session ends nevertheless.
func TestDeafGuest(t *testing.T) {
	t.Parallel()
	g := newGuest(t)
	d := newDoor(t, "unix:"+g.path, nil)
	g.accept()
	c := d.connect()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.WriteString(c.in, strings.Repeat("z", 8<<20)) // it ends with the connection
	}()
	time.Sleep(100 * time.Millisecond) // any time will do: the guest never reads
	c.Close()
	d.ended()
	<-sent
}

// TestLastWords are typed by a client that leaves at once.
func TestLastWords(t *testing.T) {
	t.Parallel()
	g := newGuest(t)
	d := newDoor(t, "unix:"+g.path, nil)
	serial := g.accept()
	for range 20 {
		c := d.connect()
		text := strings.Repeat("words", 10000)
		c.send(t, text)
		c.Close()
		d.ended()
		read(t, serial, text)
	}
}

// TestGrace cuts clients off that do not get to a session.
func TestGrace(t *testing.T) {
	t.Parallel()
	g := newGuest(t)
	const grace = 2 * time.Second // enough to get to a session on a busy machine
	d := newDoor(t, "unix:"+g.path, func(c *Config) { c.Grace = grace })
	silent, err := net.Dial("tcp", d.address)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if err := silent.SetDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, silent); err != nil {
		t.Errorf("a client that says nothing: %v", err)
	}
	idle, err := ssh.Dial("tcp", d.address, d.config())
	if err != nil {
		t.Fatal(err)
	}
	_ = idle.Wait()
	c := d.connect()
	time.Sleep(grace + 300*time.Millisecond)
	write(t, g.accept(), "a session outlives it")
	c.out.until(t, "a session outlives it")
}

// TestPending bounds the clients without a session, and does not count the
// others.
func TestPending(t *testing.T) {
	t.Parallel()
	g := newGuest(t)
	d := newDoor(t, "unix:"+g.path, func(c *Config) { c.MaxPending = 2 })
	d.connect()
	var held []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", d.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		read(t, conn, "SSH-2.0-")
		held = append(held, conn)
	}
	if conn, err := ssh.Dial("tcp", d.address, d.config()); err == nil {
		conn.Close()
		t.Error("a third connection is served")
	}
	if got := d.lines(); !strings.Contains(got, "too many unauthenticated connections") {
		t.Errorf("logged was %q", got)
	}
	for _, conn := range held {
		conn.Close()
	}
	eventually(t, "there is room again", func() bool {
		conn, err := ssh.Dial("tcp", d.address, d.config())
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(wait); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting until %s", what)
		}
	}
}

// TestRefusedKeys are another key, another name, no key, and one that is not
// taken any more when the client has proved that it holds it.
func TestRefusedKeys(t *testing.T) {
	t.Parallel()
	g := newGuest(t)
	d := newDoor(t, "unix:"+g.path, nil)
	for name, change := range map[string]func(*ssh.ClientConfig){
		"another key":  func(c *ssh.ClientConfig) { c.Auth = []ssh.AuthMethod{ssh.PublicKeys(newKey(t))} },
		"another name": func(c *ssh.ClientConfig) { c.User = "x" },
		"no key":       func(c *ssh.ClientConfig) { c.Auth = nil },
		"a password":   func(c *ssh.ClientConfig) { c.Auth = []ssh.AuthMethod{ssh.Password("x")} },
	} {
		config := d.config()
		change(config)
		if conn, err := ssh.Dial("tcp", d.address, config); err == nil {
			conn.Close()
			t.Errorf("%s is let in", name)
		}
	}
	eventually(t, "two are said to have no key", func() bool { return strings.Count(d.lines(), "disconnected without offering a key") == 2 })
	d.mu.Lock()
	d.refuse = errors.New("too late")
	d.mu.Unlock()
	if conn, err := ssh.Dial("tcp", d.address, d.config()); err == nil {
		conn.Close()
		t.Error("a key is let in that is not taken any more")
	}
}

// TestGone is a client that is there and does not answer.
func TestGone(t *testing.T) {
	t.Parallel()
	g := newGuest(t)
	d := newDoor(t, "unix:"+g.path, func(c *Config) { c.Keepalive = 500 * time.Millisecond })
	conn, err := net.Dial("tcp", d.address)
	if err != nil {
		t.Fatal(err)
	}
	held := &holdable{Conn: conn, hold: make(chan struct{})}
	defer conn.Close()
	c, channels, requests, err := ssh.NewClientConn(held, d.address, d.config())
	if err != nil {
		t.Fatal(err)
	}
	client := ssh.NewClient(c, channels, requests)
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Shell(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1200 * time.Millisecond) // two keepalives
	if len(d.ends) != 0 {
		t.Fatal("a client that answers is cut off")
	}
	close(held.hold)
	if e := d.ended(); !errors.Is(e.why, ErrGone) {
		t.Errorf("it ended since %v", e.why)
	}
}

// A holdable connection writes nothing any more once it is held.
type holdable struct {
	net.Conn
	hold chan struct{}
}

func (h *holdable) Write(p []byte) (int, error) {
	select {
	case <-h.hold:
		return len(p), nil
	default:
		return h.Conn.Write(p)
	}
}

// TestRekey changes keys every few packets.
func TestRekey(t *testing.T) {
	t.Parallel()
	g := newGuest(t)
	d := newDoor(t, "unix:"+g.path, nil)
	serial := g.accept()
	config := d.config()
	config.RekeyThreshold = 4 << 10
	conn, err := ssh.Dial("tcp", d.address, config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	session, err := conn.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out := newOutput()
	session.Stdout = out
	in, err := session.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Shell(); err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("0123456789abcdef", 8<<10)
	go func() { _, _ = io.WriteString(in, text) }()
	read(t, serial, text)
	write(t, serial, text)
	out.until(t, text)
}

// TestNothingLeft looks for goroutines after sessions of all kinds.
func TestNothingLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	g := newGuest(t)
	d := newDoor(t, "unix:"+g.path, func(c *Config) { c.Grace = time.Second })
	serial := g.accept()
	for i := range 20 {
		c := d.connect()
		write(t, serial, "output")
		switch i % 4 {
		case 0:
			c.Close()
		case 1:
			c.session.Close()
		case 2:
			d.cut(errors.New("cut"))
		case 3:
			for range 40 { // more than are buffered, and nobody waits for the answers
				_, _ = c.session.SendRequest("nonsense", false, nil)
			}
			c.Close()
		}
		d.ended()
		c.Close()
	}
	for range 20 {
		conn, err := net.Dial("tcp", d.address)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
		conn.Close()
	}
	d.stop()
	d.served <- <-d.served
	d.line.Close()
	serial.Close()
	g.listener.Close()
	eventually(t, "the goroutines are gone", func() bool { return runtime.NumGoroutine() <= before })
}
