package emulator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/metadata"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

const shutdownGrace = 2 * time.Second

// Listen binds the API, every instance's metadata service and the serial console
// gateway. After an error nothing is bound.
func (s *Server) Listen() error {
	s.world.Lock()
	defer s.world.Unlock()
	if s.api != nil {
		return errors.New("already listening")
	}
	err := s.bind()
	if err != nil {
		s.close()
	}
	return err
}

// bind needs the lock of the world.
func (s *Server) bind() (err error) {
	if s.api, err = listen(s.options.APIAddress); err != nil {
		return fmt.Errorf("cannot serve the API: %w", err)
	}
	for _, m := range s.all() {
		if err := s.bindMetadata(m); err != nil {
			return err
		}
	}
	return s.console.Bind()
}

// bindMetadata needs the lock of the world.
func (s *Server) bindMetadata(m *machine) (err error) {
	if m.listener, err = listen(m.IMDSAddress); err != nil {
		return fmt.Errorf("cannot serve the metadata of %s: %w", m.ID, err)
	}
	if m.IMDSAddress6 == "" {
		return nil
	}
	if m.listener6, err = listen(m.IMDSAddress6); err != nil {
		return fmt.Errorf("cannot serve the metadata of %s: %w", m.ID, err)
	}
	return nil
}

// closeMetadata needs the lock of the world.
func (m *machine) closeMetadata() {
	if m.stop != nil {
		m.stop()
	}
	for _, l := range []*net.Listener{&m.listener, &m.listener6} {
		if *l != nil {
			(*l).Close()
			*l = nil
		}
	}
}

// listen keeps the result nil on an error, which a typed nil would not be.
func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Close releases what Listen bound, and the state file: what would change it
// fails from then on. A Server that is serving is ended by its context instead.
func (s *Server) Close() {
	s.world.Lock()
	s.close()
	s.world.Unlock()
	s.world.Close()
}

// close needs the lock of the world.
func (s *Server) close() {
	if s.api != nil {
		s.api.Close()
		s.api = nil
	}
	for _, m := range s.all() {
		m.closeMetadata()
	}
	s.console.Close()
}

// Serve serves until ctx is done, and then returns nil. It calls Listen unless
// that was done before. Requests under way have two seconds to finish.
func (s *Server) Serve(ctx context.Context) error {
	if s.APIURL() == "" {
		if err := s.Listen(); err != nil {
			return err
		}
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var services sync.WaitGroup
	errs := make(chan error)
	serve := func(one func() (mayEnd bool, err error)) {
		services.Go(func() {
			mayEnd, err := one()
			if !mayEnd {
				cancel() // one that ends alone takes the others along
			}
			errs <- err
		})
	}
	metadata := func(m *machine) {
		ctx, stop := context.WithCancel(ctx)
		m.stop = stop
		handler := s.IMDSHandler(m.ID)
		for _, l := range []net.Listener{m.listener, m.listener6} {
			if l != nil {
				serve(func() (bool, error) {
					err := serveHTTP(ctx, l, handler)
					return err == nil, err // a terminated instance may
				})
			}
		}
	}
	s.world.Lock()
	apiListener := s.api
	serve(func() (bool, error) { return false, serveHTTP(ctx, apiListener, s.APIHandler()) })
	for _, m := range s.all() {
		metadata(m)
	}
	if listener := s.console.Listener(); listener != nil {
		serve(func() (bool, error) { return false, s.console.Serve(ctx, listener) })
	}
	s.serveMore, s.run = metadata, ctx
	s.world.Unlock()
	s.serving.Store(true)
	if s.options.Serving != nil {
		s.options.Serving()
	}
	go func() {
		<-ctx.Done()
		s.serving.Store(false)
		s.world.Lock()
		s.serveMore = nil // no more are added
		s.world.Unlock()
		services.Wait()
		close(errs)
	}()
	var all error
	for err := range errs {
		all = errors.Join(all, err)
	}
	return all
}

func serveHTTP(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ConnContext:       metadata.ConnContext,
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
	if !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
		return err
	}
	<-stopped
	return nil
}

// running returns a context that is done when Serve ends; without Serve it never is.
func (s *Server) running() context.Context {
	s.world.Lock()
	defer s.world.Unlock()
	if s.run == nil {
		return context.Background()
	}
	return s.run
}

// Ready reports whether Serve serves everything that Listen bound. Handlers that
// are used without Listen are always ready.
func (s *Server) Ready() bool { return s.serving.Load() || s.APIURL() == "" }

// APIURL returns the URL of the API, empty before Listen.
func (s *Server) APIURL() string {
	s.world.Lock()
	defer s.world.Unlock()
	return listenerURL(s.api)
}

// IMDSURL returns the URL of an instance's metadata service, empty before
// Listen and for an instance that does not exist.
func (s *Server) IMDSURL(instanceID string) string {
	m := s.machine(instanceID)
	if m == nil {
		return ""
	}
	s.world.Lock()
	defer s.world.Unlock()
	return listenerURL(m.listener)
}

// IMDSURL6 is IMDSURL for the second address of the metadata service.
func (s *Server) IMDSURL6(instanceID string) string {
	m := s.machine(instanceID)
	if m == nil {
		return ""
	}
	s.world.Lock()
	defer s.world.Unlock()
	return listenerURL(m.listener6)
}

func listenerURL(l net.Listener) string {
	if l == nil {
		return ""
	}
	return "http://" + world.HostPort(l)
}
