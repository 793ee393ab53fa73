package emulator

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
	generation *generation
}

// IMDSHandler returns the metadata service of one instance: version 2, and
// version 1 beside it where the instance has TokensOptional. For an instance
// that does not exist it answers 404 to everything.
func (s *Server) IMDSHandler(instanceID string) http.Handler {
	m := s.machine(instanceID)
	service := s.withFaults(serviceIMDS, instanceID, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m == nil {
			writeIMDSError(w, http.StatusNotFound)
			return
		}
		s.serveIMDS(w, r, m)
	}))
	logged := s.logged(instanceID, service)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "EC2ws")
		w.Header().Set("Accept-Ranges", "none")
		if s.options.ConnectionClose {
			w.Header().Set("Connection", "close")
		}
		logged.ServeHTTP(w, withSingleSlashes(r))
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

func (s *Server) serveIMDS(w http.ResponseWriter, r *http.Request, m *machine) {
	now := s.now()
	s.world.Lock()
	off, tokens, state, hops := m.MetadataOff, m.TokensOrDefault(), m.State, m.Hops()
	s.world.Unlock()
	switch {
	case state == Stopped || state == Terminated:
		panic(http.ErrAbortHandler) // nobody is there who could ask
	case off:
		writeIMDSError(w, http.StatusForbidden)
		return
	case r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/api/token"):
		setHopLimit(r.Context(), hops)
		m.serveToken(w, r, now)
		return
	case r.URL.Path == tokenPath:
		w.Header().Set("Allow", "OPTIONS, PUT")
		writeIMDSError(w, http.StatusMethodNotAllowed)
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "OPTIONS, GET, HEAD")
		writeIMDSError(w, http.StatusMethodNotAllowed)
		return
	}
	setHopLimit(r.Context(), ordinaryHops) // where a session token was sent before
	who := session{at: now}
	if _, given := r.Header[tokenHeader]; given || tokens == TokensRequired {
		number, left, ok := m.checkToken(r.Header.Get(tokenHeader), now)
		if !ok {
			writeIMDSError(w, http.StatusUnauthorized)
			return
		}
		who.left, who.generation = left, m.signer.seen(number)
		w.Header().Set(tokenTTLHeader, strconv.Itoa(int(left/time.Second)))
	} else {
		who.generation = m.signer.latest()
	}
	body, found, err := s.metadata(m, who, r.URL.Path)
	switch {
	case err != nil:
		writeIMDSError(w, http.StatusInternalServerError)
	case !found:
		writeIMDSError(w, http.StatusNotFound)
	default:
		w.Header().Set("Last-Modified", s.world.Started().UTC().Format(http.TimeFormat))
		kind := "text/plain"
		if strings.HasSuffix(strings.TrimSuffix(r.URL.Path, "/"), "/user-data") && strings.Count(r.URL.Path, "/") <= 3 {
			kind = "application/octet-stream"
		}
		writeIMDS(w, http.StatusOK, kind, body)
	}
}

// serveToken answers the PUT that opens a session. A dated path and a request
// that came through a proxy are 403, a wrong TTL is 400.
func (m *machine) serveToken(w http.ResponseWriter, r *http.Request, now time.Time) {
	_, proxied := r.Header["X-Forwarded-For"]
	if r.URL.Path != tokenPath || proxied {
		writeIMDSError(w, http.StatusForbidden)
		return
	}
	ttl, err := strconv.ParseUint(r.Header.Get(tokenTTLHeader), 10, 31) // without a sign
	if err != nil || ttl < 1 || ttl > maxTokenTTL {
		writeIMDSError(w, http.StatusBadRequest)
		return
	}
	w.Header().Set(tokenTTLHeader, strconv.FormatUint(ttl, 10))
	token := m.newToken(now.Add(time.Duration(ttl) * time.Second))
	writeIMDS(w, http.StatusOK, "text/plain", []byte(token))
}

// newToken makes a token that needs no memory to be checked.
func (m *machine) newToken(expires time.Time) string {
	b := make([]byte, tokenTimed, tokenBytes)
	binary.BigEndian.PutUint64(b, uint64(expires.UnixNano()))
	binary.BigEndian.PutUint32(b[tokenGeneration:], uint32(m.signer.latest().number))
	rand.Read(b[tokenNonce:])
	b = append(b, m.tokenCode(b)...)
	return base64.URLEncoding.EncodeToString(b)
}

// checkToken returns the generation in the token and how long it still holds.
func (m *machine) checkToken(token string, now time.Time) (generation int, left time.Duration, ok bool) {
	b, err := base64.URLEncoding.DecodeString(token)
	if err != nil || len(b) != tokenBytes || !hmac.Equal(b[tokenTimed:], m.tokenCode(b[:tokenTimed])) {
		return 0, 0, false
	}
	left = time.Unix(0, int64(binary.BigEndian.Uint64(b))).Sub(now)
	return int(binary.BigEndian.Uint32(b[tokenGeneration:])), left, left > 0
}

func (m *machine) tokenCode(b []byte) []byte {
	h := hmac.New(sha256.New, m.TokenKey[:])
	h.Write(b)
	return h.Sum(nil)[:tokenBytes-tokenTimed]
}

func writeIMDS(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}

func writeIMDSError(w http.ResponseWriter, status int) {
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
	writeIMDS(w, status, "text/html", fmt.Appendf(nil, page, title))
}
