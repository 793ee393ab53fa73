package imds

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// ttlHeader has the life of a session token in seconds, in the request
	// and in the answer.
	ttlHeader = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	// keptTTL is asked for a token that is kept: the longest that the service
	// gives. The SDK asks for five minutes.
	keptTTL = "21600"
)

// token answers a request for a session token with the one that is kept, or sends
// it and keeps what comes.
func (t *transport) token(req *http.Request) (*http.Response, error) {
	if resp := t.keptToken(req); resp != nil {
		return resp, nil
	}
	waited, done := t.tokens.LeadToken(req.Context())
	defer done()
	if waited {
		if resp := t.keptToken(req); resp != nil {
			return resp, nil
		}
	}
	req.Header.Set(ttlHeader, keptTTL)
	resp, err := t.send(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	token, err := io.ReadAll(resp.Body) // in memory, and bounded
	if err != nil {
		return nil, err
	}
	if seconds, err := strconv.Atoi(resp.Header.Get(ttlHeader)); err == nil && IsToken(string(token)) {
		t.tokens.StoreToken(string(token), time.Now().Add(time.Duration(seconds)*time.Second))
	}
	resp.Body = io.NopCloser(strings.NewReader(string(token)))
	return resp, nil
}

// keptToken returns the answer that the service gave when the token that is kept
// was new, or nil.
func (t *transport) keptToken(req *http.Request) *http.Response {
	token, left, ok := t.tokens.Token(time.Now())
	if !ok || !IsToken(token) {
		return nil
	}
	return &http.Response{
		StatusCode: http.StatusOK,
		Header:     http.Header{ttlHeader: {strconv.Itoa(int(left.Seconds()))}},
		Body:       io.NopCloser(strings.NewReader(token)),
		Request:    req,
	}
}
