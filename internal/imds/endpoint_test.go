package imds

import (
	"net/url"
	"strings"
	"testing"
)

var (
	goodEndpoints = []string{
		EndpointIPv4, EndpointIPv6, EndpointAuto, "http://127.0.0.1:1338", "http://[::1]:1338", "http://localhost", "HTTP://127.0.0.1",
		"http://127.0.0.1/", "http://127.0.0.1:80/", "http://[fe80::1%25eth0]", "http://imds.example:65535", "http://127.0.0.1:",
	}
	badEndpoints = []string{
		"", "AUTO", "auto ", "169.254.169.254", "127.0.0.1:80", "//127.0.0.1", "https://127.0.0.1", "ftp://127.0.0.1", "unix:///run/imds", "file:///etc/passwd",
		"http:", "http://", "http:///", "http://:80", "http:127.0.0.1", "http://127.0.0.1/latest", "http://127.0.0.1//", "http://127.0.0.1/%2e",
		"http://user@127.0.0.1", "http://user:secret@127.0.0.1", "http://@127.0.0.1", "http://127.0.0.1?", "http://127.0.0.1?a=b", "http://127.0.0.1#", "http://127.0.0.1#a",
		"http://127.0.0.1:0", "http://127.0.0.1:65536", "http://127.0.0.1:99999", "http://127.0.0.1:-1", "http://127.0.0.1:http", "http://127.0.0.1:80:80",
		"http://::1", "http://[::1", "http://127.0.0.1\\x", "http://127.0.0.1\n", "http://127.0.0.1\x00", " http://127.0.0.1", "http://127.0.0.1 ", "http://a b",
		"http://a\u0085b", "http://\u2028", "http://\u00e4", "http://a\xffb", "http://%zz",
	}
)

func TestCheckEndpoint(t *testing.T) {
	t.Parallel()
	for _, endpoint := range goodEndpoints {
		if err := CheckEndpoint(endpoint); err != nil {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
	for _, endpoint := range append(badEndpoints, "http://"+strings.Repeat("x", 1000)+"?") {
		err := CheckEndpoint(endpoint)
		if err == nil {
			t.Errorf("%q is taken", endpoint)
			continue
		}
		if text := err.Error(); len(text) > 600 || strings.ContainsAny(text, "\n\x00") {
			t.Errorf("the error is no short line: %q", text)
		}
	}
}

// FuzzCheckEndpoint: what is taken is printable, and leads by plain HTTP to the
// host that it names.
func FuzzCheckEndpoint(f *testing.F) {
	for _, endpoint := range append(goodEndpoints, badEndpoints...) {
		f.Add(endpoint)
	}
	f.Fuzz(func(t *testing.T, endpoint string) {
		if err := CheckEndpoint(endpoint); err != nil || endpoint == EndpointAuto {
			return
		}
		for _, c := range []byte(endpoint) {
			if c <= ' ' || c > '~' {
				t.Fatalf("%q is taken, and is not printable", endpoint)
			}
		}
		u, err := url.Parse(endpoint)
		if err != nil {
			t.Fatal(err)
		}
		if u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Opaque != "" || strings.Trim(u.Path, "/") != "" {
			t.Errorf("%q is taken, and is %+v", endpoint, u)
		}
	})
}
