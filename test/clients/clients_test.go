//go:build clients

package clients

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/test/kept"
	"github.com/eic-agent/eic-agent/test/need"
	"github.com/eic-agent/eic-agent/test/pages"
	"github.com/eic-agent/eic-agent/test/release"
)

// patience bounds a script. It is a last resort: on a busy machine the aws command
// takes ten seconds a call.
const patience = 30 * time.Minute

// programs is the directory of the project's programs.
var programs string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "eic-clients-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "build", "-o", dir+"/", "../../cmd/eic-emulator", "../../cmd/eic-authkeys")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	programs = dir
	return m.Run(), nil
}

// recipe is a system with the clients that Debian packages.
func recipe(suite string) release.Recipe {
	return release.Recipe{Suite: suite, Kind: "clients", Packages: []string{
		"awscli", "ca-certificates", "cloud-init", "curl", "iproute2", "openssh-client", "openssh-server", "procps",
	}}
}

// system starts a copy of a release's root with the project's programs in it.
func system(t *testing.T, suite string) *release.Container {
	t.Helper()
	need.Namespaces(t)
	for _, program := range []string{"mmdebstrap", "nsenter", "ip"} {
		need.Program(t, program)
	}
	root, err := recipe(suite).Root(os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := release.Start(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{"eic-emulator", "eic-authkeys"} {
		data, err := os.ReadFile(filepath.Join(programs, name))
		if err == nil {
			err = c.Files.WriteFile("usr/bin/"+name, data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// script runs a shell script in a system. It fails unless the script ends with "done".
func script(t *testing.T, c *release.Container, text string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := c.Command(ctx, "sh", "-c", text)
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "done\n") {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestAWSCommand calls every service with the aws command of each release.
func TestAWSCommand(t *testing.T) {
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) {
			t.Log(script(t, system(t, suite), read(t, "testdata/aws.sh")))
		})
	}
}

// TestTunnel logs in through an EC2 Instance Connect Endpoint: the aws command opens the
// tunnel, and sshd asks eic-authkeys. The aws command of bookworm cannot do so yet.
func TestTunnel(t *testing.T) {
	for _, command := range pages.Indented(pages.Section(t, "../../docs/emulator.md", "Tunnel through an EC2 Instance Connect Endpoint")) {
		if !strings.Contains(read(t, "testdata/tunnel.sh"), command) {
			t.Errorf("testdata/tunnel.sh does not have the page's %q", command)
		}
	}
	t.Log(script(t, system(t, "trixie"), read(t, "testdata/tunnel.sh")))
}

// TestPipeline does what the page has for pipelines that build images: the sshd of a
// root file system takes a pushed key.
func TestPipeline(t *testing.T) {
	const sshd = `set -eu
useradd --create-home --password '*' --shell /bin/sh ec2-user
ssh-keygen -A >/dev/null
mkdir -p /run/sshd /etc/eic-agent ~/.ssh
echo 'StrictHostKeyChecking accept-new' >~/.ssh/config
/usr/sbin/sshd -p 2222 -o 'AuthorizedKeysCommand=/usr/bin/eic-authkeys %u %f' -o AuthorizedKeysCommandUser=nobody -o UsePAM=no
cd "$(mktemp -d)"
`
	commands := strings.Join(pages.Indented(pages.Section(t, "../../docs/emulator.md", "In a pipeline that builds images")), "\n")
	t.Log(script(t, system(t, "bookworm"), sshd+commands+"\npkill eic-emulator\npkill sshd\necho done\n"))
}

// TestCloudInit has cloud-init's Ec2 datasource read the metadata service at its own
// address.
func TestCloudInit(t *testing.T) {
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) {
			t.Log(script(t, system(t, suite), read(t, "testdata/cloud-init.sh")))
		})
	}
}

// TestNewcomer follows the README from a shell as root on bookworm, whose aws command
// does not know AWS_ENDPOINT_URL.
func TestNewcomer(t *testing.T) {
	commands := pages.Indented(pages.Section(t, "../../README.md", "Without AWS"))
	c := system(t, "bookworm")
	text := "set -eu; mkdir /src; cd /src; ln -s /usr/bin bin; mkdir -p $HOME/.ssh; ssh-keygen -q -t ed25519 -N '' -f $HOME/.ssh/id_ed25519\n"
	for _, command := range commands {
		switch line := command; {
		case strings.HasPrefix(line, "make "): // the programs are there
		case strings.HasPrefix(line, "bin/eic-emulator serve"):
			// What it prints is what a person copies into the next terminal.
			text += strings.SplitN(line, "#", 2)[0] + " >/run/exports &\nuntil grep -q DEFAULT_REGION /run/exports; do sleep 0.1; done; . /run/exports\n"
		default:
			text += line + "\n"
		}
	}
	out := script(t, c, text+"kill $!; wait; cat $HOME/.ssh/id_ed25519.pub; echo done\n")
	key := regexp.MustCompile(`(?m)^ssh-ed25519 \S+`).FindAllString(out, -1)
	if len(key) != 3 || key[0] != key[1] || key[1] != key[2] || !strings.Contains(out, "\n#Caller=arn:aws:iam::123456789012:user/test\n") {
		t.Errorf("the key that was pushed does not come out:\n%s", out)
	}
}

// TestJavaScript uses the AWS SDK for JavaScript, of the versions in testdata/package.json.
func TestJavaScript(t *testing.T) {
	node, npm := need.Program(t, "node"), need.Program(t, "npm")
	const old = "process.exit(Number(process.versions.node.split('.')[0]) < 20 ? 1 : 0)"
	if err := exec.CommandContext(t.Context(), node, "-e", old).Run(); err != nil {
		need.Missing(t, "the SDK needs Node.js 20 or later, such as that of Debian 13: %v", err)
	}
	versions := read(t, "testdata/package.json")
	sum := sha256.Sum256([]byte(versions))
	modules := filepath.Join(release.CacheDir(), "javascript-"+hex.EncodeToString(sum[:8]))
	if _, err := kept.Dir(modules, func(dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(versions), 0o644); err != nil {
			return err
		}
		out, err := exec.CommandContext(t.Context(), npm, "install", "--prefix", dir, "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock").CombinedOutput()
		if err != nil {
			return fmt.Errorf("npm: %w\n%s", err, out)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	ready := filepath.Join(t.TempDir(), "ready")
	server := exec.Command(filepath.Join(programs, "eic-emulator"), "serve", "--api", "127.0.0.1:0", "--imds", "127.0.0.1:0", "--ready-file", ready)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}()
	if err := release.Await("the emulator serves", func() (bool, error) {
		_, err := os.Stat(ready)
		return err == nil, nil
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", `. "$1"; exec "$2" testdata/sdk.cjs`, "sh", ready, node)
	cmd.Env = append(os.Environ(), "NODE_NO_WARNINGS=1", "NODE_PATH="+filepath.Join(modules, "node_modules"), "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "done\n" {
		t.Errorf("%v\n%s", err, out)
	}
}
