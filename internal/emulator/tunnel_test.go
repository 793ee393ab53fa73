package emulator_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/coder/websocket"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// TestTunnel goes through an EC2 Instance Connect Endpoint to a port of the
// instance: in the clear, and as the aws command does, by TLS to the endpoint's
// name through a proxy.
func TestTunnel(t *testing.T) {
	t.Parallel()
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	_, port, _ := net.SplitHostPort(echo.Addr().String())
	s := served(t, emulator.Options{})
	c := clientsAt(s.APIURL(), "us-east-1", testKey).ec2
	described, err := c.DescribeInstances(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	created, err := c.CreateInstanceConnectEndpoint(t.Context(), &ec2.CreateInstanceConnectEndpointInput{SubnetId: described.Reservations[0].Instances[0].SubnetId})
	if err != nil || created.InstanceConnectEndpoint.State != "create-in-progress" {
		t.Fatal(created, err)
	}
	endpoint := created.InstanceConnectEndpoint
	// The aws command asks so for the endpoint to use.
	found, err := c.DescribeInstanceConnectEndpoints(t.Context(), &ec2.DescribeInstanceConnectEndpointsInput{Filters: []ec2types.Filter{
		{Name: aws.String("state"), Values: []string{"create-complete", "update-complete"}}, {Name: aws.String("vpc-id"), Values: []string{*endpoint.VpcId}},
	}})
	if err != nil || len(found.InstanceConnectEndpoints) != 1 {
		t.Fatal(found, err)
	}
	presigned := func(base string, change func(url.Values)) string {
		t.Helper()
		query := url.Values{
			"instanceConnectEndpointId": {*endpoint.InstanceConnectEndpointId}, "remotePort": {port}, "privateIpAddress": {"127.0.0.1"}, "X-Amz-Expires": {"60"},
		}
		change(query)
		r, err := http.NewRequest(http.MethodGet, base+"/openTunnel?"+query.Encode(), nil)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(nil)
		signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, r, hex.EncodeToString(sum[:]), "ec2-instance-connect", "us-east-1", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	none := func(url.Values) {}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.RootsPEM())
	proxy, err := url.Parse(s.APIURL())
	if err != nil {
		t.Fatal(err)
	}
	proxied := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots}}}
	for base, client := range map[string]*http.Client{s.APIURL(): http.DefaultClient, "https://" + *endpoint.DnsName: proxied, "https://" + *endpoint.FipsDnsName: proxied} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		socket, _, err := websocket.Dial(ctx, presigned(base, none), &websocket.DialOptions{HTTPClient: client})
		if err != nil {
			t.Errorf("%s: %v", base, err)
			cancel()
			continue
		}
		stream := websocket.NetConn(ctx, socket, websocket.MessageBinary)
		sent := strings.Repeat("SSH-2.0-", 20000)
		go func() { _, _ = io.WriteString(stream, sent) }()
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(stream, got); err != nil || string(got) != sent {
			t.Errorf("%s: %v", base, err)
		}
		if err := socket.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Errorf("%s: the end: %v", base, err)
		}
		cancel()
	}
	for name, row := range map[string]struct {
		change func(url.Values)
		status int
		text   string
	}{
		"port":     {func(v url.Values) { v.Set("remotePort", "0") }, 400, "InvalidArgsException"},
		"address":  {func(v url.Values) { v.Set("privateIpAddress", "x") }, 400, "InvalidArgsException"},
		"nobody's": {func(v url.Values) { v.Set("privateIpAddress", "127.0.0.9") }, 400, "EC2InstanceNotFoundException"},
		"endpoint": {func(v url.Values) { v.Set("instanceConnectEndpointId", "eice-1") }, 400, "ResourceNotFoundException"},
		"duration": {func(v url.Values) { v.Set("maxTunnelDuration", "3601") }, 400, "InvalidArgsException"},
		"nobody":   {func(v url.Values) { v.Set("remotePort", "1") }, 502, "ConnectionFailed"},
	} {
		response, err := http.Get(presigned(s.APIURL(), row.change))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != row.status || !strings.Contains(string(body), row.text) {
			t.Errorf("%s: %d, %s", name, response.StatusCode, body)
		}
	}
	if response, err := http.Get(strings.Replace(presigned(s.APIURL(), none), "Signature=", "Signature=0", 1)); err != nil || response.StatusCode != 400 {
		t.Errorf("a wrong signature: %v, %v", response, err)
	}
	if _, err := proxied.Get("https://example.net/"); err == nil || !strings.Contains(err.Error(), "Forbidden") {
		t.Errorf("the proxy leads elsewhere: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	socket, _, err := websocket.Dial(ctx, presigned(s.APIURL(), func(v url.Values) { v.Set("maxTunnelDuration", "1") }), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := socket.Read(ctx); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("a tunnel of one second ends with %v", err)
	}
}
