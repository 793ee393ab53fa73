package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

// client is one of the API, as anybody would make it.
func (w *world) client() *ec2instanceconnect.Client {
	return ec2instanceconnect.New(ec2instanceconnect.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(w.aws.APIURL()),
		Credentials:  credentials.NewStaticCredentialsProvider(emulator.DefaultAccessKey, emulator.DefaultSecretKey, ""),
	})
}

// push pushes a key and returns the request id.
func (w *world) push(user, public string) (string, error) {
	out, err := w.client().SendSSHPublicKey(context.Background(), &ec2instanceconnect.SendSSHPublicKeyInput{
		InstanceId: aws.String(instanceID), InstanceOSUser: aws.String(user), SSHPublicKey: aws.String(public),
	})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.RequestId), nil
}

// login logs in and returns how long that took.
func (w *world) login(user string, keys ...string) (time.Duration, error) {
	began := time.Now()
	out, err := w.SSH(user, "id -un", keys...)
	if err == nil && out != user+"\n" {
		err = fmt.Errorf("logged in as %q, want %s", out, user)
	}
	return time.Since(began), err
}

func (w *world) noLogin(user string, keys ...string) error {
	_, err := w.SSH(user, "true", keys...)
	if err == nil {
		return fmt.Errorf("%s could log in", user)
	}
	if !strings.Contains(err.Error(), "Permission denied") {
		return err
	}
	return nil
}

// pushedKeyLogsIn shows a login by a pushed key, with all that the agent and
// its surroundings say of it.
func pushedKeyLogsIn(w *world) (string, error) {
	key, public, err := w.NewKey("pushed")
	if err != nil {
		return "", err
	}
	since, err := w.now()
	if err != nil {
		return "", err
	}
	request, err := w.push("alice", public)
	if err != nil {
		return "", err
	}
	w.aws.ResetRequests()
	first, err := w.login("alice", key)
	if err != nil {
		return "", err
	}
	cold := w.aws.RequestCount()
	for _, r := range w.aws.Requests() {
		// The board has said it.
		if strings.HasSuffix(r.Path, "/meta-data/instance-id") {
			return "", fmt.Errorf("the metadata service was asked for %s", r.Path)
		}
	}
	w.requests = append(w.requests, request)
	if err := w.providedRecords(since, request); err != nil {
		return "", err
	}
	w.aws.ResetRequests()
	second, err := w.login("alice", key)
	if err != nil {
		return "", err
	}
	warm := w.aws.RequestCount()
	if warm >= cold {
		return "", fmt.Errorf("%d requests for the first login, %d for the second: the cache is of no use", cold, warm)
	}
	return fmt.Sprintf("%.1f s and %d requests to the metadata service, then %.1f s and %d", first.Seconds(), cold, second.Seconds(), warm), nil
}

// providedRecords compares the records of the login by that key since then.
func (w *world) providedRecords(since moment, request string) error {
	accepted, err := w.records(since, "SYSLOG_IDENTIFIER=sshd", "SYSLOG_IDENTIFIER=sshd-session")
	if err != nil {
		return err
	}
	var acceptedBy, says string
	for _, r := range accepted {
		if strings.HasPrefix(r.field("MESSAGE"), "Accepted publickey for alice ") {
			acceptedBy, says = r.field("_PID"), r.field("MESSAGE")
		}
	}
	provided, err := w.records(since, "EIC_EVENT=key-provided")
	if err != nil {
		return err
	}
	if len(provided) != 2 {
		return fmt.Errorf("%d records that sshd was given a key, want 2: it asks twice", len(provided))
	}
	uid, err := w.Root("id -u eic-agent", time.Minute)
	if err != nil {
		return err
	}
	for _, r := range provided {
		for field, want := range map[string]string{
			"SYSLOG_IDENTIFIER": "eic-authkeys", "SYSLOG_FACILITY": "10", "PRIORITY": "6",
			"_UID":       strings.TrimSpace(uid),
			"MESSAGE_ID": "2ea351bf60cd4858a07618f84059970c", "EIC_EVENT": "key-provided", "EIC_USER": "alice",
			"EIC_KEY_TYPE": "ssh-ed25519", "EIC_CALLER": emulator.DefaultCallerARN, "EIC_REQUEST_ID": request,
			"EIC_INSTANCE_ID": instanceID, "EIC_SSHD_PID": acceptedBy,
		} {
			if got := r.field(field); got != want || want == "" {
				return fmt.Errorf("the journal has %s=%q, want %q", field, got, want)
			}
		}
		fingerprint := r.field("EIC_FINGERPRINT")
		if fingerprint == "" || !strings.HasSuffix(says, " ED25519 "+fingerprint) {
			return fmt.Errorf("the journal has EIC_FINGERPRINT=%q, and sshd says %q", fingerprint, says)
		}
		if expires, err := time.Parse(time.RFC3339, r.field("EIC_EXPIRES")); err != nil || time.Until(expires) > time.Minute {
			return fmt.Errorf("the journal has EIC_EXPIRES=%q: %w", r.field("EIC_EXPIRES"), err)
		}
	}
	return nil
}

// explained shows what journalctl -x adds.
func explained(w *world) (string, error) {
	out, err := w.Root("journalctl --no-pager -q -b -x EIC_EVENT=key-provided", time.Minute)
	if err != nil {
		return "", err
	}
	for _, want := range []string{"Subject: sshd was given a key pushed for alice", "pushed by   " + emulator.DefaultCallerARN} {
		if !strings.Contains(out, want) {
			return "", fmt.Errorf("journalctl -x does not say %q: %s", want, out)
		}
	}
	return "", nil
}

// cacheUsed shows what is in the cache, and whose.
func cacheUsed(w *world) (string, error) {
	out, err := w.Root(`find /run/eic-agent -printf '%U %m %y %f\n'`, time.Minute)
	if err != nil {
		return "", err
	}
	uid, err := w.Root("id -u eic-agent", time.Minute)
	if err != nil {
		return "", err
	}
	uid = strings.TrimSpace(uid)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for _, line := range lines {
		if !strings.HasPrefix(line, uid+" 600 f ") && line != uid+" 700 d eic-agent" {
			return "", fmt.Errorf("the cache has %q", line)
		}
	}
	if len(lines) < 2 {
		return "", fmt.Errorf("the cache is empty: %s", out)
	}
	return fmt.Sprintf("%d files", len(lines)-1), nil
}

// refusals shows what does not log in and which reason the journal has.
func refusals(w *world) (string, error) {
	key, public, err := w.NewKey("refused")
	if err != nil {
		return "", err
	}
	since, err := w.now()
	if err != nil {
		return "", err
	}
	if err := w.noLogin("bob", key); err != nil {
		return "", fmt.Errorf("without a push: %w", err)
	}
	said, err := w.records(since, "SYSLOG_IDENTIFIER=eic-authkeys")
	if err != nil {
		return "", err
	}
	if len(said) > 0 {
		return "", fmt.Errorf("nothing was pushed, and the agent says %q", said[0].field("MESSAGE"))
	}
	good := keyrecord.Statement{Expires: time.Now().Add(50 * time.Second), Instance: instanceID, Key: public, Caller: emulator.DefaultCallerARN}
	var reasons []string
	for _, c := range []struct {
		reason string
		change func(*keyrecord.Statement)
		forge  bool
	}{
		{"expired", func(s *keyrecord.Statement) { s.Expires = time.Now().Add(-time.Second) }, false},
		{"wrong-instance", func(s *keyrecord.Statement) { s.Instance = emulator.DefaultInstanceID }, false},
		{"bad-signature", func(*keyrecord.Statement) {}, true},
	} {
		statement := good
		c.change(&statement)
		body, err := w.aws.Sign(instanceID, statement)
		if err != nil {
			return "", err
		}
		if c.forge {
			body = []byte(strings.Replace(string(body), emulator.DefaultCallerARN, "arn:aws:iam::123456789012:user/root", 1))
		}
		if since, err = w.now(); err != nil {
			return "", err
		}
		if err := w.aws.Publish(instanceID, "bob", body); err != nil {
			return "", err
		}
		if err := w.noLogin("bob", key); err != nil {
			return "", fmt.Errorf("%s: %w", c.reason, err)
		}
		refused, err := w.records(since, "EIC_EVENT=record-refused", "EIC_USER=bob")
		if err != nil {
			return "", err
		}
		if len(refused) == 0 || refused[0].field("EIC_REASON") != c.reason {
			return "", fmt.Errorf("the journal says %v, want the reason %s", refused, c.reason)
		}
		if err := w.aws.Withdraw(instanceID, "bob"); err != nil {
			return "", err
		}
		reasons = append(reasons, c.reason)
	}
	return strings.Join(reasons, ", "), nil
}
