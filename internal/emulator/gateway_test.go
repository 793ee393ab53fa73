package emulator_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	eic "github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// A console is a served emulator, with a client of its API and a guest at the
// other end of each serial port.
type console struct {
	*emulator.Server
	t      *testing.T
	api    *eic.Client
	key    ssh.Signer
	guests map[string]net.Listener
	stop   func()
}

// newConsole joins the serial port of each instance to a socket, unless it says
// otherwise.
func newConsole(t *testing.T, o emulator.Options) *console {
	t.Helper()
	c := &console{t: t, key: newConsoleKey(t), guests: make(map[string]net.Listener)}
	if o.Instances == nil {
		o.Instances = []emulator.Instance{{ID: emulator.DefaultInstanceID}}
	}
	dir, err := os.MkdirTemp("", "console") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for i := range o.Instances {
		one := &o.Instances[i]
		if one.Serial != "" {
			continue
		}
		path := filepath.Join(dir, one.ID)
		listener, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		c.guests[one.ID], one.Serial = listener, "unix:"+path
	}
	o.SerialAccess = true
	c.Server = newServer(t, o)
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- c.Serve(ctx) }()
	c.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(c.stop)
	c.api = clientsAt(c.APIURL(), "us-east-1", testKey).eic
	return c
}

func newConsoleKey(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return newSigner(t, key, err)
}

func newSigner(t *testing.T, key crypto.Signer, err error) ssh.Signer {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func publicLine(key ssh.Signer) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey())))
}

func (c *console) push(id string, key ssh.Signer) error {
	_, err := c.api.SendSerialConsoleSSHPublicKey(c.t.Context(), &eic.SendSerialConsoleSSHPublicKeyInput{InstanceId: &id, SSHPublicKey: aws.String(publicLine(key) + " comment")})
	return err
}

func (c *console) mustPush(id string) {
	c.t.Helper()
	if err := c.push(id, c.key); err != nil {
		c.t.Fatal(err)
	}
}

func (c *console) dial(login string, key ssh.Signer) (*ssh.Client, error) {
	return ssh.Dial("tcp", c.GatewayAddr(), &ssh.ClientConfig{
		User: login, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 20 * time.Second,
	})
}

// A consoleClient is one that has a session.
type consoleClient struct {
	*ssh.Session
	conn *ssh.Client
	in   io.WriteCloser
	out  io.Reader
}

func (c *console) connect(id string) (*consoleClient, error) {
	conn, err := c.dial(id+".port0", c.key)
	if err != nil {
		return nil, err
	}
	c.t.Cleanup(func() { conn.Close() })
	session, err := conn.NewSession()
	if err != nil {
		return nil, err
	}
	in, inErr := session.StdinPipe()
	out, outErr := session.StdoutPipe()
	return &consoleClient{session, conn, in, out}, errors.Join(inErr, outErr, session.Shell())
}

func (c *console) mustConnect(id string) *consoleClient {
	c.t.Helper()
	client, err := c.connect(id)
	if err != nil {
		c.t.Fatal(err)
	}
	return client
}

// talk sends a line each way.
func (c *console) talk(id string, client *consoleClient, guest net.Conn) {
	c.t.Helper()
	for _, way := range []struct {
		from io.Writer
		to   io.Reader
		text string
	}{{client.in, guest, "to the guest " + id}, {guest, client.out, "from the guest " + id}} {
		if _, err := io.WriteString(way.from, way.text); err != nil {
			c.t.Fatal(err)
		}
		got := make([]byte, len(way.text))
		if _, err := io.ReadFull(way.to, got); err != nil || string(got) != way.text {
			c.t.Fatalf("got %q, %v, want %q", got, err, way.text)
		}
	}
}

func (c *console) guest(id string) net.Conn {
	c.t.Helper()
	conn, err := c.guests[id].Accept()
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	return conn
}

// event waits for the nth event of a kind.
func (c *console) event(kind string, n int) emulator.GatewayEvent {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		left := n
		for _, e := range c.GatewayEvents() {
			if e.Event == kind {
				if left--; left == 0 {
					return e
				}
			}
		}
	}
	c.t.Fatalf("there is no event %s number %d in %v", kind, n, c.GatewayEvents())
	return emulator.GatewayEvent{}
}

func TestGateway(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	c := newConsole(t, emulator.Options{GatewayLog: &log, SerialPause: -1})
	const id = emulator.DefaultInstanceID
	guest := c.guest(id)
	if _, err := c.connect(id); err == nil {
		t.Fatal("a key that nobody pushed is let in")
	}
	c.mustPush(id)
	client := c.mustConnect(id)
	c.talk(id, client, guest)
	checkCode(t, "during a session", c.push(id, c.key), "SerialConsoleSessionLimitExceededException", http.StatusBadRequest)

	second := c.mustConnect(id)
	var exit *ssh.ExitError
	if err := second.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 1 {
		t.Errorf("a second session ended with %v", err)
	}
	if e := c.event("refused", 2); e.Detail != emulator.ErrSerialSessionLimit.Error() {
		t.Errorf("a second session: %v", e)
	}

	client.conn.Close()
	ended := c.event("session-ended", 1)
	if ended.Caller != emulator.DefaultCallerARN || ended.Instance != id || len(ended.Request) != 36 || ended.Key != ssh.FingerprintSHA256(c.key.PublicKey()) || ended.Detail != "the client disconnected" {
		t.Errorf("the end is %+v", ended)
	}
	c.talk(id, c.mustConnect(id), guest) // the key has its 60 seconds still
	for _, want := range []string{
		" gateway: refused client=127.0.0.1:", " login=" + id + ".port0 key=SHA256:", ": no key was pushed for the port in the last 60 seconds\n",
		" gateway: session-started client=", " caller=" + emulator.DefaultCallerARN + " request=" + ended.Request + "\n", ": the client disconnected\n",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("there is no %q in\n%s", want, log.String())
		}
	}
	_, body, _ := do(t, http.MethodGet, c.APIURL()+"/_emu/gateway", nil)
	var state struct {
		Address, Fingerprint string
		Events               []emulator.GatewayEvent
	}
	if err := json.Unmarshal([]byte(body), &state); err != nil || state.Address != c.GatewayAddr() || state.Fingerprint != c.GatewayFingerprint() || len(state.Events) < 5 {
		t.Errorf("got %s, %v", body, err)
	}
}

// A lockedBuffer is written by several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestGatewayRefuses has a good push in each row, and one thing that is wrong.
func TestGatewayRefuses(t *testing.T) {
	t.Parallel()
	const id, other = "i-00000001", "i-00000002"
	for name, row := range map[string]struct {
		login string
		do    func(*testing.T, *console)
		want  string
	}{
		"nothing wrong":     {id + ".port0", func(*testing.T, *console) {}, ""},
		"port 1":            {id + ".port1", func(*testing.T, *console) {}, "there is no serial port but port 0"},
		"port 00":           {id + ".port00", func(*testing.T, *console) {}, "there is no serial port but port 0"},
		"another instance":  {other + ".port0", func(*testing.T, *console) {}, "no key was pushed"},
		"unknown instance":  {"i-0000000f.port0", func(*testing.T, *console) {}, "there is no such instance"},
		"no port":           {id, func(*testing.T, *console) {}, "the login name is not INSTANCE-ID.port0"},
		"upper case":        {"I-00000001.port0", func(*testing.T, *console) {}, "the login name is not"},
		"more":              {id + ".port0 ", func(*testing.T, *console) {}, "the login name is not"},
		"line":              {id + ".port0\nx", func(*testing.T, *console) {}, "the login name is not"},
		"long":              {strings.Repeat("x", 5000), func(*testing.T, *console) {}, "the login name is not"},
		"root":              {"root", func(*testing.T, *console) {}, "the login name is not"},
		"another key":       {id + ".port0", func(t *testing.T, c *console) { c.key = newConsoleKey(t) }, "it is not the key that was pushed"},
		"expired":           {id + ".port0", func(_ *testing.T, c *console) { c.Advance(time.Minute) }, "the 60 seconds of the key are over"},
		"withdrawn":         {id + ".port0", func(_ *testing.T, c *console) { c.Withdraw(id, id+".port0") }, "the 60 seconds of the key are over"},
		"stopped":           {id + ".port0", func(_ *testing.T, c *console) { c.SetState(id, emulator.Stopped) }, "the instance is stopped; it must be running"},
		"switched off":      {id + ".port0", func(_ *testing.T, c *console) { c.SetSerialAccess("123456789012", "us-east-1", false) }, "access to the serial console was turned off"},
		"switched off else": {id + ".port0", func(_ *testing.T, c *console) { c.SetSerialAccess("123456789012", "eu-west-1", false) }, ""},
		"fault":             {id + ".port0", func(_ *testing.T, c *console) { c.InjectFault("gateway-refuse,times=1") }, "the fault gateway-refuse"},
		"fault elsewhere":   {id + ".port0", func(_ *testing.T, c *console) { c.InjectFault("gateway-refuse,instance=" + other) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newConsole(t, emulator.Options{Instances: []emulator.Instance{{ID: id}, {ID: other}}})
			c.mustPush(id)
			row.do(t, c)
			conn, err := c.dial(row.login, c.key)
			if err == nil {
				conn.Close()
			}
			if (err == nil) != (row.want == "") {
				t.Fatalf("got %v", err)
			}
			if row.want != "" {
				if e := c.event("refused", 1); !strings.Contains(e.Detail, row.want) || len(e.Login) > 256 || strings.Contains(e.String(), "\n") {
					t.Errorf("the reason is %v", e)
				}
			}
		})
	}
}

// TestGatewayOrdinaryPush is a push to the instance under the port's name, which
// tells the gateway nothing.
func TestGatewayOrdinaryPush(t *testing.T) {
	t.Parallel()
	c := newConsole(t, emulator.Options{})
	if _, err := c.api.SendSSHPublicKey(t.Context(), &eic.SendSSHPublicKeyInput{
		InstanceId: aws.String(emulator.DefaultInstanceID), InstanceOSUser: aws.String(emulator.DefaultInstanceID + ".port0"), SSHPublicKey: aws.String(publicLine(c.key)),
	}); err != nil {
		t.Fatal(err)
	}
	if body := newSession(t, c.Server, emulator.DefaultInstanceID).mustGet("managed-ssh-keys/active-keys/" + emulator.DefaultInstanceID + ".port0/"); !strings.Contains(body, publicLine(c.key)) {
		t.Errorf("the metadata has %s", body)
	}
	if _, err := c.connect(emulator.DefaultInstanceID); err == nil {
		t.Error("the gateway lets it in")
	}
}

// TestGatewayKeys are of every type that the API takes.
func TestGatewayKeys(t *testing.T) {
	t.Parallel()
	rsaKey, err := signerKey()
	if err != nil {
		t.Fatal(err)
	}
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := newConsole(t, emulator.Options{SerialPause: -1})
	permissive := newConsole(t, emulator.Options{SerialPause: -1, Permissive: true})
	for name, row := range map[string]struct {
		c   *console
		key crypto.Signer
	}{"RSA": {c, rsaKey}, "ECDSA, permissive": {permissive, ecdsaKey}} {
		row.c.key = newSigner(t, row.key, nil)
		row.c.mustPush(emulator.DefaultInstanceID)
		if _, err := row.c.connect(emulator.DefaultInstanceID); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.key = newSigner(t, ecdsaKey, nil)
	checkCode(t, "ECDSA", c.push(emulator.DefaultInstanceID, c.key), "InvalidArgsException", http.StatusBadRequest)
}

// TestGatewayLimits are the pause, the hour, and ends from outside.
func TestGatewayLimits(t *testing.T) {
	t.Parallel()
	const id = emulator.DefaultInstanceID
	c := newConsole(t, emulator.Options{Credentials: unverified}) // the clock goes ahead of the client's
	guest := c.guest(id)
	limit := func(when string) {
		t.Helper()
		checkCode(t, when, c.push(id, c.key), "SerialConsoleSessionLimitExceededException", http.StatusBadRequest)
	}
	c.mustPush(id)
	client := c.mustConnect(id)
	if err := c.SetState(id, emulator.Stopped); err != nil {
		t.Fatal(err)
	}
	c.talk(id, client, guest) // a session survives that
	if err := c.SetState(id, emulator.Running); err != nil {
		t.Fatal(err)
	}
	client.conn.Close()
	c.event("session-ended", 1)
	limit("after a session")
	c.Advance(29 * time.Second)
	limit("29 s after a session")
	c.Advance(time.Second)
	c.mustPush(id)

	client = c.mustConnect(id)
	c.Advance(59 * time.Minute)
	c.talk(id, client, guest)
	c.Advance(time.Minute)
	_ = client.Wait()
	if e := c.event("session-ended", 2); e.Detail != "the session has lasted an hour" {
		t.Errorf("it ended since %s", e.Detail)
	}
	limit("after an hour")
	c.Advance(30 * time.Second)

	c.mustPush(id)
	client = c.mustConnect(id)
	if err := c.EndSerialSession(id); err != nil {
		t.Fatal(err)
	}
	_ = client.Wait()
	if e := c.event("session-ended", 3); e.Detail != "the session was ended from outside" {
		t.Errorf("it ended since %s", e.Detail)
	}
	c.Advance(30 * time.Second)

	if err := c.InjectFault("gateway-cut=1ms,times=1"); err != nil {
		t.Fatal(err)
	}
	c.mustPush(id)
	client = c.mustConnect(id)
	_ = client.Wait()
	if e := c.event("session-ended", 4); !strings.Contains(e.Detail, "maintenance") {
		t.Errorf("it ended since %s", e.Detail)
	}
}

// TestGatewayLateShell asks for the session when what let the key in does not hold
// any more.
func TestGatewayLateShell(t *testing.T) {
	t.Parallel()
	const id = emulator.DefaultInstanceID
	c := newConsole(t, emulator.Options{})
	for n, spoil := range []struct {
		what string
		do   func() error
	}{
		{"the 60 seconds of the key are over", func() error { c.Advance(61 * time.Second); return nil }},
		{"the instance is stopped; it must be running", func() error { return c.SetState(id, emulator.Stopped) }},
	} {
		c.mustPush(id)
		conn, err := c.dial(id+".port0", c.key)
		if err != nil {
			t.Fatal(err)
		}
		session, err := conn.NewSession()
		if err := errors.Join(err, spoil.do()); err != nil {
			t.Fatal(err)
		}
		if err := session.Shell(); err != nil {
			t.Fatal(err)
		}
		if e := c.event("refused", n+1); e.Detail != spoil.what {
			t.Errorf("it is refused since %s", e.Detail)
		}
		if err := session.Wait(); err == nil {
			t.Error("the session ended well")
		}
		conn.Close()
	}
}

// TestGatewaySuccessor takes the session that was ended from outside before its
// client is gone: the end of the one is not the end of the other.
func TestGatewaySuccessor(t *testing.T) {
	t.Parallel()
	const id = emulator.DefaultInstanceID
	c := newConsole(t, emulator.Options{SerialPause: -1})
	for n := range 5 {
		c.mustPush(id)
		c.mustConnect(id)
		if err := errors.Join(c.EndSerialSession(id), c.StartSerialSession(id)); err != nil {
			t.Fatal(err)
		}
		c.event("session-ended", n+1)
		if err := c.StartSerialSession(id); !errors.Is(err, emulator.ErrSerialSessionLimit) {
			t.Errorf("the session of the successor is gone: %v", err)
		}
		if err := c.EndSerialSession(id); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGatewayEndedAtOnce ends sessions from outside while they begin: none goes on
// that the emulator takes to be over.
func TestGatewayEndedAtOnce(t *testing.T) {
	t.Parallel()
	const id = emulator.DefaultInstanceID
	c := newConsole(t, emulator.Options{SerialPause: -1, StateFile: t.TempDir() + "/state"})
	c.mustPush(id)
	for range 20 {
		var ending sync.WaitGroup
		connected := make(chan struct{})
		for range 4 {
			ending.Go(func() {
				for {
					select {
					case <-connected:
						return
					default:
						if err := c.EndSerialSession(id); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		client, err := c.connect(id)
		close(connected)
		ending.Wait()
		if err != nil {
			continue // the end came before the answer
		}
		over := make(chan error, 1)
		go func() { over <- client.Wait() }()
		if err := c.StartSerialSession(id); errors.Is(err, emulator.ErrSerialSessionLimit) {
			client.conn.Close()
		} else if err != nil {
			t.Fatal(err)
		}
		select {
		case <-over:
		case <-time.After(20 * time.Second):
			t.Fatal("a client is joined to the port that has no session")
		}
		if err := c.EndSerialSession(id); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGatewayShutdown ends sessions, and a new start finds them ended.
func TestGatewayShutdown(t *testing.T) {
	t.Parallel()
	const id = emulator.DefaultInstanceID
	options := emulator.Options{StateFile: t.TempDir() + "/state"}
	c := newConsole(t, options)
	c.mustPush(id)
	client := c.mustConnect(id)
	known := c.KnownHosts()
	c.stop()
	_ = client.Wait()
	if e := c.event("session-ended", 1); e.Detail != "the gateway is shutting down" {
		t.Errorf("it ended since %s", e.Detail)
	}
	again := newConsole(t, options)
	checkCode(t, "after a restart", again.push(id, c.key), "SerialConsoleSessionLimitExceededException", http.StatusBadRequest)
	again.Advance(30 * time.Second)
	again.key = c.key
	if _, err := again.connect(id); err != nil {
		t.Errorf("a key from before the restart: %v", err)
	}
	if a, b := strings.Fields(string(known)), strings.Fields(string(again.KnownHosts())); a[2] != b[2] {
		t.Error("the host key is another one after a restart")
	}
}

// TestGatewayCrash leaves a session in the state file that nobody has any more.
func TestGatewayCrash(t *testing.T) {
	t.Parallel()
	const id = emulator.DefaultInstanceID
	path := t.TempDir() + "/state"
	c := newConsole(t, emulator.Options{StateFile: path})
	c.mustPush(id)
	c.mustConnect(id)
	crashed := path + "-crashed"
	if err := os.WriteFile(crashed, readFile(t, path), 0o600); err != nil {
		t.Fatal(err)
	}
	again := newConsole(t, emulator.Options{StateFile: crashed})
	checkCode(t, "after a crash", again.push(id, c.key), "SerialConsoleSessionLimitExceededException", http.StatusBadRequest)
	again.Advance(30 * time.Second)
	again.mustPush(id)
}

// TestGatewayMany has a session on each of thirty instances at once, and none of
// them hears another.
func TestGatewayMany(t *testing.T) {
	t.Parallel()
	var options emulator.Options
	for i := range 30 {
		options.Instances = append(options.Instances, emulator.Instance{ID: fmt.Sprintf("i-%08x", i)})
	}
	c := newConsole(t, options)
	var all sync.WaitGroup
	for _, i := range options.Instances {
		all.Go(func() {
			if err := c.push(i.ID, c.key); err != nil {
				t.Error(err)
				return
			}
			guest, err := c.guests[i.ID].Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer guest.Close()
			client, err := c.connect(i.ID)
			if err != nil {
				t.Error(err)
				return
			}
			text := []byte(strings.Repeat(i.ID, 1000))
			go func() { _, _ = guest.Write(text) }()
			got := make([]byte, len(text))
			if _, err := io.ReadFull(client.out, got); err != nil || !bytes.Equal(got, text) {
				t.Errorf("%s: got something else, %v", i.ID, err)
			}
		})
	}
	all.Wait()
}

// TestGatewayRace has many clients want one session.
func TestGatewayRace(t *testing.T) {
	t.Parallel()
	c := newConsole(t, emulator.Options{})
	c.mustPush(emulator.DefaultInstanceID)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := c.connect(emulator.DefaultInstanceID); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	c.event("refused", 7)
	if e := c.event("session-started", 1); e.Instance == "" {
		t.Error("nobody has it")
	}
	for _, e := range c.GatewayEvents() {
		if e.Event == "session-ended" {
			t.Errorf("the one session ended: %v", e)
		}
	}
}

func TestGatewayKnownHosts(t *testing.T) {
	t.Parallel()
	c := newConsole(t, emulator.Options{})
	c.mustPush(emulator.DefaultInstanceID)
	path := filepath.Join(t.TempDir(), "known_hosts")
	if err := c.WriteKnownHosts(path); err != nil {
		t.Fatal(err)
	}
	check, err := knownhosts.New(path)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := ssh.Dial("tcp", c.GatewayAddr(), &ssh.ClientConfig{
		User: emulator.DefaultInstanceID + ".port0", Auth: []ssh.AuthMethod{ssh.PublicKeys(c.key)}, HostKeyCallback: check,
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if _, body, _ := do(t, http.MethodGet, c.APIURL()+"/_emu/known_hosts", nil); body != string(c.KnownHosts()) {
		t.Errorf("the control endpoint has %q", body)
	}
}

func TestGatewayOptions(t *testing.T) {
	t.Parallel()
	one := func(serial string) []emulator.Instance {
		return []emulator.Instance{{ID: emulator.DefaultInstanceID, Serial: serial}}
	}
	for want, o := range map[string]emulator.Options{
		"serial must be pty":                  {Instances: one("com1")},
		"is not a loopback address":           {Instances: one("pty"), GatewayAddress: "0.0.0.0:0"},
		"needs an instance whose serial port": {GatewayAddress: "127.0.0.1:0"},
		"are joined to the same unix:/a//b":   {Instances: []emulator.Instance{{ID: "i-00000001", Serial: "unix:/a/b"}, {ID: "i-00000002", Serial: "unix:/a//b"}}},
		"are joined to the same pty:/a":       {Instances: []emulator.Instance{{ID: "i-00000001", Serial: "pty:/a"}, {ID: "i-00000002", Serial: "pty:/a"}}},
	} {
		if _, err := emulator.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	newServer(t, emulator.Options{Instances: []emulator.Instance{{ID: "i-00000001", Serial: "pty"}, {ID: "i-00000002", Serial: "pty"}}})
	s := newServer(t, emulator.Options{Instances: one("/nonexistent/tty")})
	if err := s.Listen(); err == nil || !strings.Contains(err.Error(), "cannot join the serial port of "+emulator.DefaultInstanceID) || s.APIURL() != "" {
		t.Errorf("got %v", err)
	}
	s = newServer(t, emulator.Options{})
	if s.GatewayAddr() != "" || s.GatewayFingerprint() != "" || s.KnownHosts() != nil || s.GatewayEvents() != nil || s.SerialPort(emulator.DefaultInstanceID) != "" || s.SerialPort("i-0") != "" {
		t.Error("there is something of a gateway that there is not")
	}
}
