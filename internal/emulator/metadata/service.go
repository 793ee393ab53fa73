// Package metadata is the instance metadata service: tokens, the tree of what is
// served, the keys that were pushed, identity documents and role credentials.
package metadata

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/fault"
	"github.com/eic-agent/eic-agent/internal/emulator/signing"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

const (
	ordinaryHops   = 64
	tokenPath      = "/latest/api/token"
	tokenHeader    = "X-Aws-Ec2-Metadata-Token"
	tokenTTLHeader = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	maxTokenTTL    = 21600 // seconds

	// A token is an expiry, the generation of the signer that its session
	// sees, a nonce, and a code over all: 40 bytes, 56 characters, as long
	// as a real one.
	tokenGeneration = 8
	tokenNonce      = 12
	tokenTimed      = 16
	tokenBytes      = 40
)

// A session is what a metadata service knows of who asks.
type session struct {
	at         time.Time
	left       time.Duration // that the token holds; 0 without one
	generation *signing.Generation
}

// Options configure a Service.
type Options struct {
	World   *world.World
	Signers *signing.Signers
	Faults  *fault.Orders

	// ConnectionClose makes it close each connection after one response.
	ConnectionClose bool
}

// A Service is the metadata services of all instances.
type Service struct{ o Options }

// New returns a Service.
func New(o Options) *Service { return &Service{o} }

// Handler returns the metadata service of an instance: version 2, and version 1
// beside it where the instance has TokensOptional. One of nil answers 404 to
// everything. within wraps the service, inside of what every answer has.
func (s *Service) Handler(m *world.Machine, within func(http.Handler) http.Handler) http.Handler {
	service := within(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m == nil {
			WriteError(w, http.StatusNotFound)
			return
		}
		s.serve(w, r, m)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "EC2ws")
		w.Header().Set("Accept-Ranges", "none")
		if s.o.ConnectionClose {
			w.Header().Set("Connection", "close")
		}
		service.ServeHTTP(w, withSingleSlashes(r))
	})
}

// withSingleSlashes returns the request as EC2 takes it: several slashes count as
// one.
func withSingleSlashes(r *http.Request) *http.Request {
	if !strings.Contains(r.URL.Path, "//") {
		return r
	}
	one := r.Clone(r.Context())
	one.URL.Path, one.URL.RawPath = repeatedSlashes().ReplaceAllString(r.URL.Path, "/"), ""
	return one
}

var repeatedSlashes = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("//+") })

func (s *Service) serve(w http.ResponseWriter, r *http.Request, m *world.Machine) {
	now, signer := s.o.World.Now(), s.o.Signers.Of(m)
	s.o.World.Lock()
	off, tokens, state, hops := m.MetadataOff, m.TokensOrDefault(), m.State, m.Hops()
	s.o.World.Unlock()
	switch {
	case state == world.Stopped || state == world.Terminated:
		panic(http.ErrAbortHandler) // nobody is there who could ask
	case off:
		WriteError(w, http.StatusForbidden)
		return
	case r.Method == http.MethodPut && strings.HasSuffix(strings.TrimSuffix(r.URL.Path, "/"), "/api/token"):
		setHopLimit(r.Context(), hops)
		serveToken(w, r, m, signer, now)
		return
	case r.URL.Path == tokenPath:
		w.Header().Set("Allow", "OPTIONS, PUT")
		WriteError(w, http.StatusMethodNotAllowed)
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "OPTIONS, GET, HEAD")
		WriteError(w, http.StatusMethodNotAllowed)
		return
	}
	setHopLimit(r.Context(), ordinaryHops) // where a session token was sent before
	who := session{at: now}
	if _, given := r.Header[tokenHeader]; given || tokens == world.TokensRequired {
		number, left, ok := checkToken(m, r.Header.Get(tokenHeader), now)
		if !ok {
			WriteError(w, http.StatusUnauthorized)
			return
		}
		who.left, who.generation = left, signer.Seen(number)
		w.Header().Set(tokenTTLHeader, strconv.Itoa(int(left/time.Second)))
	} else {
		who.generation = signer.Latest()
	}
	body, found, err := s.get(m, who, r.URL.Path)
	switch {
	case err != nil:
		WriteError(w, http.StatusInternalServerError)
	case !found:
		WriteError(w, http.StatusNotFound)
	default:
		w.Header().Set("Last-Modified", s.o.World.Started().UTC().Format(http.TimeFormat))
		kind := "text/plain"
		if strings.HasSuffix(strings.TrimSuffix(r.URL.Path, "/"), "/user-data") && strings.Count(r.URL.Path, "/") <= 3 {
			kind = "application/octet-stream"
		}
		write(w, http.StatusOK, kind, body)
	}
}

// serveToken answers the PUT that opens a session. A dated path, a slash at the end
// and a request that came through a proxy are 403, a wrong TTL is 400.
func serveToken(w http.ResponseWriter, r *http.Request, m *world.Machine, signer *signing.Signer, now time.Time) {
	_, proxied := r.Header["X-Forwarded-For"]
	if r.URL.Path != tokenPath || proxied {
		WriteError(w, http.StatusForbidden)
		return
	}
	ttl, err := strconv.ParseUint(r.Header.Get(tokenTTLHeader), 10, 31) // without a sign
	if err != nil || ttl < 1 || ttl > maxTokenTTL {
		WriteError(w, http.StatusBadRequest)
		return
	}
	w.Header().Set(tokenTTLHeader, strconv.FormatUint(ttl, 10))
	token := newToken(m, signer.Latest(), now.Add(time.Duration(ttl)*time.Second))
	write(w, http.StatusOK, "text/plain", []byte(token))
}

// newToken makes a token that needs no memory to be checked.
func newToken(m *world.Machine, g *signing.Generation, expires time.Time) string {
	b := make([]byte, tokenTimed, tokenBytes)
	binary.BigEndian.PutUint64(b, uint64(expires.UnixNano()))
	binary.BigEndian.PutUint32(b[tokenGeneration:], uint32(g.Number()))
	rand.Read(b[tokenNonce:])
	b = append(b, tokenCode(m, b)...)
	return base64.URLEncoding.EncodeToString(b)
}

// checkToken returns the generation in the token and how long it still holds.
func checkToken(m *world.Machine, token string, now time.Time) (generation int, left time.Duration, ok bool) {
	b, err := base64.URLEncoding.DecodeString(token)
	if err != nil || len(b) != tokenBytes || !hmac.Equal(b[tokenTimed:], tokenCode(m, b[:tokenTimed])) {
		return 0, 0, false
	}
	left = time.Unix(0, int64(binary.BigEndian.Uint64(b))).Sub(now)
	return int(binary.BigEndian.Uint32(b[tokenGeneration:])), left, left > 0
}

func tokenCode(m *world.Machine, b []byte) []byte {
	h := hmac.New(sha256.New, m.TokenKey[:])
	h.Write(b)
	return h.Sum(nil)[:tokenBytes-tokenTimed]
}

func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}

// WriteError answers with a status and the page that EC2 has for it.
func WriteError(w http.ResponseWriter, status int) {
	const page = `<?xml version="1.0" encoding="iso-8859-1"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"
	"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
 <head>
  <title>%[1]s</title>
 </head>
 <body>
  <h1>%[1]s</h1>
 </body>
</html>
`
	title := fmt.Sprintf("%d - %s", status, http.StatusText(status))
	write(w, status, "text/html", fmt.Appendf(nil, page, title))
}
