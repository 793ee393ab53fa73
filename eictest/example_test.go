package eictest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"
	"github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect/types"

	"github.com/eic-agent/eic-agent/eictest"
)

// exampleT stands for the *testing.T of a test; only its cleanup is used.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func (t *exampleT) Helper()                   {}
func (t *exampleT) Cleanup(f func())          { t.cleanups = append(t.cleanups, f) }
func (t *exampleT) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (t *exampleT) Errorf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (t *exampleT) Context() context.Context  { return context.Background() }
func (t *exampleT) end() {
	for _, f := range t.cleanups {
		f()
	}
}

// A test seeds the emulator once, and each of its cases starts from there. What the
// program under test asked for is in Exchanges.
func Example() {
	t := &exampleT{} // in a test the *testing.T that it gets
	defer t.end()

	e := eictest.Start(t, eictest.Options{})
	client := ec2instanceconnect.New(ec2instanceconnect.Options{
		BaseEndpoint: e.Endpoint(),
		Region:       e.Region(),
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
		Retryer:      aws.NopRetryer{},
	})
	push := func() error {
		_, err := client.SendSSHPublicKey(t.Context(), &ec2instanceconnect.SendSSHPublicKeyInput{
			InstanceId:     aws.String(e.InstanceID()),
			InstanceOSUser: aws.String("ec2-user"),
			SSHPublicKey:   aws.String("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINohITzWz6NQDHgCdHYsQt3t+BsQLWjJiasKh09vNjsC"),
		})
		return err
	}

	e.SetState(e.InstanceID(), "stopped")
	e.Snapshot("stopped")
	fmt.Println("stopped:", errors.As(push(), new(*types.EC2InstanceStateInvalidException)))

	e.Reset("") // as at Start
	fmt.Println("running:", push())

	e.Reset("stopped")
	_ = push()
	for _, x := range e.Exchanges() {
		fmt.Println(x.Operation, x.Parameters["InstanceOSUser"], x.Status, x.Error)
	}

	// Output:
	// stopped: true
	// running: <nil>
	// SendSSHPublicKey ec2-user 400 EC2InstanceStateInvalidException
}
