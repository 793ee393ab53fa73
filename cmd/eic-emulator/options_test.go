package main

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// TestEnvironment gives options by the environment, which the command line wins
// over.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, data, ready := filepath.Join(dir, "key.pub"), filepath.Join(dir, "data"), filepath.Join(dir, "ready")
	for path, text := range map[string]string{key: ed25519Line + " me\n", data: "#cloud-config\n", ready: "stale"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := startProgramBy(t, func(self string, args []string) *exec.Cmd {
		cmd := exec.Command(self, args...)
		cmd.Env = []string{
			"EIC_EMULATOR_API=not an address", "EIC_EMULATOR_KEY_PAIR=k=" + key + "\nl=" + key + "\n", "EIC_EMULATOR_LOG_REQUESTS=true",
			"EIC_EMULATOR_INSTANCE=i-00000001,key=k,user-data=" + data + ",tag:Name=web 1,tag:b=c,metadata-tags=on,role=app,hop-limit=2,life-cycle=spot,ami=ami-7,ipv6=2001:db8::7,latest:meta-data/spot/termination-time=2026-01-01T00:00:00Z,latest:meta-data/spot/instance-action=@" + data + "\ni-00000002",
			"EIC_EMULATOR_READY_FILE=" + ready, "EIC_EMULATOR_PORT=tcp://10.0.0.1:4566", "EIC_EMULATOR_PORT_4566_TCP=x", "EIC_EMULATOR_SERVICE_HOST=10.0.0.1",
		}
		return cmd
	})
	defer p.kill()
	for path, want := range map[string]string{
		"public-keys/0/openssh-key": ed25519Line + " k", "tags/instance/": "Name\nb", "tags/instance/Name": "web 1", "iam/security-credentials/": "app",
		"instance-life-cycle": "spot", "ami-id": "ami-7", "ipv6": "2001:db8::7",
		"spot/termination-time": "2026-01-01T00:00:00Z", "spot/instance-action": "#cloud-config\n"} {
		if status, body := p.get(t, path); status != http.StatusOK || body != want {
			t.Errorf("%s is %d, %q, want %q", path, status, body, want)
		}
	}
	var text []byte
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(string(text), "export"); time.Sleep(5 * time.Millisecond) {
		var err error
		if text, err = os.ReadFile(ready); err != nil && !os.IsNotExist(err) || time.Now().After(deadline) {
			t.Fatalf("the ready file has %s, %v", text, err)
		}
	}
	if string(text) != p.announced {
		t.Errorf("the ready file has\n%s\nwant\n%s", text, p.announced)
	}
	response, err := http.Get(p.api + "/_emu/ready")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("/_emu/ready is %d", response.StatusCode)
	}
	address := strings.TrimPrefix(p.api, "http://")
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"ready", "--api", address}, &stdout, &stderr); code != exitOK || stderr.Len() != 0 {
		t.Errorf("ready: exit %d, %s", code, &stderr)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Error(err)
	}
	if code := run(t.Context(), []string{"ready", "--api", address}, &stdout, &stderr); code != exitFailure || !strings.Contains(stderr.String(), "not ready: ") {
		t.Errorf("ready after the end: exit %d, %s", code, &stderr)
	}
	if _, err := os.Stat(ready); !os.IsNotExist(err) {
		t.Errorf("the ready file stays: %v", err)
	}
	if !regexp.MustCompile(`(?m)^\S+Z imds GET /latest/meta-data/ami-id 200 [0-9.]+ms instance=i-00000001$`).Match(p.stderr.Bytes()) {
		t.Errorf("no line for a request in\n%s", &p.stderr)
	}
}

func TestEnvironmentRefused(t *testing.T) {
	for variable, want := range map[string]string{
		"EIC_EMULATOR_COLOUR=red":         "unknown environment variable EIC_EMULATOR_COLOUR",
		"EIC_EMULATOR_api=127.0.0.1:0":    "unknown environment variable EIC_EMULATOR_api",
		"EIC_EMULATOR_RATE=fast":          "EIC_EMULATOR_RATE: ",
		"EIC_EMULATOR_KEY_PAIR=k":         `--key-pair "k" is not NAME=FILE`,
		"EIC_EMULATOR_KEY_PAIR=k=/nobody": "--key-pair k: open /nobody",
		"EIC_EMULATOR_READY_FILE=/":       "cannot use the ready file",
	} {
		name, value, _ := strings.Cut(variable, "=")
		t.Run(name+value, func(t *testing.T) {
			t.Setenv(name, value)
			var stdout, stderr bytes.Buffer
			if code := run(t.Context(), []string{"serve", "--api", "127.0.0.1:0", "--imds", "127.0.0.1:0"}, &stdout, &stderr); code == 0 || !strings.Contains(stderr.String(), want) || stdout.Len() != 0 {
				t.Errorf("exit %d, %s, want %s", code, &stderr, want)
			}
		})
	}
}

// TestScenarioSeeds starts with the instances and key pairs of a file.
func TestScenarioSeeds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, file := filepath.Join(dir, "key.pub"), filepath.Join(dir, "scenario.toml")
	for path, text := range map[string]string{key: ed25519Line, file: `instances = ["i-00000001,key=k", "i-00000002"]` + "\n" + `key-pairs = ["k=` + key + `"]` + "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := startProgram(t, "--scenario", file)
	defer p.kill()
	if status, body := p.get(t, "public-keys/0/openssh-key"); status != http.StatusOK || body != ed25519Line+" k" {
		t.Errorf("the launch key is %d, %s", status, body)
	}
	if strings.Contains(p.announced, emulator.DefaultInstanceID) || !strings.Contains(p.announced, "i-00000002") {
		t.Errorf("the instances are those in\n%s", p.announced)
	}
}
