package emulator

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	tokenPath      = "/latest/api/token"
	tokenHeader    = "X-Aws-Ec2-Metadata-Token"
	tokenTTLHeader = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	maxTokenTTL    = 21600 // seconds

	// A token is an expiry, a nonce and a code over both: 40 bytes, 56
	// characters, as long as a real one.
	tokenTimed = 16
	tokenBytes = 40
)

// IMDSHandler returns the metadata service of one instance, version 2 only.
// For an instance that does not exist it answers 404 to everything.
func (s *Server) IMDSHandler(instanceID string) http.Handler {
	m := s.machine(instanceID)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.logRequest(instanceID, r)
		w.Header().Set("Server", "EC2ws")
		w.Header().Set("Accept-Ranges", "none")
		if s.options.ConnectionClose {
			w.Header().Set("Connection", "close")
		}
		if m == nil {
			writeIMDSError(w, http.StatusNotFound)
			return
		}
		s.serveIMDS(w, r, m)
	})
}

func (s *Server) serveIMDS(w http.ResponseWriter, r *http.Request, m *machine) {
	now := s.options.Now()
	switch {
	case r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/api/token"):
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
	left, ok := m.checkToken(r.Header.Get(tokenHeader), now)
	if !ok {
		writeIMDSError(w, http.StatusUnauthorized)
		return
	}
	w.Header().Set(tokenTTLHeader, strconv.Itoa(int(left/time.Second)))
	body, found, err := s.metadata(m, r.URL.Path, now)
	switch {
	case err != nil:
		writeIMDSError(w, http.StatusInternalServerError)
	case !found:
		writeIMDSError(w, http.StatusNotFound)
	default:
		w.Header().Set("Last-Modified", s.started.UTC().Format(http.TimeFormat))
		writeIMDS(w, http.StatusOK, "text/plain", body)
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
	ttl, err := strconv.Atoi(r.Header.Get(tokenTTLHeader))
	if err != nil || ttl < 1 || ttl > maxTokenTTL {
		writeIMDSError(w, http.StatusBadRequest)
		return
	}
	w.Header().Set(tokenTTLHeader, strconv.Itoa(ttl))
	token := m.newToken(now.Add(time.Duration(ttl) * time.Second))
	writeIMDS(w, http.StatusOK, "text/plain", []byte(token))
}

// newToken makes a token that needs no memory to be checked.
func (m *machine) newToken(expires time.Time) string {
	b := make([]byte, tokenTimed, tokenBytes)
	binary.BigEndian.PutUint64(b, uint64(expires.UnixNano()))
	rand.Read(b[8:])
	b = append(b, m.tokenCode(b)...)
	return base64.URLEncoding.EncodeToString(b)
}

// checkToken returns how long the token still holds.
func (m *machine) checkToken(token string, now time.Time) (left time.Duration, ok bool) {
	b, err := base64.URLEncoding.DecodeString(token)
	if err != nil || len(b) != tokenBytes || !hmac.Equal(b[tokenTimed:], m.tokenCode(b[:tokenTimed])) {
		return 0, false
	}
	left = time.Unix(0, int64(binary.BigEndian.Uint64(b))).Sub(now)
	return left, left > 0
}

func (m *machine) tokenCode(b []byte) []byte {
	h := hmac.New(sha256.New, m.tokenKey[:])
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
