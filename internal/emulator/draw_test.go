package emulator_test

import (
	"net"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// TestFaultsCountWhatTheyTouch orders each fault for one strike, and asks for
// what it cannot touch first.
func TestFaultsCountWhatTheyTouch(t *testing.T) {
	t.Parallel()
	const keys, chain, ocsp = "managed-ssh-keys/active-keys/u", "managed-ssh-keys/signer-cert", "managed-ssh-keys/signer-ocsp/"
	facts := []string{"instance-id", "placement/region", "managed-ssh-keys/", ""}
	s := newServer(t, emulator.Options{})
	if _, err := s.Push(emulator.DefaultInstanceID, "u", ed25519Line, ""); err != nil {
		t.Fatal(err)
	}
	c := newSession(t, s, emulator.DefaultInstanceID)
	staples := strings.Split(c.mustGet(ocsp), "\n")
	staple := ocsp + staples[0]
	for fault, row := range map[string]struct {
		before []string
		struck string
	}{
		"fact-zone=zz-1":        {[]string{"instance-id", chain, ocsp, keys}, "placement/availability-zone"},
		"foreign-domain":        {facts, "services/domain"},
		"record-options":        {append(facts, chain, staple, "managed-ssh-keys/active-keys/nobody"), keys},
		"leaf-expired":          {append(facts, keys), chain},
		"chain-cut":             {append(facts, keys, ocsp, staple), chain},
		"staple-missing":        {[]string{"instance-id", keys, chain}, ocsp},
		"staple-revoked":        {append(facts, keys, chain, ocsp), staple},
		"staple-expired":        {append(facts, keys, chain, ocsp, ocsp+"nothing"), staple},
		"staple-sha256-name":    {append(facts, keys, chain), ocsp},
		"leaf-future,share=0.5": {append(facts, chain, keys), chain},
	} {
		if err := s.InjectFault(fault + ",times=1"); err != nil {
			t.Fatal(err)
		}
		for _, path := range row.before {
			c.get(path)
		}
		_, struck := c.get(row.struck)
		_, after := c.get(row.struck)
		if struck == after {
			t.Errorf("%s did not strike %s", fault, row.struck)
		}
		s.ClearFaults("")
		if got := c.mustGet(row.struck); got != after {
			t.Errorf("%s struck %s twice", fault, row.struck)
		}
	}
}

// TestFaultsFitTogether has faults of certificate and staple at once.
func TestFaultsFitTogether(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{Faults: []string{"staple-junk,certificate=leaf", "leaf-expired"}})
	c := newSession(t, s, emulator.DefaultInstanceID)
	chain := c.mustGet("managed-ssh-keys/signer-cert")
	var junk int
	for name := range strings.SplitSeq(c.mustGet("managed-ssh-keys/signer-ocsp/"), "\n") {
		if strings.HasPrefix(c.mustGet("managed-ssh-keys/signer-ocsp/"+name), "%%%") {
			junk++
		}
	}
	if junk != 1 || chain != c.mustGet("managed-ssh-keys/signer-cert") {
		t.Errorf("%d staples are junk", junk)
	}
}

// TestClockSkewOnce has one push by a clock that is ahead.
func TestClockSkewOnce(t *testing.T) {
	t.Parallel()
	var clock clock
	s := newServer(t, emulator.Options{Now: clock.now, Credentials: unverified, Faults: []string{"clock-skew=10m,times=1"}})
	c := newClients(t, s, "us-east-1", testKey)
	for _, want := range []time.Duration{11 * time.Minute, time.Minute} {
		if _, err := c.eic.SendSSHPublicKey(t.Context(), input()); err != nil {
			t.Fatal(err)
		}
		body := newSession(t, s, emulator.DefaultInstanceID).mustGet("managed-ssh-keys/active-keys/ec2-user")
		if expiry := clock.now().Add(want).UTC().Truncate(time.Second).Unix(); !strings.Contains(body, "#Timestamp="+strconv.FormatInt(expiry, 10)) {
			t.Errorf("no key lives until %d:\n%s", expiry, body)
		}
	}
}

// TestHangIsLeft leaves a POST that hangs, which must not leave anything here.
func TestHangIsLeft(t *testing.T) {
	s := newServer(t, emulator.Options{Faults: []string{"hang,service=api", "latency=1h,service=imds"}})
	api := httptest.NewServer(s.APIHandler())
	defer api.Close()
	imds := httptest.NewServer(s.IMDSHandler(emulator.DefaultInstanceID))
	defer imds.Close()
	before := runtime.NumGoroutine()
	for _, url := range []string{api.URL, imds.URL} {
		for range 20 {
			conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")); err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			time.AfterFunc(50*time.Millisecond, func() { conn.Close() })
		}
	}
	time.Sleep(100 * time.Millisecond)
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before+5; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("there were %d goroutines, and are %d", before, runtime.NumGoroutine())
		}
	}
}

func TestRestrictionsRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{})
	for _, fault := range []string{
		"clock-skew=1s,service=api", "record-expired,service=api", "error=X,service=imds", "error=X,path=/", "latency=1s,instance=i-nope",
		"drip=1ms,certificate=leaf", "leaf-expired,certificate=leaf", "fact-zone=x,operation=SendSSHPublicKey", "reset,share=0",
		"hang,service=imds,operation=X", "hang,service=api,instance=" + emulator.DefaultInstanceID,
	} {
		if err := s.InjectFault(fault); err == nil {
			t.Errorf("%s is taken", fault)
		}
	}
}
