package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/need"
)

// A cli is the aws command, pointed at a program by the environment alone.
type cli struct {
	path string
	env  []string
}

func newCLI(t *testing.T, p *program) cli {
	t.Helper()
	path := need.Program(t, "aws")
	if err := exec.Command(path, "--version").Run(); err != nil {
		need.Missing(t, "the aws command: %v", err)
	}
	return cli{path, append(os.Environ(),
		"AWS_ENDPOINT_URL="+p.api, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_DEFAULT_REGION=us-east-1",
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_MAX_ATTEMPTS=1", "AWS_PAGER=")}
}

// run returns the output, and the name of the exception that it ended with.
func (c cli) run(t *testing.T, args string, more ...string) (out map[string]any, exception string) {
	t.Helper()
	// Debian's awscli has no AWS_ENDPOINT_URL yet.
	words := append(strings.Fields(args), more...)
	for _, v := range c.env {
		if url, ok := strings.CutPrefix(v, "AWS_ENDPOINT_URL="); ok {
			words = append(words, "--endpoint-url", url)
		}
	}
	command := exec.CommandContext(t.Context(), c.path, append(words, "--output", "json")...)
	command.Env = c.env
	var stderr strings.Builder
	command.Stderr = &stderr
	text, err := command.Output()
	if err != nil {
		_, rest, _ := strings.Cut(stderr.String(), "An error occurred (")
		name, _, ok := strings.Cut(rest, ")")
		if !ok {
			t.Errorf("aws %s: %v, %s", args, err, &stderr)
		}
		return nil, name
	}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &out); err != nil {
			t.Errorf("aws %s: %v in %s", args, err, text)
		}
	}
	return out, ""
}

// TestAWSCommand uses every operation through the aws command as it is.
func TestAWSCommand(t *testing.T) {
	t.Parallel()
	p := startProgram(t, "--instance", emulator.DefaultInstanceID+",key=launch", "--instance", "i-00000001,state=stopped", "--instance", "i-00000002,type=t2.micro",
		"--cloudtrail", filepath.Join(t.TempDir(), "trail.jsonl"))
	defer p.kill()
	c := newCLI(t, p)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	rfc := read("../../internal/fingerprint/testdata/rsa2048.rfc4716")
	var rsa string
	for line := range strings.Lines(read("../../internal/fingerprint/testdata/vectors.txt")) {
		if text, ok := strings.CutPrefix(line, "line: "); ok && strings.HasSuffix(text, "vec-rsa2048\n") {
			rsa = text
		}
	}
	const push, serial = "ec2-instance-connect send-ssh-public-key --instance-os-user", "ec2-instance-connect send-serial-console-ssh-public-key --instance-id"
	// pushed returns the user for whom a call pushes, and the key.
	pushed := func(args string) (user, key string) {
		for user, key := range map[string]string{"bare": ed25519Line, "file": strings.TrimSpace(rsa), "rfc": strings.Join(strings.Fields(rsa)[:2], " ")} {
			if strings.HasPrefix(args, push+" "+user+" ") {
				return user, key
			}
		}
		if strings.HasPrefix(args, serial) {
			return emulator.DefaultInstanceID + ".port0", ed25519Line
		}
		return "", ""
	}
	for _, row := range []struct {
		args string
		more []string
		want string // an exception, or member=value of the output
	}{
		{push + " bare --instance-id " + emulator.DefaultInstanceID, []string{"--ssh-public-key", ed25519Line}, "Success=true"},
		{push + " file --availability-zone us-east-1a --instance-id " + emulator.DefaultInstanceID, []string{"--ssh-public-key", "file://" + file("key.pub", rsa)}, "Success=true"},
		{push + " rfc --instance-id " + emulator.DefaultInstanceID, []string{"--ssh-public-key", "file://" + file("rfc.pub", rfc)}, "Success=true"},
		{push + " bare --availability-zone us-east-1b --instance-id " + emulator.DefaultInstanceID, []string{"--ssh-public-key", ed25519Line}, "EC2InstanceNotFoundException"},
		{push + " bare --instance-id i-00000001", []string{"--ssh-public-key", ed25519Line}, "EC2InstanceStateInvalidException"},
		{push + " 1234 --instance-id " + emulator.DefaultInstanceID, []string{"--ssh-public-key", ed25519Line}, "InvalidArgsException"},
		{serial + " " + emulator.DefaultInstanceID, []string{"--ssh-public-key", ed25519Line}, "SerialConsoleAccessDisabledException"},
		{"ec2 get-serial-console-access-status", nil, "SerialConsoleAccessEnabled=false"},
		{"ec2 enable-serial-console-access", nil, "SerialConsoleAccessEnabled=true"},
		{serial + " " + emulator.DefaultInstanceID + " --serial-port 0", []string{"--ssh-public-key", ed25519Line}, "Success=true"},
		{serial + " i-00000002", []string{"--ssh-public-key", ed25519Line}, "EC2InstanceTypeInvalidException"},
		{"ec2 disable-serial-console-access", nil, "SerialConsoleAccessEnabled=false"},

		{"ec2 import-key-pair --key-name launch --tag-specifications ResourceType=key-pair,Tags=[{Key=a,Value=b}]", []string{"--public-key-material", "fileb://" + file("key.pub", rsa)}, "KeyFingerprint=7f:7c:e3:2b:a9:80:99:21:07:75:19:58:81:66:1d:b5"},
		{"ec2 import-key-pair --key-name launch", []string{"--public-key-material", "fileb://" + file("key.pub", rsa)}, "InvalidKeyPair.Duplicate"},
		{"ec2 import-key-pair --key-name dry --dry-run", []string{"--public-key-material", "fileb://" + file("ed.pub", ed25519Line)}, "DryRunOperation"},
		{"ec2 import-key-pair --key-name junk", []string{"--public-key-material", "fileb://" + file("junk.pub", "junk")}, "InvalidKey.Format"},
		{"ec2 describe-key-pairs --key-names launch --include-public-key", nil, "KeyPairs=KeyType rsa"},
		{"ec2 describe-key-pairs --key-names nobody", nil, "InvalidKeyPair.NotFound"},
		{"ec2 delete-key-pair --key-name launch", nil, ""},
		{"ec2 describe-instances --filters Name=instance-state-name,Values=running", nil, "Reservations=PublicIpAddress 127.0.0.1"},

		{"lightsail import-key-pair --key-pair-name mine", []string{"--public-key-base64", strings.TrimSpace(rsa)}, "operation=status Succeeded"},
		{"lightsail get-key-pair --key-pair-name mine", nil, "keyPair=fingerprint 7f:7c:e3"},
		{"lightsail get-key-pairs", nil, "keyPairs=resourceType KeyPair"},
		{"lightsail delete-key-pair --key-pair-name mine", nil, "operation=resourceName mine"},
		{"lightsail get-key-pair --key-pair-name mine", nil, "NotFoundException"},
	} {
		out, exception := c.run(t, row.args, row.more...)
		member, want, isMember := strings.Cut(row.want, "=")
		if !isMember {
			if exception != row.want {
				t.Errorf("aws %s: ended with %q, want %q", row.args, exception, row.want)
			}
			continue
		}
		text, err := json.Marshal(out[member])
		if plain := strings.NewReplacer(`"`, "", ":", " ").Replace(string(text)); err != nil || !strings.Contains(plain, strings.ReplaceAll(want, ":", " ")) {
			t.Errorf("aws %s: %s is %s, want %s in it (%s)", row.args, member, text, want, exception)
		}
		// At once, since a key lives for a minute and aws takes its time.
		if user, key := pushed(row.args); user != "" {
			if _, body := p.get(t, "managed-ssh-keys/active-keys/"+user); !strings.Contains(body, "\n"+key+"\n") {
				t.Errorf("for %s the metadata has %s", user, body)
			}
		}
	}
	if _, body := p.get(t, "public-keys/0/openssh-key"); !strings.HasSuffix(body, " launch") {
		t.Errorf("the launch key is %s", body)
	}
	checkTrail(t, p)
}

// checkTrail looks for what the calls have left.
func checkTrail(t *testing.T, p *program) {
	t.Helper()
	var path string
	for i, arg := range p.cmd.Args {
		if arg == "--cloudtrail" {
			path = p.cmd.Args[i+1]
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int)
	for line := range strings.Lines(string(text)) {
		var event struct {
			EventSource, EventName, ErrorCode, RequestID, UserAgent string
			UserIdentity                                            struct{ ARN, AccountID, UserName string }
			RequestParameters                                       map[string]any
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		seen[event.EventName+" "+event.ErrorCode]++
		if event.UserIdentity.ARN != emulator.DefaultCallerARN || event.UserIdentity.UserName != "test" || len(event.RequestID) != 36 || !strings.Contains(event.UserAgent, "aws-cli") {
			t.Errorf("the trail has %s", line)
		}
		if event.EventName == "SendSSHPublicKey" && event.RequestParameters["osUser"] == nil {
			t.Errorf("the trail has %s", line)
		}
	}
	for event, n := range map[string]int{
		"SendSSHPublicKey ": 3, "SendSSHPublicKey EC2InstanceStateInvalidException": 1, "SendSerialConsoleSSHPublicKey ": 1,
		"ImportKeyPair ": 2, "ImportKeyPair DryRunOperation": 1, "DescribeInstances ": 1, "GetKeyPairs ": 1,
	} {
		if seen[event] != n {
			t.Errorf("the trail has %q %d times, want %d", event, seen[event], n)
		}
	}
}
