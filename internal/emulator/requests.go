package emulator

import (
	"net/http"
	"slices"
	"strings"
)

// These bound the log of a server that runs for long.
const (
	maxLoggedRequests = 4096
	maxLoggedPath     = 1024
)

// A Request is one line of the request log.
type Request struct {
	Instance string // whose metadata service was asked; empty: the API
	Method   string
	Path     string // unescaped, without a query; its first KiB
}

// A requestLog keeps the latest requests.
type requestLog struct {
	ring  []Request // from next on, and then from the start, once it is full
	next  int
	count int
}

func (l *requestLog) add(r Request) {
	l.count++
	if len(l.ring) < maxLoggedRequests {
		l.ring = append(l.ring, r)
		return
	}
	l.ring[l.next] = r
	l.next = (l.next + 1) % maxLoggedRequests
}

func (s *Server) logRequest(instanceID string, r *http.Request) {
	bounded := func(text string) string { return strings.Clone(text[:min(len(text), maxLoggedPath)]) }
	s.world.Lock()
	defer s.world.Unlock()
	s.log.add(Request{Instance: instanceID, Method: bounded(r.Method), Path: bounded(r.URL.Path)})
}

// Requests returns the latest requests, oldest first, at most 4096 of them.
// Refused requests are among them.
func (s *Server) Requests() []Request {
	s.world.Lock()
	defer s.world.Unlock()
	return slices.Concat(s.log.ring[s.log.next:], s.log.ring[:s.log.next])
}

// RequestCount returns how many requests have come since New or
// ResetRequests, API and metadata together.
func (s *Server) RequestCount() int {
	s.world.Lock()
	defer s.world.Unlock()
	return s.log.count
}

// ResetRequests empties the request log and its count.
func (s *Server) ResetRequests() {
	s.world.Lock()
	defer s.world.Unlock()
	s.log = requestLog{}
}
