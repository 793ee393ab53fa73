package releases

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/release"
)

const instance = "i-0fee1dead00000001"

// A host is a booted release with the metadata service at its address, alice's
// account, and a key in her authorized_keys.
type host struct {
	*release.Container
	t      *testing.T
	suite  string
	aws    *emulator.Server
	static string // the key in authorized_keys
	other  string // the key that another AuthorizedKeysCommand gives
	keys   int
}

func newHost(t *testing.T, recipe release.Recipe) *host {
	t.Helper()
	root, err := recipe.Root(os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := release.Boot(root)
	if err != nil {
		t.Fatal(err)
	}
	h := &host{Container: c, t: t, suite: recipe.Suite}
	t.Cleanup(func() {
		if t.Failed() {
			journal, _ := c.Run("journalctl", "--no-pager", "--lines=60", "--output=short-precise")
			t.Logf("the journal:\n%s", journal)
		}
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	h.aws, err = emulator.New(emulator.Options{Instances: []emulator.Instance{{ID: instance}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.aws.Close)
	h.must("ip", "address", "add", "169.254.169.254/32", "dev", "lo")
	listener, err := c.Listen("169.254.169.254:80")
	if err != nil {
		t.Fatal(err)
	}
	service := &http.Server{Handler: h.aws.IMDSHandler(instance)}
	go service.Serve(listener)
	t.Cleanup(func() { service.Close() })

	// Without UsePAM a locked account has no key either.
	h.must("useradd", "--create-home", "--shell", "/bin/bash", "--password", "*", "alice")
	var public string
	h.static, public = h.newKey()
	h.write("/home/alice/.ssh/authorized_keys", public+"\n")
	h.must("chown", "-R", "alice:", "/home/alice/.ssh")
	h.must("sh", "-c", `for key in /etc/ssh/ssh_host_*_key.pub; do printf '127.0.0.1 '; cat "$key"; done >/root/known_hosts`)
	return h
}

// must runs a program that has to succeed. It returns what that printed.
func (h *host) must(name string, args ...string) string {
	h.t.Helper()
	out, err := h.Run(name, args...)
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// exits runs a program that has to exit with that code.
func (h *host) exits(code int, name string, args ...string) string {
	h.t.Helper()
	out, err := h.Run(name, args...)
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != code {
		h.t.Errorf("%s %q: %v, want exit status %d\n%s", name, args, err, code, out)
	}
	return out
}

func (h *host) write(path, content string) {
	h.t.Helper()
	path = path[1:]
	if err := errors.Join(h.Files.MkdirAll(filepath.Dir(path), 0o755), h.Files.WriteFile(path, []byte(content), 0o644)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) newKey() (path, public string) {
	h.t.Helper()
	h.keys++
	path = fmt.Sprintf("/root/key%d", h.keys)
	h.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path)
	return path, strings.TrimSpace(h.must("cat", path+".pub"))
}

// install installs the package, and trusts the emulator.
func (h *host) install(version string) {
	h.t.Helper()
	h.installed(version)
	h.trust()
}

// trust has the agent trust the emulator.
func (h *host) trust() {
	h.t.Helper()
	h.write("/etc/eic-agent/test-roots.pem", string(h.aws.RootsPEM()))
	h.write("/etc/eic-agent/config.d/00-test.toml", "[instance]\nattest = \"imds\"\n[trust]\nroots = \"/etc/eic-agent/test-roots.pem\"\n")
}

// installed installs the package. It returns what is said.
func (h *host) installed(version string) string {
	h.t.Helper()
	content, err := os.ReadFile(deb(version))
	if err != nil {
		h.t.Fatal(err)
	}
	path := "/tmp/eic-agent_" + version + ".deb"
	h.write(path, string(content))
	return h.must("dpkg", "--install", path)
}

// push pushes a new key for alice. It returns the private key and the request.
func (h *host) push() (key, request string) {
	h.t.Helper()
	key, public := h.newKey()
	statement, err := h.aws.Push(instance, "alice", public, emulator.DefaultCallerARN)
	if err != nil {
		h.t.Fatal(err)
	}
	return key, statement.Request
}

// ssh is the command line that logs alice in with the key and runs a command.
func (h *host) ssh(key string, command ...string) []string {
	return append([]string{"ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "UserKnownHostsFile=/root/known_hosts",
		"-i", key, "alice@127.0.0.1"}, command...)
}

func (h *host) tryLogin(key string) (string, error) {
	args := h.ssh(key, "id", "-un")
	return h.Run(args[0], args[1:]...)
}

func (h *host) login(key string) {
	h.t.Helper()
	// ssh may warn of what the server has.
	if out, err := h.tryLogin(key); err != nil || !strings.HasSuffix(out, "alice\n") {
		h.t.Errorf("no login with %s: %v, %s", key, err, out)
	}
}

func (h *host) noLogin(key string) {
	h.t.Helper()
	if out, err := h.tryLogin(key); err == nil || !strings.Contains(out, "Permission denied (publickey") {
		h.t.Errorf("login with %s: %v, %s; want permission denied", key, err, out)
	}
}

// A session is one that is open.
type session struct {
	h      *host
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.Reader
	stderr strings.Builder
}

// open opens a session that answers what it is asked.
func (h *host) open(key string) *session {
	h.t.Helper()
	args := h.ssh(key, "cat")
	s := &session{h: h, cmd: h.Command(h.t.Context(), args[0], args[1:]...)}
	in, err := s.cmd.StdinPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	s.in, s.out, s.cmd.Stderr = in, out, &s.stderr
	if err := s.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	s.alive("at its start")
	return s
}

func (s *session) alive(when string) {
	s.h.t.Helper()
	answer := make([]byte, len(when))
	_, asked := io.WriteString(s.in, when)
	if _, err := io.ReadFull(s.out, answer); asked != nil || err != nil {
		s.h.t.Fatalf("the open session is dead %s: %v, %v; ssh says %s", when, asked, err, &s.stderr)
	}
}

func (s *session) close() {
	s.h.t.Helper()
	s.in.Close()
	if err := s.cmd.Wait(); err != nil {
		s.h.t.Errorf("the open session: %v: %s", err, &s.stderr)
	}
}

// decode runs eicctl, whatever it exits with, and reads the JSON that it prints.
func (h *host) decode(into any, args ...string) {
	h.t.Helper()
	cmd := h.Command(h.t.Context(), "eicctl", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, _ := cmd.Output()
	if err := json.Unmarshal(out, into); err != nil {
		h.t.Fatalf("eicctl %q: %v\n%s%s", args, err, out, &stderr)
	}
}

// snapshot tells all of a directory: names, kinds, modes, owners, targets and content,
// but for what the programs that write the accounts keep of before.
func (h *host) snapshot(dir string) string {
	h.t.Helper()
	return h.must("sh", "-c", `cd "$1" && find . ! -name '*-' -printf '%p %y %m %U:%G %l\n' | sort && find . -type f ! -name '*-' -exec sha256sum {} + | sort -k2`, "sh", dir)
}

// same says which lines are not in both.
func (h *host) same(what, before, now string) {
	h.t.Helper()
	count := map[string]int{}
	for line := range strings.Lines(before) {
		count[line]--
	}
	for line := range strings.Lines(now) {
		count[line]++
	}
	for line, n := range count {
		if n != 0 {
			h.t.Errorf("%s: not as before (%+d): %s", what, n, line)
		}
	}
}
