package release

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/test/need"
)

// one is any release: what depends on it is tested with the agent.
func one(t *testing.T) string {
	t.Helper()
	need.Namespaces(t)
	need.Program(t, "mmdebstrap")
	need.Program(t, "nsenter")
	root, err := Host("bookworm").Root(os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func run(t *testing.T, c *Container, name string, args ...string) string {
	t.Helper()
	out, err := c.Run(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// traces are the mounts and control groups of this machine that are a container's.
func traces(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	var left strings.Builder
	for line := range strings.Lines(string(mounts)) {
		// What is mounted in a root that another process is making is not ours.
		if strings.Contains(line, CacheDir()) && !strings.Contains(line, ".new/") {
			left.WriteString(line)
		}
	}
	groups, err := mountGroups()
	if err != nil {
		t.Fatal(err)
	}
	defer groups.Close()
	dir, err := groups.Open(".")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, fmt.Sprintf("eic-release-%d-", os.Getpid())) {
			fmt.Fprintln(&left, name)
		}
	}
	return left.String()
}

func TestStart(t *testing.T) {
	root := one(t)
	c, err := Start(root)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	for command, want := range map[string]string{
		"hostname":                "bookworm\n",
		"readlink /proc/self/exe": "/usr/bin/readlink\n",
		"test -e /run/systemd/system || echo none": "none\n",
		"ls -A /run /tmp | grep -v :":              "\n",
		"echo text >/dev/null; echo $?":            "0\n",
	} {
		if got := run(t, c, "sh", "-c", command); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	if out, err := c.Feed("in", "sh", "-c", "cat; echo out; echo err >&2; exit 3"); out != "inout\nerr\n" || err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("it printed %q, %v", out, err)
	}
	if err := c.Files.WriteFile("etc/new", []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := run(t, c, "cat", "/etc/new"); got != "text" {
		t.Errorf("the file holds %q", got)
	}
	if _, err := os.Lstat(root + "/etc/new"); !os.IsNotExist(err) {
		t.Errorf("the root was changed: %v", err)
	}
	other, err := Start(root)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := other.Run("cat", "/etc/new"); err == nil {
		t.Errorf("another copy has the file: %q", out)
	}
	if err := other.Stop(); err != nil {
		t.Error(err)
	}
}

func TestBoot(t *testing.T) {
	root := one(t)
	c, err := Boot(root)
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, c, "systemctl", "is-active", "ssh.service", "dbus.service", "systemd-journald.service"); got != "active\nactive\nactive\n" {
		t.Errorf("the services are %q", got)
	}
	if out, err := c.Run("sh", "-c", "echo core >/proc/sys/kernel/core_pattern"); err == nil {
		t.Errorf("this machine's settings can be changed: %s", out)
	}
	if got := run(t, c, "cat", "/proc/self/cgroup"); !strings.HasSuffix(got, "0::/init.scope\n") {
		t.Errorf("a program is in the control group %q", got)
	}
	run(t, c, "logger", "--tag=hello", "from the container")
	records, err := c.Records("SYSLOG_IDENTIFIER=hello")
	if err != nil || len(records) != 1 || records[0].Field("MESSAGE") != "from the container" || records[0].Field("_HOSTNAME") != "bookworm" {
		t.Errorf("the journal has %v, %v", records, err)
	}
	run(t, c, "ip", "address", "add", "169.254.169.254/32", "dev", "lo")
	listener, err := c.Listen("169.254.169.254:80")
	if err != nil {
		t.Fatal(err)
	}
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "metadata") }))
	defer listener.Close()
	if got := run(t, c, "bash", "-c", `exec 3<>/dev/tcp/169.254.169.254/80; printf 'GET / HTTP/1.0\r\n\r\n' >&3; cat <&3`); !strings.HasSuffix(got, "metadata") {
		t.Errorf("it was answered %q", got)
	}
	if traces(t) == "" {
		t.Error("no trace of a container that runs: its group is not found")
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	if left := traces(t); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", c.pid)); !os.IsNotExist(err) {
		t.Errorf("PID 1 is left: %v", err)
	}
}

// A root that cannot be run is said, and leaves nothing.
func TestStartFails(t *testing.T) {
	need.Namespaces(t)
	c, err := Start(t.TempDir())
	if err == nil {
		c.Stop()
		t.Fatal("an empty directory was started")
	}
	if !strings.Contains(err.Error(), "/proc") {
		t.Errorf("it says %v", err)
	}
	if left := traces(t); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
}
