package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/eic-agent/eic-agent/internal/imds"
)

const (
	// dialPatience is how long the service, which is on the host, may take to
	// connect, and answerPatience to answer. lastPatience is for the request
	// that shows whether the service is silent or its token is lost on the way.
	dialPatience   = time.Second
	answerPatience = 1500 * time.Millisecond
	lastPatience   = 3 * time.Second
	maxAnswer      = 64 << 10

	tokenHeader    = "X-Aws-Ec2-Metadata-Token"
	tokenTTLHeader = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
)

// The ways in which a connection or an answer fails.
const (
	failRefused = "refused" // a port where nobody listens, or a firewall that says no
	failNoRoute = "no-route"
	failTimeout = "timeout"
	failDenied  = "denied" // by the kernel on this host
	failBroken  = "broken" // the connection ended early, or it is not HTTP
)

// A contact is one try to speak with the metadata service, without retries and
// with nothing taken from the environment.
type contact struct {
	Endpoint string
	Dial     string // how it failed, or ""
	DialText string
	// Token is the request for a session token, Entry one for an entry with
	// the token. Where there is no token, Entry is asked for without, as in
	// version 1.
	Token, Entry exchange
	HasToken     bool // it was given one that can be sent
	// Date is what the service says the time is, zero where it does not, and
	// Before and After when it was asked and had answered by this host's
	// clock.
	Date, Before, After time.Time
}

// An exchange is one request.
type exchange struct {
	Sent   bool
	Fail   string // how it failed, or ""
	Status int
	Took   time.Duration
}

// good reports whether version 2 works.
func (c contact) good() bool {
	return c.Dial == "" && c.HasToken && c.Entry.Fail == "" && (c.Entry.Status == http.StatusOK || c.Entry.Status == http.StatusNotFound)
}

// host returns the address of the endpoint, without its port.
func (c contact) host() string {
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// callUp tries an endpoint.
func callUp(ctx context.Context, endpoint string) contact {
	c := contact{Endpoint: endpoint}
	transport := &http.Transport{
		Proxy:                  nil,
		MaxResponseHeaderBytes: 16 << 10,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return (&net.Dialer{Timeout: dialPatience, KeepAlive: -1}).DialContext(ctx, network, address)
		},
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	// Connect first, to distinguish a failed connection from a missing answer.
	address := strings.TrimSuffix(strings.TrimPrefix(endpoint, "http://"), "/")
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(c.host(), "80")
	}
	conn, err := transport.DialContext(ctx, "tcp", address)
	if err != nil {
		c.Dial, c.DialText = failure(err), err.Error()
		return c
	}
	conn.Close()

	var token string
	c.Token, token = c.exchange(ctx, client, answerPatience, http.MethodPut, "/latest/api/token", http.Header{tokenTTLHeader: {"60"}})
	c.HasToken = c.Token.Status == http.StatusOK && imds.IsToken(token)
	header, patience := http.Header{}, answerPatience
	if c.HasToken {
		header.Set(tokenHeader, token)
	}
	if c.Token.Fail == failTimeout {
		patience = lastPatience
	}
	c.Entry, _ = c.exchange(ctx, client, patience, http.MethodGet, "/latest/meta-data/instance-id", header)
	return c
}

// exchange sends one request and reads its answer.
func (c *contact) exchange(ctx context.Context, client *http.Client, patience time.Duration, method, path string, header http.Header) (x exchange, body string) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	x.Sent = true
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.Endpoint, "/")+path, nil)
	if err != nil {
		x.Fail = failBroken
		return x, ""
	}
	req.Header = header
	before := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		x.Fail = failure(err)
		return x, ""
	}
	defer resp.Body.Close()
	after := time.Now()
	x.Status, x.Took = resp.StatusCode, after.Sub(before)
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		c.Date, c.Before, c.After = date, before.Round(0), after.Round(0)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		x.Fail = failure(err)
		return x, ""
	}
	return x, string(text)
}

// failure says how a connection or an answer failed.
func failure(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return failRefused
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
		return failNoRoute
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return failDenied
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return failTimeout
	}
	return failBroken
}

// endpoints returns what a configured endpoint stands for.
func endpoints(configured string) []string {
	if configured == imds.EndpointAuto {
		return []string{imds.EndpointIPv4, imds.EndpointIPv6}
	}
	return []string{configured}
}

// otherEndpoint returns the service's address of the other family, or "".
func otherEndpoint(configured string) string {
	switch strings.TrimSuffix(configured, "/") {
	case imds.EndpointIPv4:
		return imds.EndpointIPv6
	case imds.EndpointIPv6:
		return imds.EndpointIPv4
	}
	return ""
}

// reach tries what is configured until one works, and returns that or the first.
// other is one of the other family that works where those do not.
func reach(ctx context.Context, configured string) (c contact, other string) {
	for i, endpoint := range endpoints(configured) {
		tried := callUp(ctx, endpoint)
		if i == 0 || tried.good() {
			c = tried
		}
		if c.good() {
			return c, ""
		}
	}
	if second := otherEndpoint(configured); second != "" && c.Dial != "" && callUp(ctx, second).good() {
		return c, second
	}
	return c, ""
}

// complaint names what is wrong with a contact, or returns nil. The texts follow
// "the metadata service at ENDPOINT "; instanceID is for the fixes.
func (c contact) complaint(instanceID string) (problem *Entry, text, fix string) {
	const options = "aws ec2 modify-instance-metadata-options --http-endpoint enabled "
	enable := options + "--http-tokens required --instance-id " + instanceID
	find := "find out which proxy, port forwarding or service answers at " + c.Endpoint + " on this host instead of the metadata service"
	switch c.Dial {
	case failRefused:
		return imdsRefused, "refuses the connection: nothing listens there, or a firewall rejects it for every user", "check [imds] endpoint, and the firewall rules for this address: nft list ruleset; iptables -S OUTPUT"
	case failNoRoute:
		return imdsNoRoute, "cannot be reached: the host has no route to it (" + c.DialText + ")", "ip route get " + c.host()
	case failTimeout:
		return imdsDropped, "does not answer a connection attempt: packets are dropped for every user", "check the firewall rules for this address (nft list ruleset; iptables -S OUTPUT) and, in a container, its network"
	case failDenied:
		asSystemd := ""
		if systemdRuns() {
			asSystemd = "; systemctl show -p IPAddressDeny ssh sshd"
		}
		return imdsDenied, "is blocked by this host's kernel (" + c.DialText + ")", "check the firewall rules for this address: nft list ruleset; iptables -S OUTPUT" + asSystemd
	case failBroken:
		return imdsNoHTTP, "cannot be connected to: " + c.DialText, find
	}
	t, v1 := c.Token, c.Entry.Fail == "" && c.Entry.Status == http.StatusOK
	unauthorized := c.Entry.Fail == "" && c.Entry.Status == http.StatusUnauthorized
	switch {
	case t.Fail == failTimeout && (v1 || unauthorized):
		return imdsHopLimit, "answers, but its session token does not arrive: the response hop limit is too low for this host, which may be a container or behind a router", options + "--http-put-response-hop-limit 2 --instance-id " + instanceID
	case t.Fail == failTimeout:
		return imdsSilent, "accepts the connection but does not answer", find
	case t.Fail != "":
		return imdsNoHTTP, "closes the connection without a valid HTTP response", find
	case t.Status == http.StatusForbidden && v1, t.Status == http.StatusForbidden && unauthorized:
		return imdsProxied, "refuses session tokens (403) but answers other requests: they reach it through a proxy", find
	case t.Status == http.StatusForbidden:
		return imdsDisabled, "is disabled for this instance (403)", enable
	case t.Status >= 300 && t.Status < 400:
		return imdsRedirected, fmt.Sprintf("answers with a redirect (%d), so it is not the EC2 metadata service", t.Status), find
	case t.Status == http.StatusTooManyRequests, t.Status == http.StatusServiceUnavailable:
		return imdsThrottled, fmt.Sprintf("throttles requests (%d): something on this host sends too many", t.Status), "find the program: ss -tnp dst " + c.host()
	case t.Status >= 400 && v1:
		return imdsV1Only, fmt.Sprintf("issues no session token (%d) but answers without one: it supports IMDSv1 only, which the agent does not use", t.Status), find
	case t.Status != http.StatusOK:
		return imdsFailing, fmt.Sprintf("returns status %d for a session token request", t.Status), "check the instance's metadata options, and try again: " + enable
	case !c.HasToken:
		return imdsForeign, "returns another page instead of a session token, so it is not the EC2 metadata service", find
	case c.Entry.Fail == failTimeout:
		return imdsSilent, "issues a session token but does not answer a request with it", find
	case c.Entry.Fail != "":
		return imdsNoHTTP, "closes the connection without a valid HTTP response", find
	case c.Entry.Status == http.StatusUnauthorized:
		return imdsTokenRefused, "rejects the session token that it issued", find
	case c.Entry.Status == http.StatusForbidden:
		return imdsDisabled, "issues a session token but refuses every metadata request (403)", enable
	case !c.good():
		return imdsFailing, fmt.Sprintf("returns status %d for an entry", c.Entry.Status), "check the instance's metadata options, and try again: " + enable
	}
	return nil, "", ""
}
