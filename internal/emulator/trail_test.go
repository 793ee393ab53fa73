package emulator_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// TestTrail has a line for each call, whatever became of it.
func TestTrail(t *testing.T) {
	t.Parallel()
	var trail lockedBuffer
	s := newServer(t, emulator.Options{CloudTrail: &trail, AccessKeys: []emulator.Credential{testKey, {KeyID: "wrong", Secret: "another", ARN: emulator.DefaultCallerARN}}})
	last := func() (line map[string]any) {
		t.Helper()
		var text string
		for deadline := time.Now().Add(20 * time.Second); !strings.HasSuffix(text, "\n") && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			text = trail.String()
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		trail.Reset()
		return line
	}
	c := newClients(t, s, "us-east-1", testKey)
	if _, err := c.ec2.ImportKeyPair(t.Context(), &ec2.ImportKeyPairInput{KeyName: aws.String("k"), PublicKeyMaterial: []byte(ed25519Line)}); err != nil {
		t.Fatal(err)
	}
	if elements, ok := last()["responseElements"].(map[string]any); !ok || elements["keyName"] != "k" {
		t.Errorf("responseElements are %v", elements)
	}
	if _, err := newClient(t, s, "wrong").SendSSHPublicKey(t.Context(), input()); err == nil {
		t.Error("a wrong signature is taken")
	}
	line := last()
	if who := line["userIdentity"].(map[string]any); line["errorCode"] != "InvalidSignatureException" || line["eventName"] != "SendSSHPublicKey" || who["accessKeyId"] != "wrong" || who["arn"] != nil {
		t.Errorf("a wrong signature leaves %v", line)
	}
	if err := s.InjectFault("status=503,service=api"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.eic.SendSSHPublicKey(t.Context(), input()); err == nil {
		t.Error("the fault does not strike")
	}
	line = last()
	if who := line["userIdentity"].(map[string]any); line["errorCode"] != "ServiceUnavailable" || who["arn"] != emulator.DefaultCallerARN {
		t.Errorf("a fault leaves %v", line)
	}
	s.ClearFaults("")
	for _, name := range []string{"reset", "hang", "redirect"} {
		if err := s.InjectFault(name + ",times=1,service=api"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		if _, err := c.eic.SendSSHPublicKey(ctx, input()); err == nil {
			t.Errorf("%s does not strike", name)
		}
		cancel()
		line = last()
		if who := line["userIdentity"].(map[string]any); line["errorCode"] != "ServiceUnavailable" || line["errorMessage"] != "The fault "+name+" has kept the call from the service." || who["arn"] != emulator.DefaultCallerARN || line["eventName"] != "SendSSHPublicKey" {
			t.Errorf("%s leaves %v", name, line)
		}
		if status, _ := newSession(t, s, emulator.DefaultInstanceID).get("managed-ssh-keys/active-keys/"); status != http.StatusNotFound {
			t.Errorf("%s: the call was made", name)
		}
	}
}
