package emulator_test

import (
	"bufio"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

func TestToken(t *testing.T) {
	t.Parallel()
	service := httptest.NewServer(newServer(t, emulator.Options{}).IMDSHandler(emulator.DefaultInstanceID))
	t.Cleanup(service.Close)
	const ttl = "X-aws-ec2-metadata-token-ttl-seconds"
	for _, row := range []struct {
		name, method, path string
		header             map[string]string
		status             int
		allow              string
	}{
		{"least", "PUT", "/latest/api/token", map[string]string{ttl: "1"}, 200, ""},
		{"most", "PUT", "/latest/api/token", map[string]string{ttl: "21600"}, 200, ""},
		{"no TTL", "PUT", "/latest/api/token", nil, 400, ""},
		{"slash at the end", "PUT", "/latest/api/token/", map[string]string{ttl: "60"}, 403, ""},
		{"zero", "PUT", "/latest/api/token", map[string]string{ttl: "0"}, 400, ""},
		{"too much", "PUT", "/latest/api/token", map[string]string{ttl: "21601"}, 400, ""},
		{"not a number", "PUT", "/latest/api/token", map[string]string{ttl: "1s"}, 400, ""},
		{"signed", "PUT", "/latest/api/token", map[string]string{ttl: "+60"}, 400, ""},
		{"proxied", "PUT", "/latest/api/token", map[string]string{ttl: "60", "X-Forwarded-For": "192.0.2.1"}, 403, ""},
		{"proxied, empty", "PUT", "/latest/api/token", map[string]string{ttl: "60", "X-Forwarded-For": ""}, 403, ""},
		{"dated", "PUT", "/2021-07-15/api/token", map[string]string{ttl: "60"}, 403, ""},
		{"GET", "GET", "/latest/api/token", nil, 405, "OPTIONS, PUT"},
		{"POST", "POST", "/latest/api/token", nil, 405, "OPTIONS, PUT"},
		{"PUT elsewhere", "PUT", "/latest/meta-data/", nil, 405, "OPTIONS, GET, HEAD"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			status, body, header := do(t, row.method, service.URL+row.path, row.header)
			if status != row.status || header.Get("Allow") != row.allow {
				t.Fatalf("got %d, Allow %q, want %d, %q", status, header.Get("Allow"), row.status, row.allow)
			}
			if status != http.StatusOK {
				checkErrorPage(t, status, body)
				return
			}
			if len(body) != 56 || header.Get(ttl) != row.header[ttl] {
				t.Errorf("got a token of %d characters for %s s", len(body), header.Get(ttl))
			}
		})
	}
}

func checkErrorPage(t *testing.T, status int, body string) {
	t.Helper()
	var page struct {
		Title   string `xml:"head>title"`
		Heading string `xml:"body>h1"`
	}
	decoder := xml.NewDecoder(strings.NewReader(strings.Replace(body, ` encoding="iso-8859-1"`, "", 1)))
	if err := decoder.Decode(&page); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	want := strconv.Itoa(status) + " - " + http.StatusText(status)
	if page.Title != want || page.Heading != want {
		t.Errorf("page is titled %q and headed %q, want %q", page.Title, page.Heading, want)
	}
}

func TestTokenNeeded(t *testing.T) {
	t.Parallel()
	var c clock
	s := newServer(t, emulator.Options{Now: c.now, Instances: []emulator.Instance{{ID: "i-00000001"}, {ID: "i-00000002"}}})
	first, second := newSession(t, s, "i-00000001"), newSession(t, s, "i-00000002")
	good := first.token
	wrong := []byte(good)
	wrong[30] ^= 1
	for name, token := range map[string]string{
		"none": "", "nonsense": "x", "short": good[:52], "changed": string(wrong), "of another instance": second.token,
	} {
		first.token = token
		for _, path := range []string{"instance-id", "no-such-thing", ""} {
			status, body := first.get(path)
			if status != http.StatusUnauthorized {
				t.Errorf("%s: %s is %d, want 401", name, path, status)
				continue
			}
			checkErrorPage(t, status, body)
		}
	}
	first.token = good
	c.move(6*time.Hour - time.Second)
	_, _, header := do(t, http.MethodHead, first.url+"/latest/meta-data/instance-id", map[string]string{"X-aws-ec2-metadata-token": good})
	if got := header.Get("X-aws-ec2-metadata-token-ttl-seconds"); got != "1" {
		t.Errorf("the token is said to have %q s left, want 1", got)
	}
	c.move(time.Second)
	if status, _ := first.get("instance-id"); status != http.StatusUnauthorized {
		t.Errorf("an expired token gives %d", status)
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{Instances: []emulator.Instance{{ID: "i-00000001", Zone: "us-west-2-lax-1a", Type: "c5.large"}}})
	if err := s.Publish("i-00000001", "a@b", []byte("bytes\n")); err != nil {
		t.Fatal(err)
	}
	if err := s.Publish("i-00000001", "user$", []byte("x")); err != nil {
		t.Fatal(err)
	}
	c := newSession(t, s, "i-00000001")
	for path, want := range map[string]string{
		"instance-id":                                "i-00000001",
		"instance-id/":                               "i-00000001",
		"instance-type":                              "c5.large",
		"placement/region":                           "us-west-2",
		"placement/availability-zone/":               "us-west-2-lax-1a",
		"placement/":                                 "availability-zone\navailability-zone-id\nregion",
		"placement":                                  "availability-zone\navailability-zone-id\nregion",
		"placement/availability-zone-id":             "usw2-lax1-az1",
		"services/":                                  "domain\npartition",
		"services/domain/":                           "amazonaws.com",
		"services/partition":                         "aws",
		"managed-ssh-keys/":                          "active-keys/\nsigner-cert\nsigner-ocsp/",
		"managed-ssh-keys/active-keys/":              "a@b\nuser$",
		"managed-ssh-keys/active-keys/a@b/":          "bytes\n",
		"managed-ssh-keys/active-keys/a%40b":         "bytes\n",
		"managed-ssh-keys/active-keys/%75ser%24/":    "x",
		"network/interfaces/macs/02:07:3f:2e:16:6d/": "404",
		"managed-ssh-keys/active-keys/nobody/":       "404",
		"managed-ssh-keys/active-keys/a":             "404",
		"managed-ssh-keys/signer-ocsp/00":            "404",
		"managed-ssh-keys/active-keys/../":           "404",
		"instance-id//":                              "i-00000001",
		"//instance-id":                              "i-00000001",
		"managed-ssh-keys//active-keys///a@b//":      "bytes\n",
		"instance-id/x":                              "404",
		"instance":                                   "404",
		"managed-ssh-keys/active-keys/x/..%2fa%40b":  "404",
	} {
		status, body := c.get(path)
		if want == "404" {
			if status != http.StatusNotFound {
				t.Errorf("%q is %d", path, status)
				continue
			}
			checkErrorPage(t, status, body)
		} else if status != http.StatusOK || body != want {
			t.Errorf("%q is %d, %q, want %q", path, status, body, want)
		}
	}
	for path, want := range map[string]string{
		"/latest/": "dynamic\nmeta-data", "/latest": "dynamic\nmeta-data",
		"/2021-07-15/meta-data/instance-id": "i-00000001", "/1.0/meta-data/placement/region/": "us-west-2",
		"/latest/dynamic/": "fws/\ninstance-identity/", "//latest///meta-data//instance-id": "i-00000001", "/latest/dynamic/fws/instance-monitoring": "disabled", "/latest/dynamic/instance-identity/": "document\ndsa2048\npkcs7\nrsa2048\nsignature",
	} {
		if _, body, _ := do(t, http.MethodGet, c.url+path, map[string]string{"X-aws-ec2-metadata-token": c.token}); body != want {
			t.Errorf("%q is %q, want %q", path, body, want)
		}
	}
}

// TestCategories asks for each category that the User Guide has for an instance on
// Nitro with Linux: those that every instance has, those that one has by its
// settings, and the rest, which Served sets.
func TestCategories(t *testing.T) {
	t.Parallel()
	set := map[string]string{
		"meta-data/autoscaling/target-lifecycle-state": "InService", "meta-data/events/recommendations/rebalance": `{"noticeTime":"2026-03-04T05:06:07Z"}`,
		"meta-data/spot/instance-action": `{"action":"stop","time":"2026-03-04T05:08:07Z"}`, "meta-data/spot/termination-time": "2026-03-04T05:08:07Z",
		"meta-data/placement/group-name": "g", "meta-data/placement/host-id": "h-0123456789abcdef0", "meta-data/placement/partition-number": "1",
		"meta-data/product-codes": "p", "meta-data/block-device-mapping/ebs1": "sdb", "meta-data/ancestor-ami-ids": "ami-1", "meta-data/kernel-id": "aki-1",
		"meta-data/ramdisk-id": "ari-1", "meta-data/events/maintenance/scheduled": `[{"Code":"system-reboot"}]`, "dynamic/fws/instance-monitoring": "enabled",
	}
	s := newServer(t, emulator.Options{
		Instances: []emulator.Instance{{
			ID: "i-00000001", IPv6: "2001:db8:1:2::3", Role: "web", KeyName: "k", LifeCycle: "spot", MetadataTags: true, Served: set,
			Tags: []emulator.Tag{{Key: "Name", Value: "x"}}, UserData: "u", PublicIP: "192.0.2.9", PrivateIP: "10.1.2.3",
		}},
		KeyPairs: []emulator.KeyPair{{Name: "k", Material: []byte(ed25519Line)}},
	})
	c := newSession(t, s, "i-00000001")
	get := func(path string) (int, string) {
		t.Helper()
		status, body, _ := do(t, http.MethodGet, c.url+"/latest/"+path, map[string]string{"X-aws-ec2-metadata-token": c.token})
		return status, body
	}
	mac := "meta-data/network/interfaces/macs/" + c.mustGet("mac") + "/"
	for path, want := range set {
		if status, body := get(path); status != http.StatusOK || body != want {
			t.Errorf("%s is %d, %q, want %q", path, status, body, want)
		}
	}
	for path, want := range map[string]string{ // "": anything
		"meta-data/ami-id": "", "meta-data/ami-launch-index": "0", "meta-data/ami-manifest-path": "(unknown)", "meta-data/block-device-mapping/ami": "/dev/xvda",
		"meta-data/block-device-mapping/root": "/dev/xvda", "meta-data/events/maintenance/history": "[]", "meta-data/hostname": "ip-10-1-2-3.ec2.internal",
		"meta-data/iam/info": "", "meta-data/iam/security-credentials/web": "", "meta-data/identity-credentials/ec2/info": "",
		"meta-data/identity-credentials/ec2/security-credentials/ec2-instance": "", "meta-data/instance-action": "none", "meta-data/instance-id": "i-00000001",
		"meta-data/instance-life-cycle": "spot", "meta-data/instance-type": "t3.micro", "meta-data/ipv6": "2001:db8:1:2::3",
		"meta-data/local-hostname": "ip-10-1-2-3.ec2.internal", "meta-data/local-ipv4": "10.1.2.3", "meta-data/mac": "", "meta-data/metrics/vhostmd": "",
		mac + "device-number": "0", mac + "interface-id": "", mac + "ipv4-associations/192.0.2.9": "10.1.2.3", mac + "ipv6s": "2001:db8:1:2::3",
		mac + "local-hostname": "ip-10-1-2-3.ec2.internal", mac + "local-ipv4s": "10.1.2.3", mac + "mac": c.mustGet("mac"), mac + "network-card": "0",
		mac + "owner-id": "123456789012", mac + "public-hostname": "ec2-192-0-2-9.compute-1.amazonaws.com", mac + "public-ipv4s": "192.0.2.9",
		mac + "security-groups": "default", mac + "security-group-ids": "", mac + "subnet-id": "", mac + "subnet-ipv4-cidr-block": "10.1.0.0/20",
		mac + "subnet-ipv6-cidr-blocks": "2001:db8:1:2::/64", mac + "vpc-id": "", mac + "vpc-ipv4-cidr-block": "10.1.0.0/16",
		mac + "vpc-ipv4-cidr-blocks": "10.1.0.0/16", mac + "vpc-ipv6-cidr-blocks": "2001:db8:1::/56",
		"meta-data/placement/availability-zone": "us-east-1a", "meta-data/placement/availability-zone-id": "use1-az1", "meta-data/placement/region": "us-east-1",
		"meta-data/public-hostname": "ec2-192-0-2-9.compute-1.amazonaws.com", "meta-data/public-ipv4": "192.0.2.9",
		"meta-data/public-keys/0/openssh-key": ed25519Line + " k", "meta-data/reservation-id": "", "meta-data/security-groups": "default",
		"meta-data/services/domain": "amazonaws.com", "meta-data/services/partition": "aws", "meta-data/system": "nitro", "meta-data/tags/instance/Name": "x",
		"user-data": "u", "dynamic/instance-identity/document": "", "dynamic/instance-identity/pkcs7": "", "dynamic/instance-identity/signature": "",
		"dynamic/instance-identity/rsa2048": "",
	} {
		if status, body := get(path); status != http.StatusOK || body == "" || want != "" && body != want {
			t.Errorf("%s is %d, %q, want %q", path, status, body, want)
		}
	}
	if got := c.mustGet("spot/"); got != "instance-action\ntermination-time" {
		t.Errorf("the listing of spot is %q", got)
	}
	// What was set later counts, and taking it back restores the start.
	const path = "meta-data/spot/termination-time"
	for _, row := range []struct {
		set  func() error
		want string
	}{
		{func() error { return s.SetServed("i-00000001", path, nil) }, ""},
		{func() error { return s.SetServed("i-00000001", path, []byte("later")) }, "later"},
		{func() error { return s.Reset("") }, set[path]},
		{func() error { return s.SetServed("i-00000001", "meta-data/spot", nil) }, ""},
		{func() error { return s.RestoreServed("i-00000001", "meta-data") }, set[path]},
	} {
		if err := row.set(); err != nil {
			t.Fatal(err)
		}
		if _, body := get(path); row.want != "" && body != row.want || row.want == "" && !strings.Contains(body, "404") {
			t.Errorf("got %q, want %q", body, row.want)
		}
	}
}

func TestNoActiveKeys(t *testing.T) {
	t.Parallel()
	c := newSession(t, newServer(t, emulator.Options{}), emulator.DefaultInstanceID)
	if status, _ := c.get("managed-ssh-keys/active-keys/"); status != http.StatusNotFound {
		t.Errorf("the list of users is %d while there are none, want 404", status)
	}
	if got, want := c.mustGet("managed-ssh-keys/"), "signer-cert\nsigner-ocsp/"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestIMDSHeaders(t *testing.T) {
	t.Parallel()
	for _, closes := range []bool{false, true} {
		s := newServer(t, emulator.Options{ConnectionClose: closes})
		c := newSession(t, s, emulator.DefaultInstanceID)
		for method, length := range map[string]int64{http.MethodGet: 19, http.MethodHead: 19} {
			request, err := http.NewRequestWithContext(t.Context(), method, c.url+"/latest/meta-data/instance-id", nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("X-aws-ec2-metadata-token", c.token)
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			body, err := bufio.NewReader(response.Body).ReadString(0)
			response.Body.Close()
			if method == http.MethodHead && body != "" {
				t.Errorf("HEAD has the body %q, %v", body, err)
			}
			if response.Close != closes {
				t.Errorf("%s: connection is closed: %v, want %v", method, response.Close, closes)
			}
			if response.ContentLength != length {
				t.Errorf("%s: length is %d, want %d", method, response.ContentLength, length)
			}
			for name, want := range map[string]string{"Server": "EC2ws", "Content-Type": "text/plain", "Accept-Ranges": "none"} {
				if got := response.Header.Get(name); got != want {
					t.Errorf("%s: %s is %q, want %q", method, name, got, want)
				}
			}
			if _, err := http.ParseTime(response.Header.Get("Last-Modified")); err != nil {
				t.Errorf("%s: %v", method, err)
			}
		}
	}
}

func TestSetMetadata(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{})
	c := newSession(t, s, emulator.DefaultInstanceID)
	for path, body := range map[string][]byte{"services/domain": []byte("example.com"), "managed-ssh-keys/signer-cert": nil, "new/leaf": []byte("")} {
		if err := s.SetMetadata(emulator.DefaultInstanceID, path, body); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.mustGet("services/domain"); got != "example.com" {
		t.Errorf("got %q", got)
	}
	if status, _ := c.get("managed-ssh-keys/signer-cert/"); status != http.StatusNotFound {
		t.Errorf("a removed path is %d", status)
	}
	if got := c.mustGet("new/leaf"); got != "" {
		t.Errorf("got %q", got)
	}
	for path, body := range map[string][]byte{"placement": nil, "placement/mine": []byte("x")} {
		if err := s.SetMetadata(emulator.DefaultInstanceID, path, body); err != nil {
			t.Fatal(err)
		}
	}
	if status, _ := c.get("placement/region"); status != http.StatusNotFound || c.mustGet("placement/mine") != "x" {
		t.Errorf("below a removed directory a path is %d", status)
	}
	if err := s.SetMetadata("i-00000000", "x", nil); err == nil {
		t.Error("metadata of no instance was set")
	}
}

func TestIMDSHandlerOfNobody(t *testing.T) {
	t.Parallel()
	recorder := httptest.NewRecorder()
	newServer(t, emulator.Options{}).IMDSHandler("i-00000000").ServeHTTP(recorder, httptest.NewRequest(http.MethodPut, "/latest/api/token", nil))
	if recorder.Code != http.StatusNotFound {
		t.Errorf("got %d, want 404", recorder.Code)
	}
}

// TestConcurrent is for the race detector.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	var clock clock
	s := newServer(t, emulator.Options{Now: clock.now})
	c := newSession(t, s, emulator.DefaultInstanceID)
	var workers sync.WaitGroup
	for _, work := range []func() error{
		func() error { _, err := s.Push(emulator.DefaultInstanceID, "u", ed25519Line, ""); return err },
		func() error { return s.Publish(emulator.DefaultInstanceID, "v", []byte("x")) },
		func() error { return s.Withdraw(emulator.DefaultInstanceID, "v") },
		func() error { return s.SetState(emulator.DefaultInstanceID, emulator.Running) },
		func() error { return s.SetMetadata(emulator.DefaultInstanceID, "x", []byte("x")) },
		func() error { clock.move(time.Minute); s.Instances(); s.Requests(); return nil },
		func() error {
			get := httptest.NewRequest(http.MethodGet, "/latest/meta-data/managed-ssh-keys/active-keys/", nil)
			get.Header.Set("X-aws-ec2-metadata-token", c.token)
			s.IMDSHandler(emulator.DefaultInstanceID).ServeHTTP(httptest.NewRecorder(), get)
			return nil
		},
	} {
		workers.Go(func() {
			for range 50 {
				if err := work(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	workers.Wait()
}
