package main

import (
	"os"
	"os/exec"
	"testing"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/need"
)

const rsaLine = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDDlc1w+uGlCli4N5a2sCKvUg/v8bBtDT57XBLTKRdHkjzVSTfhBecw8CmfjKRKXDMXHUsGdSPNiNnnBTZwWaSyXBWBFXDhM9a5IwL+wYmytBypBur6XlX1/ubTwZrHpyIBlYFc2qzHH4jd9oOfJH7HDXwF8mnpPliiCWMXwca5zpbYgag7MCfcgn/cMjRHIMnMPSncMiuyYCAM5VMETXAtNcg/B7tYFY0K30V7ubzvOPM4sj9wVs5BHNuhbSkuAsa6dzrU9MZ8gCgZ8tzi2kpLAaTmowdqSxLzzTYfgw4snQWjdYXr5BkeLJdedoQUOAENIFekpXn+GdL8ZrTUWNcB"

// TestBoto3 runs testdata/boto3_test.py with the boto3 of the distribution.
func TestBoto3(t *testing.T) {
	t.Parallel()
	const python = "/usr/bin/python3" // another one would not have the distribution's packages
	if err := exec.Command(python, "-c", "import boto3").Run(); err != nil {
		need.Missing(t, "boto3: %v", err)
	}
	p := startProgram(t)
	defer p.kill()
	cmd := exec.CommandContext(t.Context(), python, "testdata/boto3_test.py")
	cmd.Env = append(os.Environ(), "ENDPOINT="+p.api, "INSTANCE="+emulator.DefaultInstanceID, "LINE="+ed25519Line, "RSA="+rsaLine)
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "done\n" {
		t.Errorf("%v\n%s", err, out)
	}
}
