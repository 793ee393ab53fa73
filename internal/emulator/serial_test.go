package emulator_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	eic "github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// unverified are credentials that hold at any time on the server's clock.
var unverified = map[string]string{emulator.DefaultAccessKey: emulator.DefaultCallerARN}

func serialInput(id string) *eic.SendSerialConsoleSSHPublicKeyInput {
	return &eic.SendSerialConsoleSSHPublicKeyInput{InstanceId: &id, SSHPublicKey: aws.String(ed25519Line)}
}

func TestSerialAccess(t *testing.T) {
	t.Parallel()
	other := emulator.Credential{KeyID: "OTHER", Secret: "s", ARN: "arn:aws:iam::210987654321:user/other"}
	s := newServer(t, emulator.Options{AccessKeys: []emulator.Credential{testKey, other}})
	c, elsewhere, others := newClients(t, s, "us-east-1", testKey), newClients(t, s, "eu-west-1", testKey), newClients(t, s, "us-east-1", other)
	status := func(c clients) bool {
		out, err := c.ec2.GetSerialConsoleAccessStatus(t.Context(), &ec2.GetSerialConsoleAccessStatusInput{})
		if err != nil || out.SerialConsoleAccessEnabled == nil || out.ManagedBy != "account" {
			t.Fatalf("got %+v, %v", out, err)
		}
		return *out.SerialConsoleAccessEnabled
	}
	push := func() error {
		_, err := c.eic.SendSerialConsoleSSHPublicKey(t.Context(), serialInput(emulator.DefaultInstanceID))
		return err
	}
	if status(c) {
		t.Error("the switch is on to begin with")
	}
	checkCode(t, "off", push(), "SerialConsoleAccessDisabledException", http.StatusBadRequest)
	_, err := c.ec2.EnableSerialConsoleAccess(t.Context(), &ec2.EnableSerialConsoleAccessInput{DryRun: aws.Bool(true)})
	checkCode(t, "dry run", err, "DryRunOperation", http.StatusPreconditionFailed)
	if out, err := c.ec2.EnableSerialConsoleAccess(t.Context(), &ec2.EnableSerialConsoleAccessInput{}); err != nil || !*out.SerialConsoleAccessEnabled {
		t.Fatalf("got %+v, %v", out, err)
	}
	if !status(c) || status(elsewhere) || status(others) {
		t.Error("the switch is not on for one account in one region alone")
	}
	checkCode(t, "on", push(), "", 0)
	if out, err := c.ec2.DisableSerialConsoleAccess(t.Context(), &ec2.DisableSerialConsoleAccessInput{}); err != nil || *out.SerialConsoleAccessEnabled {
		t.Fatalf("got %+v, %v", out, err)
	}
	checkCode(t, "off again", push(), "SerialConsoleAccessDisabledException", http.StatusBadRequest)
}

// TestSerialStates reaches every exception that has a state by that state.
func TestSerialStates(t *testing.T) {
	t.Parallel()
	var clock clock
	s := newServer(t, emulator.Options{Credentials: unverified, Now: clock.now, SerialAccess: true, Instances: []emulator.Instance{
		{ID: emulator.DefaultInstanceID}, {ID: "i-00000001", State: emulator.Stopped}, {ID: "i-00000002", Type: "t2.micro"},
		{ID: "i-00000003", Account: "210987654321"}, {ID: "i-00000004", OldBIOS: true}, {ID: "i-00000005", Type: "a1.metal"},
		{ID: "i-00000006", Type: "c5.metal"}, {ID: "i-00000007", Zone: "eu-west-1a"},
	}})
	c := newClient(t, s, emulator.DefaultAccessKey)
	for id, code := range map[string]string{
		emulator.DefaultInstanceID: "", "i-00000001": "EC2InstanceStateInvalidException", "i-00000002": "EC2InstanceTypeInvalidException",
		"i-00000003": "AuthException", "i-00000004": "SerialConsoleSessionUnsupportedException", "i-00000005": "EC2InstanceTypeInvalidException",
		"i-00000006": "", "i-00000007": "EC2InstanceNotFoundException", "i-0000000f": "EC2InstanceNotFoundException", "x": "InvalidArgsException",
	} {
		if id == "x" {
			id = "i-0000000X0"
		}
		_, err := c.SendSerialConsoleSSHPublicKey(t.Context(), serialInput(id))
		checkCode(t, id, err, code, http.StatusBadRequest)
		if err != nil && typeName(err) != code {
			t.Errorf("%s: %T is not the SDK's type", id, err)
		}
	}
	for name, change := range map[string]func(*eic.SendSerialConsoleSSHPublicKeyInput){
		"port":    func(in *eic.SendSerialConsoleSSHPublicKeyInput) { in.SerialPort = 1 },
		"port -1": func(in *eic.SendSerialConsoleSSHPublicKeyInput) { in.SerialPort = -1 },
		"key": func(in *eic.SendSerialConsoleSSHPublicKeyInput) {
			in.SSHPublicKey = aws.String(strings.Repeat("x", 80))
		},
		"key short": func(in *eic.SendSerialConsoleSSHPublicKeyInput) { in.SSHPublicKey = aws.String("x") },
	} {
		in := serialInput(emulator.DefaultInstanceID)
		change(in)
		_, err := c.SendSerialConsoleSSHPublicKey(t.Context(), in)
		checkCode(t, name, err, "InvalidArgsException", http.StatusBadRequest)
	}
}

func TestSerialSession(t *testing.T) {
	t.Parallel()
	var clock clock
	s := newServer(t, emulator.Options{Credentials: unverified, Now: clock.now, SerialAccess: true, Instances: []emulator.Instance{{ID: "i-00000001"}, {ID: "i-00000002"}}})
	c := newClient(t, s, emulator.DefaultAccessKey)
	push := func(id string) error {
		_, err := c.SendSerialConsoleSSHPublicKey(t.Context(), serialInput(id))
		return err
	}
	const limit = "SerialConsoleSessionLimitExceededException"
	checkCode(t, "first", push("i-00000001"), "", 0)
	keys, err := s.SerialKeys("i-00000001", 0)
	if err != nil || len(keys) != 1 || keys[0].Key != ed25519Line || keys[0].Caller != emulator.DefaultCallerARN {
		t.Fatalf("keys are %+v, %v", keys, err)
	}
	body := newSession(t, s, "i-00000001").mustGet("managed-ssh-keys/active-keys/i-00000001.port0/")
	if !strings.Contains(body, ed25519Line) {
		t.Errorf("the metadata has %s", body)
	}
	if err := s.StartSerialSession("i-00000001"); err != nil {
		t.Fatal(err)
	}
	if err := s.StartSerialSession("i-00000001"); !errors.Is(err, emulator.ErrSerialSessionLimit) {
		t.Errorf("a second session: %v", err)
	}
	checkCode(t, "during", push("i-00000001"), limit, http.StatusBadRequest)
	checkCode(t, "another instance", push("i-00000002"), "", 0)
	if err := s.EndSerialSession("i-00000001"); err != nil {
		t.Fatal(err)
	}
	clock.move(29 * time.Second)
	checkCode(t, "29 s after", push("i-00000001"), limit, http.StatusBadRequest)
	clock.move(time.Second)
	checkCode(t, "30 s after", push("i-00000001"), "", 0)
	if err := s.StartSerialSession("i-00000001"); err != nil {
		t.Fatal(err)
	}
	clock.move(time.Hour)
	checkCode(t, "an hour after", push("i-00000001"), limit, http.StatusBadRequest)
	clock.move(30 * time.Second)
	checkCode(t, "over by itself", push("i-00000001"), "", 0)
	clock.move(time.Minute)
	if keys, err := s.SerialKeys("i-00000001", 0); err != nil || len(keys) != 0 {
		t.Errorf("keys after a minute are %+v, %v", keys, err)
	}
	for _, err := range []error{s.StartSerialSession("i-0"), s.EndSerialSession("i-0")} {
		if err == nil {
			t.Error("there is a session on no instance")
		}
	}
}

// TestOrderedExceptions orders every exception of both operations.
func TestOrderedExceptions(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{SerialAccess: true})
	c := newClients(t, s, "us-east-1", testKey).eic
	both := []string{
		"AuthException", "InvalidArgsException", "ServiceException", "ThrottlingException", "EC2InstanceNotFoundException",
		"EC2InstanceStateInvalidException", "EC2InstanceUnavailableException",
	}
	serial := append(both, "EC2InstanceTypeInvalidException", "SerialConsoleAccessDisabledException", "SerialConsoleSessionLimitExceededException",
		"SerialConsoleSessionUnavailableException", "SerialConsoleSessionUnsupportedException")
	for operation, row := range map[string]struct {
		names []string
		call  func() error
	}{
		"SendSSHPublicKey": {both, func() error { _, err := c.SendSSHPublicKey(t.Context(), input()); return err }},
		"SendSerialConsoleSSHPublicKey": {serial, func() error {
			_, err := c.SendSerialConsoleSSHPublicKey(t.Context(), serialInput(emulator.DefaultInstanceID))
			return err
		}},
	} {
		for _, name := range row.names {
			if err := s.InjectFault("error=" + name + ",times=1,operation=" + operation); err != nil {
				t.Fatal(err)
			}
			status := http.StatusBadRequest
			if name == "ServiceException" || name == "SerialConsoleSessionUnavailableException" {
				status = http.StatusInternalServerError
			}
			err := row.call()
			checkCode(t, operation, err, name, status)
			if typeName(err) != name {
				t.Errorf("%s: %s is %T", operation, name, err)
			}
			if err := row.call(); err != nil {
				t.Errorf("%s: after %s: %v", operation, name, err)
			}
			s.ClearFaults("")
		}
	}
}
