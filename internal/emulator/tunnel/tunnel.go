// Package tunnel is what answers for EC2 Instance Connect Endpoints: the WebSocket
// tunnel, and a proxy for clients that must reach an endpoint by its name.
package tunnel

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/api/eic"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// Path is where a tunnel is opened.
const Path = "/openTunnel"

const (
	maxTunnel       = time.Hour
	tunnelDialTime  = 10 * time.Second
	tunnelTLSTime   = 10 * time.Second
	maxTunnelFrame  = 1 << 20
	tunnelChunkSize = 32 << 10
)

// A Service opens tunnels.
type Service struct {
	World *world.World
	Gate  *api.Gate

	// Certificate returns one for the DNS name of an endpoint.
	Certificate func(name string) (*tls.Certificate, error)

	// Calls is the handler of what comes through the proxy.
	Calls http.Handler

	// Running returns a context that is done when the emulator ends.
	Running func() context.Context
}

// A tunnel is what a client of an EC2 Instance Connect Endpoint asks for.
type tunnel struct {
	endpoint string
	target   string // host and port
	duration time.Duration
}

// Open joins a WebSocket to a TCP port of an instance. The URL is presigned
// for EC2 Instance Connect. AWS lets clients reach ports 22 and 3389; here every
// port can be, since tests have their sshd elsewhere.
func (s *Service) Open(w http.ResponseWriter, r *http.Request) {
	c := s.Gate.NewCall(r)
	c.Service, c.Asked = s.Gate.Named(eic.Name), "openTunnel"
	wanted, err := s.judgeTunnel(c, r)
	var target net.Conn
	if err == nil {
		dialer := net.Dialer{Timeout: tunnelDialTime}
		if target, err = dialer.DialContext(r.Context(), "tcp", wanted.target); err != nil {
			err = &api.Error{Status: http.StatusBadGateway, Code: "ConnectionFailed", Message: "The instance cannot be reached: " + err.Error()}
		}
	}
	refusal := c.Refusal(err)
	s.Gate.Done(c, nil, refusal)
	if refusal != nil {
		c.Service.Protocol.WriteError(w, c, refusal)
		return
	}
	defer target.Close()
	w.Header().Set("X-Amzn-Requestid", c.RequestID)
	socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return // Accept has answered
	}
	socket.SetReadLimit(maxTunnelFrame)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), wanted.duration)
	defer cancel()
	defer context.AfterFunc(s.Running(), cancel)()
	err = join(ctx, socket, target)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		_ = socket.Close(websocket.StatusPolicyViolation, "The tunnel has reached its maximum duration")
	case err != nil:
		_ = socket.Close(websocket.StatusGoingAway, "The connection to the instance has ended")
	default:
		_ = socket.Close(websocket.StatusNormalClosure, "")
	}
}

// judgeTunnel returns what an authenticated caller may have.
func (s *Service) judgeTunnel(c *api.Call, r *http.Request) (tunnel, error) {
	if err := s.Gate.Authenticate(c, r); err != nil {
		return tunnel{}, err
	}
	query := r.URL.Query()
	invalid := func(format string, args ...any) error {
		return api.ClientError("InvalidArgsException", format, args...)
	}
	wanted := tunnel{endpoint: query.Get("instanceConnectEndpointId"), duration: maxTunnel}
	port, err := strconv.ParseUint(query.Get("remotePort"), 10, 16)
	if err != nil || port == 0 {
		return wanted, invalid("remotePort %q is not a port", api.Cut(query.Get("remotePort")))
	}
	ip, err := netip.ParseAddr(query.Get("privateIpAddress"))
	if err != nil {
		return wanted, invalid("privateIpAddress %q is not an IP address", api.Cut(query.Get("privateIpAddress")))
	}
	if text := query.Get("maxTunnelDuration"); text != "" {
		seconds, err := strconv.Atoi(text)
		if err != nil || seconds < 1 || seconds > int(maxTunnel/time.Second) {
			return wanted, invalid("maxTunnelDuration %q is not a number from 1 to 3600", api.Cut(text))
		}
		wanted.duration = time.Duration(seconds) * time.Second
	}
	wanted.target = net.JoinHostPort(ip.String(), strconv.FormatUint(port, 10))
	s.World.Lock()
	defer s.World.Unlock()
	for _, e := range s.World.RegionOf(c.Scope()).Endpoints {
		if e.ID != wanted.endpoint {
			continue
		}
		for _, m := range s.World.Machines() {
			if m.Region == c.Region && m.PrivateAddress() == ip.String() && m.State == world.Running && (m.Account == "" || m.Account == c.Caller.Account) {
				return wanted, nil
			}
		}
		return wanted, api.ClientError("EC2InstanceNotFoundException", "No running instance has the address %s", ip)
	}
	return wanted, api.ClientError("ResourceNotFoundException", "The EC2 Instance Connect Endpoint %q does not exist", api.Cut(wanted.endpoint))
}

// join copies between both until one ends, or ctx is done. A nil error means that
// the client has ended it, or the instance in an orderly way. The socket stays
// open, for a farewell.
func join(ctx context.Context, socket *websocket.Conn, target net.Conn) error {
	stream := websocket.NetConn(context.WithoutCancel(ctx), socket, websocket.MessageBinary)
	ended := make(chan error, 2)
	go func() {
		_, err := io.CopyBuffer(onlyWriter{target}, stream, make([]byte, tunnelChunkSize))
		ended <- err
	}()
	go func() {
		_, err := io.CopyBuffer(onlyWriter{stream}, target, make([]byte, tunnelChunkSize))
		ended <- err
	}()
	select {
	case err := <-ended:
		if websocket.CloseStatus(err) == websocket.StatusNormalClosure {
			return nil
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// onlyWriter keeps io.CopyBuffer to its buffer.
type onlyWriter struct{ io.Writer }

// Connect acts as the proxy for clients that connect to the DNS name of an endpoint
// with TLS, such as the aws command: HTTPS_PROXY directs them here. Other hosts are
// refused.
func (s *Service) Connect(w http.ResponseWriter, r *http.Request) {
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil || port != "443" || !s.isEndpoint(host) {
		http.Error(w, "eic-emulator is a proxy for EC2 Instance Connect Endpoints only", http.StatusForbidden)
		return
	}
	certificate, err := s.Certificate(host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Time{}) // those of the API's server
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	secured := tls.Server(&bufferedConn{conn, buffered.Reader}, &tls.Config{Certificates: []tls.Certificate{*certificate}, NextProtos: []string{"http/1.1"}})
	ctx, cancel := context.WithTimeout(r.Context(), tunnelTLSTime)
	err = secured.HandshakeContext(ctx)
	cancel()
	if err != nil {
		return
	}
	inside := &http.Server{Handler: s.Calls, ReadHeaderTimeout: tunnelTLSTime}
	listener := &oneConn{conn: secured, ended: make(chan struct{})}
	_ = inside.Serve(listener) // until the connection ends
}

// isEndpoint reports whether a name is that of an endpoint of any account.
func (s *Service) isEndpoint(name string) bool {
	s.World.Lock()
	defer s.World.Unlock()
	return s.World.HasEndpoint(strings.ToLower(name))
}

// A bufferedConn is a connection of which something was read ahead.
type bufferedConn struct {
	net.Conn
	ahead *bufio.Reader
}

func (c *bufferedConn) Read(b []byte) (int, error) { return c.ahead.Read(b) }

// oneConn is a listener that accepts one connection, and ends with it.
type oneConn struct {
	mu    sync.Mutex
	conn  net.Conn
	once  sync.Once
	ended chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	l.mu.Lock()
	conn := l.conn
	l.conn = nil
	l.mu.Unlock()
	if conn != nil {
		return &endingConn{conn, l}, nil
	}
	<-l.ended
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error   { l.once.Do(func() { close(l.ended) }); return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// An endingConn ends its listener.
type endingConn struct {
	net.Conn
	of *oneConn
}

func (c *endingConn) Close() error {
	defer c.of.Close()
	return c.Conn.Close()
}
