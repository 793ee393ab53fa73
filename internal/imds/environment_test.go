package imds

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// environmentChild tells the child process of TestEnvironment where the service
// is.
const environmentChild = "EIC_TEST_IMDS"

// The environment changes nothing. Each setting has a process of its own, since
// net/http reads its variables once.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	trap := newService(t, status(500), status(500))
	for name, settings := range map[string][]string{
		"nothing":          {},
		"HTTP_PROXY":       {"HTTP_PROXY=" + trap.url()},
		"http_proxy":       {"http_proxy=" + trap.url()},
		"ALL_PROXY":        {"ALL_PROXY=" + trap.url(), "all_proxy=" + trap.url()},
		"NO_PROXY":         {"http_proxy=" + trap.url(), "NO_PROXY=127.0.0.1", "no_proxy=169.254.169.254"},
		"disabled":         {"AWS_EC2_METADATA_DISABLED=true"},
		"endpoint":         {"AWS_EC2_METADATA_SERVICE_ENDPOINT=" + trap.url()},
		"endpoint mode":    {"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE=IPv6"},
		"version 1":        {"AWS_EC2_METADATA_V1_DISABLED=false"},
		"execution":        {"AWS_EXECUTION_ENV=trapped", "AWS_SDK_UA_APP_ID=trapped"},
		"profile":          {"AWS_PROFILE=trapped", "AWS_CONFIG_FILE=/nonexistent", "AWS_REGION=trapped", "AWS_SDK_LOAD_CONFIG=1"},
		"endpoint of all":  {"AWS_ENDPOINT_URL=" + trap.url(), "AWS_ENDPOINT_URL_EC2IMDS=" + trap.url()},
		"retries and time": {"AWS_MAX_ATTEMPTS=1", "AWS_RETRY_MODE=adaptive", "AWS_METADATA_SERVICE_TIMEOUT=0", "AWS_METADATA_SERVICE_NUM_ATTEMPTS=0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The first token is refused: a client that falls back to
			// version 1 would do so now.
			s := newService(t, once(status(503), goodToken), once(status(500), goodEntry))
			child := exec.Command(self, "-test.run=^TestEnvironmentChild$", "-test.v")
			child.Env = append(settings, environmentChild+"="+s.url(), "PATH=/nonexistent")
			out, err := child.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--- PASS: TestEnvironmentChild") {
				t.Errorf("%v:\n%s", err, out)
			}
			outcome{"", 2, 2, ""}.judge(t, s, nil, nil, "")
			for _, agent := range s.agents {
				if agent != "test" {
					t.Errorf("the user agent is %q", agent)
				}
			}
		})
	}
	t.Cleanup(func() {
		if len(trap.conns) > 0 {
			t.Errorf("the environment led %d connections astray, with %v", len(trap.conns), trap.paths)
		}
	})
}

func TestEnvironmentChild(t *testing.T) {
	endpoint := os.Getenv(environmentChild)
	if endpoint == "" {
		t.Skip("it is for TestEnvironment")
	}
	body, err := get(t, New(endpoint, "test", time.Minute, nil), long)
	if err != nil || string(body) != entryBody {
		t.Errorf("got %q, %v", body, err)
	}
	// net/http never asks a proxy for loopback addresses, so ask for one that
	// nothing has: the block is reserved.
	if body, err := get(t, New("http://240.0.0.1:9", "test", time.Minute, nil), 200*time.Millisecond); err == nil {
		t.Errorf("a reserved address answered %q", body)
	}
}
