// Package gateway is a serial console gateway: an SSH server that lets a client
// in by a login name and a key, and joins it to a serial port. Who is let in, and
// to what, its user decides.
package gateway

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// acceptPause is taken when the machine is out of descriptors or memory.
	acceptPause = 50 * time.Millisecond
	// farewell is how long a session may take to say why it ends.
	farewell = 500 * time.Millisecond
)

// A Config is what a Server needs. Of the limits, zero means the default.
type Config struct {
	// HostKey is what clients know the gateway by.
	HostKey ssh.Signer

	// Admit returns nil for a key that is let in under a login name. It is asked
	// for each key that a client offers, and again, with proved, when the
	// client has shown that it holds the key. It logs what it refuses.
	Admit func(c ssh.ConnMetadata, key ssh.PublicKey, proved bool) error

	// Start begins a session. The client sees the error.
	Start func(c ssh.ConnMetadata, key ssh.PublicKey) (*Session, error)

	// Log gets one line about what else there is to say of a connection.
	Log func(c net.Addr, user, line string)

	Grace      time.Duration // from the connection to the session; 30 s
	Keepalive  time.Duration // after three times as long without an answer a client is gone; 20 s
	MaxPending int           // connections without a session; 64
}

// A Session is a client's hold on a Line. End is called once, when it is over.
type Session struct {
	Line *Line
	// Over ends the session when it is done; the client sees the cause.
	Over context.Context
	// End gets the cause, and how much of the guest's output was dropped because
	// the client did not take it.
	End func(why error, dropped int64)
}

// A Server is a gateway. Make one with New.
type Server struct {
	config  Config
	pending chan struct{}
}

// New returns a Server for a Config whose functions and key are set.
func New(c Config) *Server {
	fill := func(to *time.Duration, value time.Duration) {
		if *to == 0 {
			*to = value
		}
	}
	fill(&c.Grace, 30*time.Second)
	fill(&c.Keepalive, 20*time.Second)
	if c.MaxPending == 0 {
		c.MaxPending = 64
	}
	s := &Server{config: c, pending: make(chan struct{}, c.MaxPending)}
	return s
}

// provedKey is where the permissions of a connection have its key.
type provedKey struct{}

// handshake returns when the client has shown that it holds a key that is let
// in.
func (s *Server) handshake(conn net.Conn) (*ssh.ServerConn, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	offered := false
	config := &ssh.ServerConfig{
		ServerVersion: "SSH-2.0-eic-emulator",
		PublicKeyCallback: func(client ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			offered = true
			return nil, s.config.Admit(client, key, false)
		},
		VerifiedPublicKeyCallback: func(client ssh.ConnMetadata, key ssh.PublicKey, _ *ssh.Permissions, _ string) (*ssh.Permissions, error) {
			if err := s.config.Admit(client, key, true); err != nil {
				return nil, err
			}
			return &ssh.Permissions{ExtraData: map[any]any{provedKey{}: key}}, nil
		},
	}
	config.AddHostKey(s.config.HostKey)
	client, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil && !offered {
		s.config.Log(conn.RemoteAddr(), "", "disconnected without offering a key: "+oneLine(err.Error()))
	}
	return client, channels, requests, err
}

// Serve takes connections until ctx is done or the listener fails, and returns
// when the last of them is over. Sessions end with ctx too.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var connections sync.WaitGroup
	defer connections.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	for {
		conn, err := listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // such as too many open files
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
			continue
		}
		select {
		case s.pending <- struct{}{}:
			connections.Go(func() { s.serve(ctx, conn) })
		default:
			s.config.Log(conn.RemoteAddr(), "", "refused: too many unauthenticated connections")
			conn.Close()
		}
	}
}

// A connection is one client.
type connection struct {
	server *Server
	ctx    context.Context
	ssh    *ssh.ServerConn
	settle func() bool // it has a session: false when it came too late
	notes  int         // logged so far
}

// serve speaks with a client until it is gone.
func (s *Server) serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	var (
		mu                sync.Mutex
		settled, finished bool
	)
	release := sync.OnceFunc(func() { <-s.pending })
	defer release()
	// Until there is a session the connection may be cut at any time.
	giveUp := func() {
		mu.Lock()
		defer mu.Unlock()
		if !settled {
			finished = true
			conn.Close()
		}
	}
	defer context.AfterFunc(ctx, giveUp)()
	grace := time.AfterFunc(s.config.Grace, giveUp)
	defer grace.Stop()

	client, channels, requests, err := s.handshake(conn)
	if err != nil {
		return
	}
	c := &connection{server: s, ctx: ctx, ssh: client, settle: func() bool {
		mu.Lock()
		defer mu.Unlock()
		if finished {
			return false
		}
		settled = true
		release()
		return true
	}}
	var all sync.WaitGroup
	defer all.Wait()
	defer client.Close()
	// Forwarding is refused; a keepalive is answered, as sshd does it, by a
	// refusal too.
	all.Go(func() { ssh.DiscardRequests(requests) })
	served := false
	for asked := range channels {
		switch {
		case asked.ChannelType() != "session":
			asked.Reject(ssh.Prohibited, "only sessions on the serial console are supported")
		case served:
			asked.Reject(ssh.ResourceShortage, "only one session per connection is supported")
		default:
			served = true
			channel, requests, err := asked.Accept()
			if err != nil {
				continue // the connection is gone
			}
			all.Go(func() {
				defer client.Close()
				c.serveChannel(channel, requests)
			})
		}
	}
}

// oneLine bounds text that may be of a client's making.
func oneLine(text string) string {
	const most = 200
	line := []rune(text)
	if len(line) > most {
		line = line[:most]
	}
	for i, r := range line {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			line[i] = '?'
		}
	}
	return string(line)
}
