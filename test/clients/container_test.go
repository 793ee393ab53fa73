//go:build clients

package clients

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/test/need"
	"github.com/eic-agent/eic-agent/test/pages"
)

// TestContainer runs the image with podman, as the service of the page's workflow: with
// the service's environment, the command of its health check, which podman does not take
// from an image of OCI's format, and the environment of the job's steps. Instead of
// publishing ports, the container has the network of the test.
func TestContainer(t *testing.T) {
	need.Root(t)
	for _, program := range []string{"podman", "runc", "unshare", "ip", "curl"} {
		need.Program(t, program)
	}
	dir := t.TempDir()
	archive := filepath.Join(dir, "image.tar")
	build := exec.CommandContext(t.Context(), "go", "run", "../../packaging/image", "-time", "1700000000", "-version", "0.0.0+test", archive,
		runtime.GOARCH+"="+filepath.Join(programs, "eic-emulator"))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	workflow := pages.Section(t, "../../docs/emulator.md", "In GitHub Actions")
	_, service, _ := strings.Cut(workflow, "services:")
	service, job, _ := strings.Cut(service, "\n    env:\n")
	job, _, _ = strings.Cut(job, "\n    steps:")
	variables := regexp.MustCompile(`(?m)^ +([A-Z_0-9]+): (.*)$`)
	var options, exports string
	for _, v := range variables.FindAllStringSubmatch(service, -1) {
		options += " --env '" + v[1] + "=" + v[2] + "'"
	}
	for _, v := range variables.FindAllStringSubmatch(job, -1) {
		exports += "export " + v[1] + "='" + v[2] + "'\n"
	}
	if !strings.Contains(options, "EIC_EMULATOR_INSTANCE") || strings.Count(exports, "export") != 5 {
		t.Fatalf("the workflow has the environments%s and\n%s", options, exports)
	}
	const run = `set -eu
ip link set lo up
mount -t tmpfs tmpfs /run
dir=$1
p() { command podman --runtime "$(command -v runc)" --storage-driver vfs --root "$dir/root" --runroot /run/podman --cgroup-manager cgroupfs --events-backend none "$@"; }
p load -q -i "$2"
p run -d --name aws --network host --log-driver none --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 OPTIONS localhost/eic-emulator:0.0.0-test >/dev/null
trap 'p rm -f aws >/dev/null 2>&1; p rmi -af >/dev/null 2>&1' EXIT
EXPORTSuntil p exec aws /eic-emulator ready >/dev/null 2>&1; do [ "$(p inspect --format '{{.State.Status}}' aws)" = running ]; sleep 0.2; done
curl -fsX PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$AWS_EC2_METADATA_SERVICE_ENDPOINT/latest/api/token" >/dev/null
curl -fs "$AWS_ENDPOINT_URL/_emu/instances"
p inspect --format '{{.Config.User}} {{.State.Status}}' aws
`
	text := strings.NewReplacer("OPTIONS", options, "EXPORTS", exports).Replace(run)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "-nmpf", "--mount-proc", "--kill-child", "sh", "-c", text, "sh", dir, archive)
	cmd.Env = append(os.Environ(), "HOME="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, answer, _ := strings.Cut(string(out), "{\n")
	var instances struct{ Instances []struct{ ID, Zone string } }
	if err := json.NewDecoder(strings.NewReader("{\n" + answer)).Decode(&instances); err != nil || len(instances.Instances) != 1 || instances.Instances[0].Zone != "eu-west-1a" {
		t.Errorf("%v, %v\n%s", instances, err, out)
	}
	if !strings.HasSuffix(string(out), "65532:65532 running\n") {
		t.Errorf("got\n%s", out)
	}
}
