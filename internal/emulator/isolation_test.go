package emulator_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	eic "github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// TestIsolation has two instances, two users and two callers, and every
// combination of them.
func TestIsolation(t *testing.T) {
	t.Parallel()
	var clock clock
	s := newServer(t, emulator.Options{
		Now: clock.now, Instances: []emulator.Instance{{ID: "i-00000001"}, {ID: "i-00000002"}},
		Credentials: map[string]string{"ALICE": "arn:aws:iam::123456789012:user/alice", "BOB": "arn:aws:iam::123456789012:user/bob"},
	})
	instances, users, callers := []string{"i-00000001", "i-00000002"}, []string{"root", "admin"}, []string{"ALICE", "BOB"}
	for _, caller := range callers {
		c := newClient(t, s, caller)
		for _, id := range instances {
			for _, user := range users {
				comment := strings.Join([]string{"key", id, user, caller}, "-")
				if _, err := c.SendSSHPublicKey(t.Context(), &eic.SendSSHPublicKeyInput{
					InstanceId: &id, InstanceOSUser: &user, SSHPublicKey: aws.String(ed25519Line + " " + comment),
				}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for i, id := range instances {
		session, other := newSession(t, s, id), newSession(t, s, instances[1-i])
		for j, user := range users {
			body := session.mustGet("managed-ssh-keys/active-keys/" + user + "/")
			for _, caller := range callers {
				lower := strings.ToLower(caller)
				if !strings.Contains(body, "#Caller=arn:aws:iam::123456789012:user/"+lower+"\n") || !strings.Contains(body, strings.Join([]string{"key", id, user, caller}, "-")+"\n") {
					t.Errorf("%s of %s does not see the key of %s", user, id, caller)
				}
			}
			if strings.Contains(body, instances[1-i]) || strings.Contains(body, users[1-j]+"-") || strings.Count(body, "#Instance="+id+"\n") != 2 {
				t.Errorf("%s of %s sees\n%s", user, id, body)
			}
		}
		other.token, session.token = session.token, other.token
		if status, _ := session.get("managed-ssh-keys/active-keys/root"); status != http.StatusUnauthorized {
			t.Errorf("the token of another instance is worth %d", status)
		}
	}
	clock.move(time.Minute)
	for _, id := range instances {
		if status, _ := newSession(t, s, id).get("managed-ssh-keys/active-keys/"); status != http.StatusNotFound {
			t.Errorf("after a minute %s has keys: %d", id, status)
		}
	}
}

func TestTokensOptional(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{Instances: []emulator.Instance{{ID: "i-00000001", Tokens: emulator.TokensOptional}}})
	c := newSession(t, s, "i-00000001")
	token := c.token
	for name, row := range map[string]struct {
		header map[string]string
		status int
	}{
		"version 1":       {nil, 200},
		"version 2":       {map[string]string{"X-aws-ec2-metadata-token": token}, 200},
		"wrong token":     {map[string]string{"X-aws-ec2-metadata-token": "x"}, 401},
		"empty token":     {map[string]string{"X-aws-ec2-metadata-token": ""}, 401},
		"behind a proxy":  {map[string]string{"X-Forwarded-For": "192.0.2.1"}, 200},
		"HEAD, version 1": {nil, 200},
	} {
		method := http.MethodGet
		if strings.HasPrefix(name, "HEAD") {
			method = http.MethodHead
		}
		if status, _, _ := do(t, method, c.url+"/latest/meta-data/instance-id", row.header); status != row.status {
			t.Errorf("%s: got %d, want %d", name, status, row.status)
		}
	}
	for _, change := range []struct {
		do     func() error
		status int
	}{
		{func() error { return s.SetTokens("i-00000001", emulator.TokensRequired) }, 401},
		{func() error { return s.SetMetadataOff("i-00000001", true) }, 403},
		{func() error { return s.SetMetadataOff("i-00000001", false) }, 401},
		{func() error { return s.SetTokens("i-00000001", emulator.TokensOptional) }, 200},
	} {
		if err := change.do(); err != nil {
			t.Fatal(err)
		}
		if status, _, _ := do(t, http.MethodGet, c.url+"/latest/meta-data/instance-id", nil); status != change.status {
			t.Errorf("got %d, want %d", status, change.status)
		}
	}
	if s.SetTokens("i-00000001", "x") == nil || s.SetTokens("i-0", emulator.TokensOptional) == nil {
		t.Error("a wrong value was taken")
	}
}

// TestIPv6 serves one instance at addresses of both families.
func TestIPv6(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{Instances: []emulator.Instance{{ID: "i-00000001", IMDSAddress6: "[::1]:0"}}})
	if err := s.Listen(); err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	go func() { _ = s.Serve(t.Context()) }()
	first, second := s.IMDSURL("i-00000001"), s.IMDSURL6("i-00000001")
	if !strings.HasPrefix(second, "http://[::1]:") || s.IMDSURL6("i-0") != "" {
		t.Fatalf("the second URL is %q", second)
	}
	c := &session{t: t, url: first}
	c.renew()
	c.url = second
	if got := c.mustGet("instance-id"); got != "i-00000001" {
		t.Errorf("got %q", got)
	}
}
