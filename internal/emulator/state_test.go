package emulator_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// TestRestore keeps everything across a restart.
func TestRestore(t *testing.T) {
	t.Parallel()
	var clock clock
	path := t.TempDir() + "/state"
	options := emulator.Options{Now: clock.now, StateFile: path, Credentials: unverified, Instances: []emulator.Instance{{ID: "i-00000001", KeyName: "k"}, {ID: "i-00000002"}}}
	s := newServer(t, options)
	c := newClients(t, s, "us-east-1", testKey)
	if _, err := c.ec2.ImportKeyPair(t.Context(), &ec2.ImportKeyPairInput{KeyName: aws.String("k"), PublicKeyMaterial: []byte(ed25519Line)}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetSerialAccess("123456789012", "us-east-1", true); err != nil {
		t.Fatal(err)
	}
	if err := s.SetState("i-00000002", emulator.Stopped); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Push("i-00000001", "u", ed25519Line, "arn:x"); err != nil {
		t.Fatal(err)
	}
	for path, body := range map[string][]byte{"mine": []byte("x"), "empty": {}, "mac": nil} {
		if err := s.SetMetadata("i-00000001", path, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Publish("i-00000001", "raw", []byte("as it is")); err != nil {
		t.Fatal(err)
	}
	if err := s.StartSerialSession("i-00000001"); err != nil {
		t.Fatal(err)
	}
	if err := s.SetTokens("i-00000002", emulator.TokensOptional); err != nil {
		t.Fatal(err)
	}
	if err := s.RotateSigners(false); err != nil {
		t.Fatal(err)
	}
	session := newSession(t, s, "i-00000001")
	const keys = "managed-ssh-keys/active-keys/u"
	before := session.mustGet(keys)

	s.Close()
	again := newServer(t, options)
	if !bytes.Equal(s.RootsPEM(), again.RootsPEM()) {
		t.Error("the roots are other ones")
	}
	later := newSession(t, again, "i-00000001")
	later.token = session.token
	after := later.mustGet(keys)
	if a, b := bytes.Split([]byte(before), []byte("\nssh-"))[0], bytes.Split([]byte(after), []byte("\nssh-"))[0]; !bytes.Equal(a, b) {
		t.Errorf("the record was\n%s\nand is\n%s", before, after)
	}
	if session.mustGet("managed-ssh-keys/signer-cert") != later.mustGet("managed-ssh-keys/signer-cert") || later.mustGet("public-keys/0/openssh-key") == "" {
		t.Error("chain or launch key are other ones")
	}
	if got := again.Instances()[1]; got.State != emulator.Stopped || got.Tokens != emulator.TokensOptional {
		t.Errorf("the second instance is %+v", got)
	}
	if status, _ := later.get("mac"); later.mustGet("mine") != "x" || later.mustGet("empty") != "" || status != http.StatusNotFound {
		t.Error("metadata that was set is not there")
	}
	if got := later.mustGet("managed-ssh-keys/active-keys/raw"); got != "as it is" {
		t.Errorf("published bytes are %q", got)
	}
	if err := again.StartSerialSession("i-00000001"); !errors.Is(err, emulator.ErrSerialSessionLimit) {
		t.Errorf("a second serial session: %v", err)
	}
	out, err := newClients(t, again, "us-east-1", testKey).ec2.DescribeKeyPairs(t.Context(), &ec2.DescribeKeyPairsInput{})
	if err != nil || len(out.KeyPairs) != 1 {
		t.Errorf("got %v, %v", out, err)
	}
	clock.move(time.Minute)
	if status, _ := later.get(keys); status != http.StatusNotFound {
		t.Errorf("an old key is %d", status)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	for line := range bytes.Lines(readFile(t, path)) {
		if !json.Valid(line) {
			t.Errorf("a line of the file is %q", line)
		}
	}
}

// TestTidy removes what a crash left, and nobody else's files.
func TestTidy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, stays := range map[string]bool{
		".env.local": true, ".env.1": true, ".env.eic-emulator-": true, ".env.eic-emulator-1x": true, ".[a-z]*.1": true, ".abc.1": true,
		".env.eic-emulator-12": false, ".[a-z]*.eic-emulator-7": false,
	} {
		if err := os.WriteFile(dir+"/"+name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if _, err := os.Stat(dir + "/" + name); (err == nil) != stays {
				t.Errorf("%s: %v", name, err)
			}
		}()
	}
	newServer(t, emulator.Options{StateFile: dir + "/env"})
	newServer(t, emulator.Options{StateFile: dir + "/[a-z]*"})
}

// TestRestoreOptions changes the options between two starts: they count, but
// for what was set in the meantime.
func TestRestoreOptions(t *testing.T) {
	t.Parallel()
	options := emulator.Options{StateFile: t.TempDir() + "/state", Credentials: unverified, Instances: []emulator.Instance{{ID: "i-00000001"}, {ID: "i-00000002"}}}
	s := newServer(t, options)
	c := newClients(t, s, "us-east-1", testKey)
	if _, err := c.ec2.ImportKeyPair(t.Context(), &ec2.ImportKeyPairInput{KeyName: aws.String("k"), PublicKeyMaterial: []byte(ed25519Line)}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetState("i-00000002", emulator.Pending); err != nil {
		t.Fatal(err)
	}
	options.SerialAccess = true
	for i := range options.Instances {
		one := &options.Instances[i]
		one.State, one.Tokens, one.MetadataOff, one.OldBIOS, one.KeyName = emulator.Stopped, emulator.TokensOptional, i == 1, true, "k"
	}
	s.Close()
	again := newServer(t, options)
	got := again.Instances()
	if i := got[0]; i.State != emulator.Stopped || i.Tokens != emulator.TokensOptional || !i.OldBIOS {
		t.Errorf("the first instance is %+v", i)
	}
	if i := got[1]; i.State != emulator.Pending || !i.MetadataOff {
		t.Errorf("the second instance is %+v", i)
	}
	if err := again.SetState("i-00000001", emulator.Running); err != nil {
		t.Fatal(err)
	}
	if got := newSession(t, again, "i-00000001").mustGet("public-keys/0/openssh-key"); got != ed25519Line+" k" {
		t.Errorf("the launch key is %q", got)
	}
	status, err := newClients(t, again, "us-east-1", testKey).ec2.GetSerialConsoleAccessStatus(t.Context(), nil)
	if err != nil || !*status.SerialConsoleAccessEnabled {
		t.Errorf("the serial console is off, %v", err)
	}
}

// TestStateInUse has a second emulator want the file of the first.
func TestStateInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	options := emulator.Options{StateFile: dir + "/state"}
	first := newServer(t, options)
	before := readFile(t, options.StateFile)
	if _, err := emulator.New(options); !errors.Is(err, emulator.ErrStateInUse) || !strings.Contains(err.Error(), options.StateFile+": in use by another emulator") {
		t.Errorf("a second emulator: %v", err)
	}
	if !bytes.Equal(readFile(t, options.StateFile), before) {
		t.Error("the second emulator has written the file")
	}
	first.Close()
	if err := first.SetState(emulator.DefaultInstanceID, emulator.Stopped); err == nil {
		t.Error("a closed emulator writes the file")
	}
	second := newServer(t, options)
	second.Close()
	if err := os.WriteFile(options.StateFile, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // one that fails does not keep the lock
		if _, err := emulator.New(options); err == nil || errors.Is(err, emulator.ErrStateInUse) {
			t.Errorf("a broken file: %v", err)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("left behind are %v, %v", files, err)
	}
}

func TestStateFileFails(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/nothing/state"
	if _, err := emulator.New(emulator.Options{StateFile: path}); !errors.Is(err, emulator.ErrStateFile) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}
