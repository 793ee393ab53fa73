// Demo shows a pushed key log somebody in, on a private host that is gone
// afterwards: `make demo`.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/test/host"
)

const (
	configPath = "/etc/eic-agent/config.toml"
	instanceID = emulator.DefaultInstanceID
)

func main() {
	code, err := host.Run(func(h *host.Host) int {
		if err := demo(h); err != nil {
			fmt.Fprintln(os.Stderr, "demo:", err)
			return 1
		}
		return 0
	}, "cmd/eic-authkeys")
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
	}
	os.Exit(code)
}

func say(format string, args ...any) { fmt.Printf("\n"+format+"\n", args...) }

func demo(h *host.Host) error {
	say("1. Start the AWS side (the API and the instance metadata service), a journald and an sshd,\n   on a private network that nobody else sees.")
	server, sshd, err := start(h)
	if err != nil {
		return err
	}
	defer server.Close()
	fmt.Printf("   sshd asks the agent:  AuthorizedKeysCommand %s/eic-authkeys %%u %%f\n", host.BinDir)

	key, public, err := h.NewKey("alice-key", "ed25519", 0)
	if err != nil {
		return err
	}
	say("2. Alice has a fresh key. Nobody pushed it yet, so she stays out:")
	if err := expectRefused(sshd, "alice", key); err != nil {
		return err
	}
	if err := push(server, "alice", public); err != nil {
		return err
	}
	say("3. The key is pushed with the AWS SDK (SendSSHPublicKey). For 60 seconds it lets her in:")
	out, err := sshd.SSH("alice", "echo \"logged in as $(id -un)\"", key)
	if err != nil {
		return err
	}
	fmt.Print("   $ ssh -i alice-key alice@127.0.0.1\n   ", out)
	if err := showJournal(h, "alice", "key-provided", 1); err != nil {
		return err
	}

	say("4. The key was pushed for alice. It does not let anybody in as bob:")
	if err := expectRefused(sshd, "bob", key); err != nil {
		return err
	}
	fmt.Println("   (for bob there is nothing to say: no key was pushed for him)")

	say("5. A key whose 60 seconds are over, and one that was pushed for another instance, are refused, and the journal says why:")
	for _, refused := range []keyrecord.Statement{
		{Expires: time.Now().Add(-10 * time.Second), Instance: instanceID, Key: public, Caller: emulator.DefaultCallerARN},
		{Expires: time.Now().Add(time.Minute), Instance: "i-0fedcba9876543210", Key: public, Caller: emulator.DefaultCallerARN},
	} {
		record, err := server.Sign(instanceID, refused)
		if err != nil {
			return err
		}
		if err := server.Publish(instanceID, "bob", record); err != nil {
			return err
		}
	}
	if err := expectRefused(sshd, "bob", key); err != nil {
		return err
	}
	if err := showJournal(h, "bob", "record-refused", 2); err != nil {
		return err
	}
	say("Done. All of it is gone now. See README.md for the way to a real host.")
	return nil
}

func start(h *host.Host) (*emulator.Server, *host.SSHD, error) {
	if _, err := h.StartJournald(); err != nil {
		return nil, nil, err
	}
	if err := h.AddSystemUser("eic-agent"); err != nil {
		return nil, nil, err
	}
	for _, user := range []string{"alice", "bob"} {
		if _, err := h.AddUser(user); err != nil {
			return nil, nil, err
		}
	}
	server, err := emulator.New(emulator.Options{APIAddress: "127.0.0.1:4566", Instances: []emulator.Instance{{ID: instanceID, IMDSAddress: "127.0.0.1:1338"}}})
	if err != nil {
		return nil, nil, err
	}
	if err := server.Listen(); err != nil {
		return nil, nil, err
	}
	go server.Serve(context.Background())
	if err := os.MkdirAll("/etc/eic-agent", 0o755); err != nil {
		return nil, nil, err
	}
	if err := server.WriteConfig(configPath); err != nil {
		return nil, nil, err
	}
	sshd, err := h.StartSSHD("AuthorizedKeysCommand "+host.BinDir+"/eic-authkeys %u %f", "AuthorizedKeysCommandUser eic-agent")
	return server, sshd, err
}

func push(server *emulator.Server, user, public string) error {
	client := ec2instanceconnect.New(ec2instanceconnect.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(server.APIURL()),
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	_, err := client.SendSSHPublicKey(context.Background(), &ec2instanceconnect.SendSSHPublicKeyInput{
		InstanceId: aws.String(instanceID), InstanceOSUser: aws.String(user), SSHPublicKey: aws.String(public),
	})
	return err
}

// expectRefused tries to log in and fails unless sshd refuses.
func expectRefused(sshd *host.SSHD, user, key string) error {
	_, err := sshd.SSH(user, "true", key)
	if err == nil || !strings.Contains(err.Error(), "Permission denied") {
		return fmt.Errorf("%s should have been refused: %v", user, err)
	}
	fmt.Printf("   $ ssh -i alice-key %s@127.0.0.1\n   Permission denied (publickey).\n", user)
	return nil
}

// showJournal prints the last n records of that event about user.
func showJournal(h *host.Host, user, event string, n int) error {
	records, err := h.Records("EIC_USER="+user, "EIC_EVENT="+event)
	if err != nil {
		return err
	}
	if len(records) < n {
		return fmt.Errorf("the journal has %d records of %s for %s, want %d", len(records), event, user, n)
	}
	fmt.Println("   The journal:")
	for _, r := range records[len(records)-n:] {
		fmt.Printf("   %s[%s]: %s\n", r.Field("SYSLOG_IDENTIFIER"), r.Field("_PID"), r.Field("MESSAGE"))
		for _, name := range []string{"EIC_EVENT", "EIC_REASON", "EIC_USER", "EIC_FINGERPRINT", "EIC_CALLER", "EIC_REQUEST_ID", "EIC_EXPIRES", "EIC_SSHD_PID"} {
			if value := r.Field(name); value != "" {
				fmt.Printf("       %s=%s\n", name, value)
			}
		}
	}
	return nil
}
