package emulator_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	eic "github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

func TestControl(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{SerialAccess: true})
	api := s.APIHandler()
	c := newSession(t, s, emulator.DefaultInstanceID)
	control := func(method, path, body string, status int, want string) {
		t.Helper()
		recorder := httptest.NewRecorder()
		api.ServeHTTP(recorder, httptest.NewRequest(method, path, strings.NewReader(body)))
		if recorder.Code != status || !strings.Contains(recorder.Body.String(), want) {
			t.Errorf("%s %s %s: got %d, %s, want %d and %q", method, path, body, recorder.Code, recorder.Body, status, want)
		}
	}
	metadata := func(path string, status int, want string) {
		t.Helper()
		if got, body := c.get(path); got != status || want != "" && body != want {
			t.Errorf("%s is %d, %s, want %d, %s", path, got, body, status, want)
		}
	}
	const instance = "/_emu/instances/" + emulator.DefaultInstanceID
	control("GET", "/_emu/", "", 200, "/_emu/faults")
	control("GET", "/_emu/instances", "", 200, `"ID": "i-0123456789abcdef0"`)
	control("GET", "/_emu/roots.pem", "", 200, "BEGIN CERTIFICATE")
	control("GET", "/_emu/identity.pem", "", 200, "BEGIN CERTIFICATE")

	control("POST", "/_emu/faults", `{"faults":["fact-zone=x","fact-region=y"]}`, 200, "")
	metadata("placement/availability-zone", 200, "x")
	control("GET", "/_emu/faults", "", 200, `"fact-region=y"`)
	control("DELETE", "/_emu/faults?name=fact-zone", "", 200, `"removed": 1`)
	metadata("placement/availability-zone", 200, "us-east-1a")
	metadata("placement/region", 200, "y")
	control("DELETE", "/_emu/faults", "", 200, `"removed": 1`)
	metadata("placement/region", 200, "us-east-1")

	control("PUT", instance+"/metadata/services/domain", "example.net", 204, "")
	metadata("services/domain", 200, "example.net")
	control("DELETE", instance+"/metadata/services/domain", "", 204, "")
	metadata("services/domain", 404, "")

	if _, err := s.Push(emulator.DefaultInstanceID, "u", ed25519Line, ""); err != nil {
		t.Fatal(err)
	}
	metadata("managed-ssh-keys/active-keys/u", 200, "")
	control("DELETE", instance+"/keys/u", "", 204, "")
	metadata("managed-ssh-keys/active-keys/u", 404, "")
	if _, err := s.Push(emulator.DefaultInstanceID, "u", ed25519Line, ""); err != nil {
		t.Fatal(err)
	}
	control("POST", "/_emu/clock", `{"advance":"1m"}`, 200, "now")
	metadata("managed-ssh-keys/active-keys/u", 404, "")

	control("POST", instance, `{"metadata":"off"}`, 204, "")
	metadata("instance-id", 403, "")
	control("POST", instance, `{"metadata":"on","tokens":"optional","state":"stopped","bios":"old"}`, 204, "")
	if i := s.Instances()[0]; i.Tokens != emulator.TokensOptional || i.State != emulator.Stopped || !i.OldBIOS {
		t.Errorf("the instance is %+v", i)
	}
	if _, err := http.DefaultClient.Get(c.url); err == nil {
		t.Error("a stopped instance has a metadata service")
	}
	control("POST", instance, `{"state":"running"}`, 204, "")
	control("POST", instance, `{"serialSession":"start"}`, 204, "")
	control("POST", instance, `{"serialSession":"start"}`, 400, "already")
	control("POST", instance, `{"serialSession":"end"}`, 204, "")
	control("POST", instance, `{"metadata":"maybe"}`, 400, "on or off")
	control("POST", instance, `{"state":"stopped","tokens":"v1"}`, 400, "required or optional")
	control("POST", instance, `{"state":"stopped","bios":"older"}`, 400, "new or old")
	control("POST", instance, `{"state":"stopped","serialSession":"stop"}`, 400, "start or end")
	if i := s.Instances()[0]; i.State != emulator.Running {
		t.Errorf("the instance is %s", i.State)
	}
	control("POST", "/_emu/clock", `{"advance":"2000000h"}`, 400, "the clock can be set to 1970 until 2200, not 2255")
	control("POST", "/_emu/clock", `{"advance":"-1000000h"}`, 400, "the clock can be set to 1970 until 2200")
	metadata("instance-id", 200, "")

	before := c.mustGet("managed-ssh-keys/signer-cert")
	control("POST", "/_emu/rotate", "", 204, "")
	if c.mustGet("managed-ssh-keys/signer-cert") != before {
		t.Error("a session sees another chain in the middle")
	}
	if newSession(t, s, emulator.DefaultInstanceID).mustGet("managed-ssh-keys/signer-cert") == before {
		t.Error("a new session sees the old chain")
	}
	control("POST", "/_emu/rotate", `{"atOnce":true}`, 204, "")
	if c.mustGet("managed-ssh-keys/signer-cert") == before {
		t.Error("a session still sees the old chain")
	}

	count := s.RequestCount()
	control("GET", "/_emu/requests", "", 200, `"path": "/latest/meta-data/instance-id"`)
	if s.RequestCount() != count {
		t.Error("the control endpoint counts itself")
	}
	control("GET", "/_emu/requests?status=4xx", "", 400, "must be a number")
	control("DELETE", "/_emu/requests", "", 204, "")
	if s.RequestCount() != 0 {
		t.Error("requests are left")
	}
}

// TestFaultsOfOneInstance leaves the other, and the API, alone.
func TestFaultsOfOneInstance(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{Instances: []emulator.Instance{{ID: "i-00000001"}, {ID: "i-00000002"}}})
	first, second := newSession(t, s, "i-00000001"), newSession(t, s, "i-00000002")
	if err := s.InjectFault("status=418,instance=i-00000001,until=10s"); err != nil {
		t.Fatal(err)
	}
	if status, body := first.get("instance-id"); status != http.StatusTeapot || !strings.Contains(body, "418 - ") {
		t.Errorf("got %d, %s", status, body)
	}
	if status, _ := second.get("instance-id"); status != http.StatusOK {
		t.Errorf("another instance has %d", status)
	}
	if _, err := newClient(t, s, emulator.DefaultAccessKey).SendSSHPublicKey(t.Context(), inputFor("i-00000001")); err != nil {
		t.Error(err)
	}
	s.Advance(10 * time.Second)
	if status, _ := first.get("instance-id"); status != http.StatusOK {
		t.Errorf("after its time the fault still strikes: %d", status)
	}
}

// TestFaultsOfTheAPI come in the words of each service.
func TestFaultsOfTheAPI(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{})
	c := newClients(t, s, "us-east-1", testKey)
	for fault, want := range map[string]struct {
		json, query             string
		jsonStatus, queryStatus int
	}{
		"status=503": {"ServiceUnavailable", "ServiceUnavailable", 503, 503},
		"status=500": {"ServiceException", "InternalError", 500, 500},
		"status=429": {"ThrottlingException", "RequestLimitExceeded", 429, 429},
		"throttle=0": {"ThrottlingException", "RequestLimitExceeded", 400, 503},
		"status=404": {"ValidationException", "InvalidRequest", 404, 404},
		"status=403": {"AccessDeniedException", "UnauthorizedOperation", 403, 403},
	} {
		if err := s.InjectFault(fault + ",service=api"); err != nil {
			t.Fatal(err)
		}
		_, err := c.eic.SendSSHPublicKey(t.Context(), input())
		checkCode(t, fault, err, want.json, want.jsonStatus)
		_, err = c.ec2.DescribeKeyPairs(t.Context(), nil)
		checkCode(t, fault, err, want.query, want.queryStatus)
		s.ClearFaults("")
	}
}

func inputFor(instanceID string) *eic.SendSSHPublicKeyInput {
	in := input()
	in.InstanceId = &instanceID
	return in
}
