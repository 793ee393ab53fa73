package emulator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

const (
	freeLoopbackPort = "127.0.0.1:0"
	shutdownGrace    = 2 * time.Second
)

// ErrNotLoopback is in the error of New for an address that only
// Options.AllowRemote permits.
var ErrNotLoopback = errors.New("is not loopback: others could reach an emulator that guards nothing")

// checkAddress admits IP:PORT and localhost:PORT; remote also addresses that
// are not loopback, and :PORT for all of the machine's.
func checkAddress(address string, remote bool) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("address %q is not HOST:PORT", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("address %q has no port between 0 and 65535", address)
	}
	loopback := host == "localhost"
	if !loopback && host != "" {
		ip, err := netip.ParseAddr(host)
		if err != nil {
			return fmt.Errorf("address %q has neither an IP address nor localhost before its port", address)
		}
		loopback = ip.Unmap().IsLoopback()
	}
	if !loopback && !remote {
		return fmt.Errorf("address %q %w", address, ErrNotLoopback)
	}
	return nil
}

// Listen binds the API, every instance's metadata service and the serial console
// gateway. After an error nothing is bound.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.api != nil {
		return errors.New("already listening")
	}
	err := s.bind()
	if err != nil {
		s.close()
	}
	return err
}

// bind needs mu.
func (s *Server) bind() (err error) {
	if s.api, err = listen(s.options.APIAddress); err != nil {
		return fmt.Errorf("cannot serve the API: %w", err)
	}
	for _, m := range s.instances {
		if m.listener, err = listen(m.IMDSAddress); err != nil {
			return fmt.Errorf("cannot serve the metadata of %s: %w", m.ID, err)
		}
		if m.IMDSAddress6 == "" {
			continue
		}
		if m.listener6, err = listen(m.IMDSAddress6); err != nil {
			return fmt.Errorf("cannot serve the metadata of %s: %w", m.ID, err)
		}
	}
	return s.bindGateway()
}

// listen keeps the result nil on an error, which a typed nil would not be.
func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Close gives back what Listen bound. A Server that is serving is ended by its
// context instead.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close()
}

// close needs mu.
func (s *Server) close() {
	if s.api != nil {
		s.api.Close()
		s.api = nil
	}
	for _, m := range s.instances {
		for _, l := range []*net.Listener{&m.listener, &m.listener6} {
			if *l != nil {
				(*l).Close()
				*l = nil
			}
		}
	}
	s.closeGateway()
}

// Serve serves until ctx is done, after Listen or, when that was not called,
// listening itself. It returns nil for an end by ctx. Requests under way have
// two seconds to finish.
func (s *Server) Serve(ctx context.Context) error {
	if s.APIURL() == "" {
		if err := s.Listen(); err != nil {
			return err
		}
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	services := map[net.Listener]http.Handler{s.api: s.APIHandler()}
	for _, m := range s.instances {
		services[m.listener] = s.IMDSHandler(m.ID)
		if m.listener6 != nil {
			services[m.listener6] = s.IMDSHandler(m.ID)
		}
	}
	var gateways []net.Listener
	if s.gateway != nil {
		gateways = append(gateways, s.gateway.listener)
	}
	s.mu.Unlock()
	ended := make(chan error)
	serve := func(one func() error) {
		err := one()
		cancel() // one that ends alone takes the others along
		ended <- err
	}
	for listener, handler := range services {
		go serve(func() error { return serveHTTP(ctx, listener, handler) })
	}
	for _, listener := range gateways {
		go serve(func() error { return s.gateway.server.Serve(ctx, listener) })
	}
	var all error
	for range len(services) + len(gateways) {
		all = errors.Join(all, <-ended)
	}
	return all
}

func serveHTTP(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    64 << 10,
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		if server.Shutdown(grace) != nil {
			server.Close()
		}
	}()
	err := server.Serve(listener)
	if !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-stopped
	return nil
}

// APIURL returns the URL of the API, empty before Listen.
func (s *Server) APIURL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return listenerURL(s.api)
}

// IMDSURL returns the URL of an instance's metadata service, empty before
// Listen and for an instance that does not exist.
func (s *Server) IMDSURL(instanceID string) string {
	m := s.machine(instanceID)
	if m == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return listenerURL(m.listener)
}

// IMDSURL6 is IMDSURL for the second address of the metadata service.
func (s *Server) IMDSURL6(instanceID string) string {
	m := s.machine(instanceID)
	if m == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return listenerURL(m.listener6)
}

func listenerURL(l net.Listener) string {
	if l == nil {
		return ""
	}
	return "http://" + listenerHostPort(l)
}

// listenerHostPort names the loopback address for a listener on all addresses.
func listenerHostPort(l net.Listener) string {
	address := l.Addr().(*net.TCPAddr)
	host := address.IP.String()
	if address.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, strconv.Itoa(address.Port))
}
