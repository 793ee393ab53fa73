package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	eic "github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/need"
)

// TestFullDisk fills the disk that the state file is on: calls fail and change
// nothing, and work again when there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	need.Root(t)
	unshare := need.Program(t, "unshare")
	dir := t.TempDir()
	// The disk is there for the program alone.
	const script = `mount -t tmpfs -o size=256k none "$1" && head -c 131072 /dev/zero > "$1/ballast" && shift && exec "$@"`
	p := startProgramBy(t, func(self string, args []string) *exec.Cmd {
		return exec.Command(unshare, append([]string{"-m", "sh", "-c", script, "sh", dir, self}, args...)...)
	}, "--state", filepath.Join(dir, "state"))
	defer p.kill()
	root := fmt.Sprintf("/proc/%d/root%s", p.cmd.Process.Pid, dir)
	client := p.client()
	push := func(user string) error {
		_, err := client.SendSSHPublicKey(t.Context(), &eic.SendSSHPublicKeyInput{
			InstanceId: aws.String(emulator.DefaultInstanceID), InstanceOSUser: &user, SSHPublicKey: aws.String(ed25519Line),
		})
		return err
	}
	answered := make(map[string]bool)
	fill := func(prefix string) {
		t.Helper()
		var mu sync.Mutex
		var workers sync.WaitGroup
		failed := 0
		for w := range 4 {
			workers.Go(func() {
				for i := range 400 {
					user := fmt.Sprintf("%s%d-%d", prefix, w, i)
					err := push(user)
					mu.Lock()
					if err == nil {
						answered[user] = true
					} else {
						failed++
					}
					stop := failed >= 10
					mu.Unlock()
					var response *awshttp.ResponseError
					if err != nil && (!errors.As(err, &response) || response.HTTPStatusCode() != http.StatusInternalServerError || !strings.Contains(err.Error(), "no space left")) {
						t.Errorf("a full disk answers %v", err)
					}
					if stop {
						return
					}
				}
			})
		}
		workers.Wait()
		if failed < 10 || len(answered) == 0 {
			t.Fatalf("%d pushes were answered and %d failed", len(answered), failed)
		}
	}
	check := func() {
		t.Helper()
		status, listing := p.get(t, "managed-ssh-keys/active-keys/")
		there := strings.Fields(listing)
		if status != http.StatusOK || len(there) != len(answered) {
			t.Errorf("%d: there are keys of %d users, and %d pushes were answered", status, len(there), len(answered))
		}
		for _, user := range there {
			if !answered[user] {
				t.Errorf("the push for %s failed, and the key is there", user)
			}
		}
	}
	fill("a")
	check()
	if err := os.Remove(root + "/ballast"); err != nil {
		t.Fatal(err)
	}
	if err := push("again"); err != nil {
		t.Errorf("with room on the disk: %v", err)
	}
	answered["again"] = true
	fill("b")
	check()
	// What is in the file is what was answered.
	text, err := os.ReadFile(root + "/state")
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(copied, text, 0o600); err != nil {
		t.Fatal(err)
	}
	p.kill()
	p = startProgram(t, "--state", copied)
	check()
	p.kill()
}
