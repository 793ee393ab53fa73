package emulator

import "github.com/eic-agent/eic-agent/internal/emulator/requestlog"

// A Request is one line of the request log.
type Request struct {
	Instance string // whose metadata service was asked; empty: the API
	Method   string
	Path     string // unescaped, without a query; its first KiB
}

// An Exchange is a request with what became of it.
type Exchange = requestlog.Exchange

// Requests returns the latest requests, oldest first, at most 4096 of them.
// Refused requests are among them.
func (s *Server) Requests() []Request {
	var all []Request
	for _, e := range s.log.Latest() {
		all = append(all, Request{e.Instance, e.Method, e.Path})
	}
	return all
}

// Exchanges returns the latest requests with what became of them, oldest first,
// at most 4096 of them.
func (s *Server) Exchanges() []Exchange { return s.log.Latest() }

// RequestCount returns how many requests have come since New or
// ResetRequests, API and metadata together.
func (s *Server) RequestCount() int { return s.log.Count() }

// ResetRequests empties the request log and its count.
func (s *Server) ResetRequests() { s.log.Reset() }
