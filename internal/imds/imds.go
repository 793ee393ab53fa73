// Package imds reads the EC2 instance metadata service (IMDS), version 2 only.
//
// It is the AWS SDK's client with strict settings: it takes nothing from the
// environment, uses no proxy, follows no redirect, never falls back to version 1,
// and bounds every answer.
package imds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/eic-agent/eic-agent/internal/reason"
)

// The endpoints of the service.
const (
	EndpointIPv4 = "http://169.254.169.254"
	EndpointIPv6 = "http://[fd00:ec2::254]"
	// EndpointAuto is the IPv4 address, and the IPv6 one where the first does
	// not answer.
	EndpointAuto = "auto"
)

// ErrNotFound is what Get returns for a path that the service does not have.
var ErrNotFound = errors.New("the metadata service has no such entry")

// maxToken bounds a session token; AWS's have 56 bytes.
const maxToken = 1 << 10

// A Client reads metadata. It may be used by several goroutines, which share
// connections and the session token. It lives as long as one run.
type Client struct {
	sdk       *imds.Client
	transport *transport
	endpoint  string
}

// Tokens keeps the session token from one run to the next.
type Tokens interface {
	// Token returns the token that is kept and how long it is still good for.
	Token(now time.Time) (token string, left time.Duration, ok bool)
	StoreToken(token string, expires time.Time)
	// DropToken forgets a token that the service refused.
	DropToken()
	// LeadToken lets one run at a time get a token: the others wait for it,
	// for a bounded time, and waited is true for them. done ends the lead.
	LeadToken(ctx context.Context) (waited bool, done func())
}

// New returns a client of the endpoint, which CheckEndpoint has found good, that
// presents itself as userAgent. patience is how long it waits for an answer before it
// asks for it once more; the first answer counts. tokens may be nil. Nothing is sent
// yet.
func New(endpoint, userAgent string, patience time.Duration, tokens Tokens) *Client {
	base, address := endpoint, hostPort(endpoint)
	if endpoint == EndpointAuto {
		base, address = EndpointIPv4, ""
	}
	transport := newTransport(address, userAgent, patience, tokens)
	return &Client{
		endpoint:  endpoint,
		transport: transport,
		sdk: imds.New(imds.Options{
			Endpoint:                 base,
			ClientEnableState:        imds.ClientEnabled,
			EnableFallback:           aws.FalseTernary,
			HTTPClient:               transport,
			Retryer:                  aws.NopRetryer{}, // Get retries
			DisableDefaultTimeout:    true,             // the caller's context has one
			DisableDefaultMaxBackoff: true,
		}),
	}
}

// Close closes the connections that are kept for more requests. A process that ends
// after its run need not call it.
func (c *Client) Close() { c.transport.wire.close() }

// hostPort returns where the endpoint, a URL, is dialled.
func hostPort(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return endpoint // CheckEndpoint has not found it good
	}
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80"))
}

// CheckEndpoint says what is wrong with an endpoint for New: it is "auto" or an
// http URL of a host and optionally a port.
func CheckEndpoint(endpoint string) error {
	if endpoint == EndpointAuto {
		return nil
	}
	// Visible, because messages show the endpoint verbatim.
	u, err := url.Parse(endpoint)
	if err != nil || !IsToken(endpoint) || u.Scheme != "http" || u.Hostname() == "" || !isPort(u.Port()) || u.User != nil ||
		(u.Path != "" && u.Path != "/") || strings.ContainsAny(endpoint, "?#") {
		return fmt.Errorf("%.100q is neither %q nor a URL like %q", endpoint, EndpointAuto, EndpointIPv4)
	}
	return nil
}

// isPort reports whether s is a port that can be dialled, or empty.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return s == "" || err == nil && n > 0
}

// TooLarge is the error for an entry of more bytes than the limit.
type TooLarge struct {
	Err       error  // a *reason.Error
	Beginning []byte // of the entry, at most as many bytes as the limit
}

func (e TooLarge) Error() string { return e.Err.Error() }
func (e TooLarge) Unwrap() error { return e.Err }

// Get returns what the service has at path below latest/meta-data/, at most
// limit bytes of it. The error is ErrNotFound, a TooLarge, or wraps a *reason.Error
// with imds-unreachable or imds-error; there is no body with an error. It asks again
// where that can help before the context's deadline.
func (c *Client) Get(ctx context.Context, path string, limit int) ([]byte, error) {
	var had failures
	for {
		body, last, err := c.once(ctx, path, limit)
		if err == nil {
			return body, nil
		}
		if last.method == http.MethodGet && last.status == http.StatusNotFound {
			return nil, ErrNotFound
		}
		wait, again := had.retry(last)
		if !again || !sleep(ctx, wait) {
			return nil, c.explain(ctx, path, last, err)
		}
	}
}

// once makes one attempt, with a session token fetched first where there is
// none. last is the last exchange that it came to.
func (c *Client) once(ctx context.Context, path string, limit int) (body []byte, last exchange, err error) {
	last.limit = limit
	out, err := c.sdk.GetMetadata(withExchange(ctx, &last), &imds.GetMetadataInput{Path: path})
	if err != nil {
		return nil, last, err
	}
	return last.body, last, out.Content.Close()
}

const (
	// backoff is doubled with each attempt, up to maxBackoff, and jittered.
	backoff    = 50 * time.Millisecond
	maxBackoff = 800 * time.Millisecond
	// leastUseful is the minimum time before the
	// deadline for another attempt.
	leastUseful = 50 * time.Millisecond
	// lastAttempt is the time that the last attempt is given.
	lastAttempt = 250 * time.Millisecond
)

// failures counts the failed attempts of one Get.
type failures struct {
	all     int
	refused int // for the session token
	faults  int // of the service
}

// retry says whether the exchange, which came to nothing, is worth another attempt,
// and how long to wait before it. Throttling passes, so it is waited out; faults of
// the service get two more attempts, a refused session token one; all else is final.
// What was throttled before counts for none of them.
func (f *failures) retry(x exchange) (wait time.Duration, again bool) {
	wait = min(backoff<<min(f.all, 10), maxBackoff)
	wait = wait/2 + rand.N(wait)
	f.all++
	switch {
	case x.tooLarge, x.badToken:
		return 0, false
	case x.status == http.StatusTooManyRequests, x.status == http.StatusServiceUnavailable:
		return wait, true
	case x.status == http.StatusUnauthorized:
		f.refused++
		return 0, f.refused == 1
	case x.status >= 500, x.connected && x.broken:
		f.faults++
		return wait, f.faults <= 2
	}
	return 0, false
}

// sleep waits and reports whether to continue: not if the context would
// end during the wait or right after it. A wait that is too long for what is left is
// cut short for one last attempt, as long as something of it remains.
func sleep(ctx context.Context, wait time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok {
		if left := time.Until(deadline); left < wait+leastUseful {
			wait = left - lastAttempt
		}
		if wait < 0 {
			return false
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// explain describes the last exchange of a failed Get.
func (c *Client) explain(ctx context.Context, path string, last exchange, err error) error {
	fault := c.fault(ctx, path, last, err)
	if last.tooLarge && last.method == http.MethodGet {
		return TooLarge{Err: fault, Beginning: last.body}
	}
	unanswered := reason.Of(fault) == reason.IMDSUnreachable || last.status >= 500 || last.status == 0 && last.connected && !last.badToken
	if unanswered {
		return outage{fault}
	}
	return fault
}

// fault is the error of explain.
func (c *Client) fault(ctx context.Context, path string, last exchange, err error) error {
	what := fmt.Sprintf("to %.100q", path)
	if last.method == http.MethodPut {
		what = "to the request for a session token"
	}
	fault := func(w reason.Word, format string, args ...any) error {
		who := "the metadata service "
		if c.endpoint != EndpointAuto {
			who += "at " + c.endpoint + " "
		}
		return reason.New(w, who+fmt.Sprintf(format, args...))
	}
	switch {
	case last.tooLarge:
		return fault(reason.IMDSError, "answered %s with more than %d bytes", what, last.bound())
	case last.badToken:
		return fault(reason.IMDSError, "returned no valid session token")
	case ctx.Err() != nil && last.connected:
		return fault(reason.IMDSUnreachable, "accepted the connection but did not answer %s in time", what)
	case ctx.Err() != nil, timedOut(last.err):
		return fault(reason.IMDSUnreachable, "did not answer in time")
	case last.status >= 300 && last.status < 400:
		return fault(reason.IMDSError, "answered %s with a redirect (%d), which is not followed", what, last.status)
	case last.status != 0 && last.status != http.StatusOK:
		return fault(reason.IMDSError, "answered %s with status %d", what, last.status)
	case last.status == http.StatusOK && !last.broken:
		// All that the SDK reads of an answer is the lifetime of a token.
		return fault(reason.IMDSError, "returned a session token without a lifetime")
	case last.status == http.StatusOK:
		return fault(reason.IMDSError, "ended its answer %s early", what)
	case last.connected:
		return fault(reason.IMDSError, "closed the connection without a valid answer %s", what)
	}
	if last.err != nil {
		err = last.err // which the SDK hides where it wanted a token
	}
	return fault(reason.IMDSUnreachable, "cannot be reached: %v", rootCause(err))
}

// timedOut reports whether err is that something took too long: the dialer has a
// limit of its own, and may be the first to see the context's.
func timedOut(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// rootCause returns the innermost error, without the addresses and operations
// that the layers above it repeat.
func rootCause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
