package emulator_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	eic "github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"
	"github.com/aws/aws-sdk-go-v2/service/lightsail"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

func TestSignatures(t *testing.T) {
	t.Parallel()
	temporary := emulator.Credential{KeyID: "ASIA", Secret: "s", Token: "token", ARN: "arn:aws:sts::123456789012:assumed-role/dba/me"}
	over := emulator.Credential{KeyID: "OVER", Secret: "s", Token: "token", ARN: temporary.ARN, Expires: time.Now().Add(-time.Minute)}
	s := newServer(t, emulator.Options{AccessKeys: []emulator.Credential{testKey, temporary, over}, Instances: []emulator.Instance{{ID: emulator.DefaultInstanceID}}})
	changed := func(c emulator.Credential, change func(*emulator.Credential)) emulator.Credential {
		change(&c)
		return c
	}
	for name, row := range map[string]struct {
		key       emulator.Credential
		region    string
		code      string // of the JSON services
		queryCode string
		status    int // of the query service
	}{
		"good":          {key: testKey},
		"temporary":     {key: temporary},
		"secret":        {changed(testKey, func(c *emulator.Credential) { c.Secret = "x" }), "", "InvalidSignatureException", "AuthFailure", 401},
		"unknown":       {changed(testKey, func(c *emulator.Credential) { c.KeyID = "AKIANOBODY" }), "", "UnrecognizedClientException", "AuthFailure", 401},
		"no token":      {changed(temporary, func(c *emulator.Credential) { c.Token = "" }), "", "UnrecognizedClientException", "AuthFailure", 401},
		"wrong token":   {changed(temporary, func(c *emulator.Credential) { c.Token = "x" }), "", "UnrecognizedClientException", "AuthFailure", 401},
		"needless":      {changed(testKey, func(c *emulator.Credential) { c.Token = "x" }), "", "UnrecognizedClientException", "AuthFailure", 401},
		"expired token": {over, "", "ExpiredTokenException", "RequestExpired", 400},
		"region":        {testKey, "nowhere", "InvalidSignatureException", "AuthFailure", 401},
	} {
		region := row.region
		if region == "" {
			region = "us-east-1"
		}
		c := newClients(t, s, region, row.key)
		_, err := c.eic.SendSSHPublicKey(t.Context(), input())
		checkCode(t, name+", eic", err, row.code, http.StatusBadRequest)
		_, err = c.lightsail.GetKeyPairs(t.Context(), &lightsail.GetKeyPairsInput{})
		checkCode(t, name+", lightsail", err, row.code, http.StatusBadRequest)
		_, err = c.ec2.DescribeKeyPairs(t.Context(), &ec2.DescribeKeyPairsInput{})
		checkCode(t, name+", ec2", err, row.queryCode, row.status)
	}

	c := newClients(t, s, "us-east-1", testKey)
	for skew, codes := range map[string][2]string{
		"16m": {"InvalidSignatureException", "RequestExpired"}, "-16m": {"InvalidSignatureException", "AuthFailure"}, "14m": {}, "-14m": {},
	} {
		if err := s.InjectFault("clock-skew=" + skew); err != nil {
			t.Fatal(err)
		}
		status := http.StatusBadRequest
		_, err := c.eic.SendSSHPublicKey(t.Context(), input())
		checkCode(t, skew, err, codes[0], status)
		if codes[1] == "AuthFailure" {
			status = http.StatusUnauthorized
		}
		_, err = c.ec2.DescribeKeyPairs(t.Context(), &ec2.DescribeKeyPairsInput{})
		checkCode(t, skew, err, codes[1], status)
		s.ClearFaults("")
	}
}

func TestDeny(t *testing.T) {
	t.Parallel()
	me := emulator.Credential{KeyID: "ME", Secret: "s", ARN: "arn:aws:iam::123456789012:user/me"}
	s := newServer(t, emulator.Options{
		AccessKeys: []emulator.Credential{testKey, me},
		Instances:  []emulator.Instance{{ID: emulator.DefaultInstanceID}, {ID: "i-00000001"}},
		Deny: []emulator.Deny{
			{Action: "EC2-Instance-Connect:SendSSH*", OSUser: "root"},
			{Action: "ec2:*KeyPair", Caller: "*:user/me"},
			{Resource: "arn:aws:ec2:*:*:instance/i-0000000?"},
		},
	})
	c, mine := newClients(t, s, "us-east-1", testKey), newClients(t, s, "us-east-1", me)
	push := func(id, user string) error {
		_, err := c.eic.SendSSHPublicKey(t.Context(), &eic.SendSSHPublicKeyInput{InstanceId: &id, InstanceOSUser: &user, SSHPublicKey: aws.String(ed25519Line)})
		return err
	}
	checkCode(t, "allowed", push(emulator.DefaultInstanceID, "admin"), "", 0)
	checkCode(t, "root", push(emulator.DefaultInstanceID, "root"), "AccessDeniedException", 400)
	checkCode(t, "instance", push("i-00000001", "admin"), "AccessDeniedException", 400)
	in := &ec2.ImportKeyPairInput{KeyName: aws.String("k"), PublicKeyMaterial: []byte(ed25519Line), DryRun: aws.Bool(true)}
	_, err := mine.ec2.ImportKeyPair(t.Context(), in)
	checkCode(t, "me", err, "UnauthorizedOperation", 403)
	_, err = c.ec2.ImportKeyPair(t.Context(), in)
	checkCode(t, "not me", err, "DryRunOperation", 412)
	_, err = mine.ec2.DescribeKeyPairs(t.Context(), &ec2.DescribeKeyPairsInput{})
	checkCode(t, "pairs", err, "", 0)
}

func TestRate(t *testing.T) {
	t.Parallel()
	var clock clock
	clock.move(time.Since(epoch))
	s := newServer(t, emulator.Options{Rate: 2, Now: clock.now})
	c := newClients(t, s, "us-east-1", testKey)
	push := func() error { _, err := c.eic.SendSSHPublicKey(t.Context(), input()); return err }
	checkCode(t, "first", push(), "", 0)
	checkCode(t, "second", push(), "", 0)
	checkCode(t, "third", push(), "ThrottlingException", 400)
	clock.move(500 * time.Millisecond)
	checkCode(t, "half a second later", push(), "", 0)
	checkCode(t, "at once", push(), "ThrottlingException", 400)
	for range 2 {
		_, err := c.ec2.DescribeKeyPairs(t.Context(), &ec2.DescribeKeyPairsInput{})
		checkCode(t, "another operation", err, "", 0)
	}
	_, err := c.ec2.DescribeKeyPairs(t.Context(), &ec2.DescribeKeyPairsInput{})
	checkCode(t, "another operation", err, "RequestLimitExceeded", 503)
}

func TestCredentialsRefused(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]emulator.Options{
		"no id":     {AccessKeys: []emulator.Credential{{Secret: "s", ARN: testKey.ARN}}},
		"slash":     {AccessKeys: []emulator.Credential{{KeyID: "a/b", Secret: "s", ARN: testKey.ARN}}},
		"no secret": {AccessKeys: []emulator.Credential{{KeyID: "a", ARN: testKey.ARN}}},
		"no ARN":    {AccessKeys: []emulator.Credential{{KeyID: "a", Secret: "s", ARN: "me"}}},
		"newline":   {AccessKeys: []emulator.Credential{{KeyID: "a", Secret: "s", ARN: testKey.ARN + "\n#Instance=x"}}},
		"twice":     {AccessKeys: []emulator.Credential{testKey, testKey}},
		"both":      {AccessKeys: []emulator.Credential{testKey}, Credentials: map[string]string{testKey.KeyID: testKey.ARN}},
	} {
		if s, err := emulator.New(o); err == nil || s != nil {
			t.Errorf("%s: got %v, %v", name, s, err)
		}
	}
}
