// The recipe of docs/emulator.md, to the letter.
package eictest_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"
	"github.com/eic-agent/eic-agent/eictest"
)

func TestPush(t *testing.T) {
	e := eictest.Start(t, eictest.Options{Faults: []string{"latency=50ms"}})
	client := ec2instanceconnect.New(ec2instanceconnect.Options{
		BaseEndpoint: e.Endpoint(),
		Region:       e.Region(),
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	_, err := client.SendSSHPublicKey(t.Context(), &ec2instanceconnect.SendSSHPublicKeyInput{
		InstanceId:     aws.String(e.InstanceID()),
		InstanceOSUser: aws.String("ec2-user"),
		SSHPublicKey:   aws.String("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINohITzWz6NQDHgCdHYsQt3t+BsQLWjJiasKh09vNjsC"),
	})
	if err != nil {
		t.Fatal(err)
	}
	// e.Metadata() is the metadata service that serves the key;
	// e.Advance(time.Minute) makes it expire.
}
