package emulator

import "net/http"

// maxLoggedRequests bounds the log of a server that runs for long.
const maxLoggedRequests = 4096

// A Request is one line of the request log.
type Request struct {
	Instance string // whose metadata service was asked; empty: the API
	Method   string
	Path     string // unescaped, without a query
}

func (s *Server) logRequest(instanceID string, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logged++
	if len(s.log) == maxLoggedRequests {
		s.log = append(s.log[:0], s.log[1:]...)
	}
	s.log = append(s.log, Request{Instance: instanceID, Method: r.Method, Path: r.URL.Path})
}

// Requests returns the latest requests, oldest first, at most 4096 of them.
// Refused requests are among them.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.log...)
}

// RequestCount returns how many requests have come since New or
// ResetRequests, API and metadata together.
func (s *Server) RequestCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logged
}

// ResetRequests empties the request log and its count.
func (s *Server) ResetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log, s.logged = nil, 0
}
