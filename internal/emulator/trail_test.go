package emulator_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// TestTrail has a line for each call, whatever became of it.
func TestTrail(t *testing.T) {
	t.Parallel()
	var trail bytes.Buffer
	s := newServer(t, emulator.Options{CloudTrail: &trail, AccessKeys: []emulator.Credential{testKey, {KeyID: "wrong", Secret: "another", ARN: emulator.DefaultCallerARN}}})
	last := func() (line map[string]any) {
		t.Helper()
		if err := json.NewDecoder(&trail).Decode(&line); err != nil {
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
}
