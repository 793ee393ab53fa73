package emulator_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// signerKey is shared: making one takes longer than most tests.
var signerKey = sync.OnceValues(func() (*rsa.PrivateKey, error) {
	return rsa.GenerateKey(rand.Reader, 2048)
})

// A clock stands still until it is moved.
type clock struct{ offset atomic.Int64 }

var epoch = time.Date(2026, 3, 4, 5, 6, 7, 800, time.UTC)

func (c *clock) now() time.Time       { return epoch.Add(time.Duration(c.offset.Load())) }
func (c *clock) move(d time.Duration) { c.offset.Add(int64(d)) }

func newServer(t *testing.T, o emulator.Options) *emulator.Server {
	t.Helper()
	key, err := signerKey()
	if err != nil {
		t.Fatal(err)
	}
	o.SignerKey = key
	s, err := emulator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A session is a client of one instance's metadata service with a token.
type session struct {
	t     *testing.T
	url   string
	token string
}

func newSession(t *testing.T, s *emulator.Server, instanceID string) *session {
	t.Helper()
	service := httptest.NewServer(s.IMDSHandler(instanceID))
	t.Cleanup(service.Close)
	c := &session{t: t, url: service.URL}
	c.renew()
	return c
}

func (c *session) renew() {
	c.t.Helper()
	status, body, _ := do(c.t, http.MethodPut, c.url+"/latest/api/token", map[string]string{"X-aws-ec2-metadata-token-ttl-seconds": "21600"})
	if status != http.StatusOK {
		c.t.Fatalf("no token: %d", status)
	}
	c.token = body
}

func (c *session) get(path string) (status int, body string) {
	c.t.Helper()
	status, body, _ = do(c.t, http.MethodGet, c.url+"/latest/meta-data/"+path, map[string]string{"X-aws-ec2-metadata-token": c.token})
	return status, body
}

func (c *session) mustGet(path string) string {
	c.t.Helper()
	status, body := c.get(path)
	if status != http.StatusOK {
		c.t.Fatalf("%s is %d", path, status)
	}
	return body
}

func do(t *testing.T, method, url string, header map[string]string) (status int, body string, got http.Header) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(data), response.Header
}

func TestNewDerives(t *testing.T) {
	t.Parallel()
	for zone, want := range map[string]string{
		"us-east-1a":              "us-east-1 aws amazonaws.com",
		"ap-southeast-2c":         "ap-southeast-2 aws amazonaws.com",
		"us-west-2-lax-1a":        "us-west-2 aws amazonaws.com",
		"us-east-1-wl1-bos-wlz-1": "us-east-1 aws amazonaws.com",
		"us-gov-east-1a":          "us-gov-east-1 aws-us-gov amazonaws.com",
		"cn-northwest-1b":         "cn-northwest-1 aws-cn amazonaws.com.cn",
		"us-iso-east-1a":          "us-iso-east-1 aws-iso c2s.ic.gov",
		"us-isob-east-1a":         "us-isob-east-1 aws-iso-b sc2s.sgov.gov",
		"eu-isoe-west-1a":         "eu-isoe-west-1 aws-iso-e cloud.adc-e.uk",
		"us-isof-south-1a":        "us-isof-south-1 aws-iso-f csp.hci.ic.gov",
		"eusc-de-east-1a":         "eusc-de-east-1 aws-eusc amazonaws.eu",
	} {
		s := newServer(t, emulator.Options{Instances: []emulator.Instance{{ID: "i-00000000", Zone: zone}}})
		i := s.Instances()[0]
		if got := strings.Join([]string{i.Region, i.Partition, i.Domain}, " "); got != want {
			t.Errorf("%s: got %s, want %s", zone, got, want)
		}
	}
	i := newServer(t, emulator.Options{}).Instances()
	want := emulator.Instance{
		ID: "i-0123456789abcdef0", Zone: "us-east-1a", Region: "us-east-1", Partition: "aws",
		Domain: "amazonaws.com", Type: "t3.micro", State: emulator.Running, IMDSAddress: "127.0.0.1:0",
	}
	if len(i) != 1 || !reflect.DeepEqual(i[0], want) {
		t.Errorf("got %+v, want only %+v", i, want)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	one := func(i emulator.Instance) emulator.Options {
		return emulator.Options{Instances: []emulator.Instance{i}}
	}
	const id = "i-0123456789"
	for want, o := range map[string]emulator.Options{
		"at least one instance":                {Instances: []emulator.Instance{}},
		"is given twice":                       {Instances: []emulator.Instance{{ID: id}, {ID: id}}},
		`"" is not an instance ID`:             one(emulator.Instance{}),
		`is not an instance type`:              one(emulator.Instance{ID: "i-00000001", Type: "micro"}),
		`"1" is not an account`:                one(emulator.Instance{ID: "i-00000001", Account: "1"}),
		`"12345678901x" is not an account`:     one(emulator.Instance{ID: "i-00000001", Account: "12345678901x"}),
		`nothing can be set at /latest/a/../b`: one(emulator.Instance{ID: "i-00000001", Served: map[string]string{"a/../b": ""}}),
		`"i-0123G56789" is not an`:             one(emulator.Instance{ID: "i-0123G56789"}),
		`"us-east-1" is not the name`:          one(emulator.Instance{ID: id, Zone: "us-east-1"}),
		`"us-east-1a\n" is not the`:            one(emulator.Instance{ID: id, Zone: "us-east-1a\n"}),
		`"off" is not a state`:                 one(emulator.Instance{ID: id, State: "off"}),
		`"0.0.0.0:80" is not a loop`:           one(emulator.Instance{ID: id, IMDSAddress: "0.0.0.0:80"}),
		`":80" is not a loopback address`:      {APIAddress: ":80"},
		`"[2001:db8::1]:80" is not`:            {APIAddress: "[2001:db8::1]:80"},
		`"localhost" is not HOST`:              {APIAddress: "localhost"},
		`"localhost:http" has no po`:           {APIAddress: "localhost:http"},
		`"10.0.0.1" is not an IPv6`:            one(emulator.Instance{ID: id, IPv6: "10.0.0.1"}),
		"set at /latest/api/token":             one(emulator.Instance{ID: id, Served: map[string]string{"api/token": "x"}}),
		"neither an IP address nor":            {APIAddress: "aws:80", AllowRemote: true},
	} {
		s, err := emulator.New(o)
		if err == nil || s != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, %v, want an error with %q", s, err, want)
		}
	}
	newServer(t, emulator.Options{APIAddress: ":80", AllowRemote: true})
	newServer(t, emulator.Options{APIAddress: "[::1]:0"})
}

func TestRequests(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{})
	c := newSession(t, s, emulator.DefaultInstanceID)
	c.get("instance-id")
	api := httptest.NewServer(s.APIHandler())
	defer api.Close()
	do(t, http.MethodGet, api.URL+"/%41", nil)
	want := []emulator.Request{
		{Instance: emulator.DefaultInstanceID, Method: "PUT", Path: "/latest/api/token"},
		{Instance: emulator.DefaultInstanceID, Method: "GET", Path: "/latest/meta-data/instance-id"},
		{Method: "GET", Path: "/A"},
	}
	if got := s.Requests(); !slices.Equal(got, want) || s.RequestCount() != 3 {
		t.Errorf("got %v and %d, want %v", got, s.RequestCount(), want)
	}
	s.ResetRequests()
	if got := s.Requests(); len(got) != 0 || s.RequestCount() != 0 {
		t.Errorf("got %v and %d after the reset", got, s.RequestCount())
	}
	s.APIHandler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/"+strings.Repeat("x", 60000), nil))
	if got := s.Requests(); len(got) != 1 || len(got[0].Path) != 1024 {
		t.Error("a long path is not cut")
	}
	s.ResetRequests()
	for range 5000 {
		s.APIHandler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	}
	if got := len(s.Requests()); got != 4096 || s.RequestCount() != 5000 {
		t.Errorf("%d requests are kept and %d counted, want 4096 and 5000", got, s.RequestCount())
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{Instances: []emulator.Instance{
		{ID: "i-00000001"}, {ID: "i-00000002", IMDSAddress: "localhost:0"},
	}})
	if s.APIURL() != "" || s.IMDSURL("i-00000001") != "" {
		t.Error("there are URLs before Listen")
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err == nil {
		t.Error("a second Listen went well")
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- s.Serve(ctx) }()
	for _, id := range []string{"i-00000001", "i-00000002"} {
		c := &session{t: t, url: s.IMDSURL(id)}
		c.renew()
		if got := c.mustGet("instance-id"); got != id {
			t.Errorf("%s says that it is %s", id, got)
		}
	}
	if status, body, _ := do(t, http.MethodGet, s.APIURL(), nil); status != http.StatusOK || !strings.Contains(body, "AWS_ENDPOINT_URL") {
		t.Errorf("GET of the API is %d, %s", status, body)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if s.APIURL() != "" {
		t.Error("there is still a URL")
	}
}

func TestListenTaken(t *testing.T) {
	t.Parallel()
	first := newServer(t, emulator.Options{})
	if err := first.Listen(); err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	taken := strings.TrimPrefix(first.APIURL(), "http://")
	second := newServer(t, emulator.Options{Instances: []emulator.Instance{{ID: "i-00000001", IMDSAddress: taken}}})
	if err := second.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "metadata of i-00000001") {
		t.Errorf("got %v, want that the metadata cannot be served", err)
	}
	if second.APIURL() != "" {
		t.Error("the API is still bound")
	}
}
