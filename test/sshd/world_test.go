// Package sshd turns eic-authkeys on and off in a real sshd with eicctl, as
// distributions ship its configuration, on a private host.
package sshd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/host"
)

const (
	authkeys  = host.BinDir + "/eic-authkeys"
	eicctl    = host.BinDir + "/eicctl"
	agentUser = "eic-agent"
	config    = "/etc/eic-agent/config.toml"
	settings  = "/etc/eic-agent/config.d/00-eicctl-sshd.toml"
	units     = "/run/units"
	port      = "2222"
)

// w is the world of all tests here.
var w *world

type world struct {
	*host.Host
	emulator *emulator.Server
	hostKeys string // their directory
	users    int
}

func TestMain(m *testing.M) {
	os.Exit(host.Main(m, func(h *host.Host) (err error) {
		w, err = furnish(h)
		return err
	}, "cmd/eic-authkeys", "cmd/eicctl"))
}

func furnish(h *host.Host) (*world, error) {
	w := &world{Host: h, hostKeys: h.Path("host-keys")}
	if _, err := h.StartJournald(); err != nil {
		return nil, err
	}
	for _, dir := range []string{"/var/lib", "/usr/lib/systemd/system"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{agentUser, "ec2-instance-connect"} {
		if err := h.AddSystemUser(name); err != nil {
			return nil, err
		}
	}
	server, err := emulator.New(emulator.Options{
		Permissive: true,
		Instances:  []emulator.Instance{{ID: emulator.DefaultInstanceID, Zone: emulator.DefaultZone, IMDSAddress: "127.0.0.1:1338"}},
	})
	if err != nil {
		return nil, err
	}
	w.emulator = server
	if err := server.Listen(); err != nil {
		return nil, err
	}
	go server.Serve(context.Background())
	if err := os.Mkdir(w.hostKeys, 0o755); err != nil {
		return nil, err
	}
	for _, kind := range []string{"rsa", "ecdsa", "ed25519"} {
		key := w.hostKeys + "/ssh_host_" + kind + "_key"
		if out, err := exec.Command("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", key).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
	}
	stub, err := os.ReadFile("systemctl")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(host.BinDir+"/systemctl", stub, 0o755); err != nil {
		return nil, err
	}
	return w, unix.Mount(host.BinDir+"/systemctl", "/usr/bin/systemctl", "", unix.MS_BIND, "")
}

// A machine is the private host as one distribution sets it up.
type machine struct {
	t    *testing.T
	unit string
}

// newMachine sets the host up with the files of testdata/name, and starts its sshd.
// It is taken down with the test.
func newMachine(t *testing.T, name string, prepare ...func(m *machine)) *machine {
	t.Helper()
	m := &machine{t: t, unit: "ssh.service"}
	for _, dir := range []string{"/etc/ssh", "/etc/eic-agent", "/etc/systemd/system", units, "/var/lib/eic-agent", "/run/sshd", "/run/systemd/system", "/etc/default/ssh", "/etc/sysconfig/sshd"} {
		m.must(os.RemoveAll(dir))
	}
	for _, dir := range []string{"/etc/eic-agent", "/etc/systemd/system", units, "/run/systemd/system"} {
		m.must(os.MkdirAll(dir, 0o755))
	}
	left, err := filepath.Glob("/usr/lib/systemd/system/*")
	m.must(err)
	for _, path := range left {
		m.must(os.RemoveAll(path))
	}
	m.must(os.CopyFS("/", os.DirFS(filepath.Join("testdata", name))))
	if name == "debian12" {
		// It is empty there, and git keeps no empty directory.
		m.must(os.MkdirAll("/etc/ssh/sshd_config.d", 0o755))
	}
	m.run("cp", "-a", w.hostKeys+"/.", "/etc/ssh")
	if _, err := os.Stat("/usr/lib/systemd/system/sshd.service"); err == nil {
		m.unit = "sshd.service"
		m.must(os.Chmod("/etc/ssh/sshd_config", 0o600))
	}
	if _, err := os.Stat("/usr/lib/systemd/system/ssh.socket"); err == nil {
		m.write(units+"/socket", "ssh.socket")
	}
	m.write(units+"/name", m.unit)
	m.write(units+"/killmode", "process")
	for _, file := range []string{"/etc/default/ssh", "/etc/sysconfig/sshd"} {
		if _, err := os.Stat(file); err == nil {
			m.write(file, "SSHD_OPTS='-p "+port+" -o ListenAddress=127.0.0.1'\nOPTIONS=\"$SSHD_OPTS\"\n")
		}
	}
	m.must(w.emulator.WriteConfig(config))
	// Nothing is there that was made this instant: times have to be restored.
	m.run("sh", "-c", "find /etc/ssh /etc/eic-agent -exec touch -d '2026-01-02 03:04:05.678' {} +")
	for _, p := range prepare {
		p(m)
	}
	m.run("systemctl", "daemon-reload")
	m.run("systemctl", "start", m.unit)
	t.Cleanup(func() { exec.Command("systemctl", "stop", m.unit).Run() })
	m.write(units+"/log", "")
	return m
}

func (m *machine) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) write(path, text string) {
	m.t.Helper()
	m.must(os.MkdirAll(filepath.Dir(path), 0o755))
	m.must(os.WriteFile(path, []byte(text), 0o644))
}

// rewrite is write for a file that then has the time that newMachine gives to all.
func (m *machine) rewrite(path, text string) {
	m.t.Helper()
	m.write(path, text)
	m.run("touch", "-d", "2026-01-02 03:04:05.678", path)
}

func (m *machine) read(path string) string {
	m.t.Helper()
	text, err := os.ReadFile(path)
	m.must(err)
	return string(text)
}

func (m *machine) run(name string, args ...string) string {
	m.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
	return string(out)
}

// pid returns the main process of sshd, "" where it does not run.
func (m *machine) pid() string {
	text, _ := os.ReadFile(units + "/pid")
	return strings.TrimSpace(string(text))
}

// A result is what became of an eicctl.
type result struct {
	code           int
	stdout, stderr string
}

func (m *machine) eicctl(args ...string) result {
	m.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(eicctl, append([]string{"sshd"}, args...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, ok := err.(*exec.ExitError); err != nil && !ok {
		m.t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// enable runs eicctl sshd enable, which has to end with code.
func (m *machine) enable(code int, args ...string) result {
	m.t.Helper()
	r := m.eicctl(append([]string{"enable", "--program", authkeys}, args...)...)
	if r.code != code {
		m.t.Fatalf("enable: exit %d, want %d\n%s%s", r.code, code, r.stdout, r.stderr)
	}
	return r
}

func (m *machine) disable(code int) result {
	m.t.Helper()
	r := m.eicctl("disable")
	if r.code != code {
		m.t.Fatalf("disable: exit %d, want %d\n%s%s", r.code, code, r.stdout, r.stderr)
	}
	return r
}

// status runs eicctl sshd status, which has to end with code.
func (m *machine) status(code int) (report struct {
	Outcome   string
	Problem   string
	Warnings  []string
	Effective struct{ Command, User, How string }
}) {
	m.t.Helper()
	r := m.eicctl("status", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != code {
		m.t.Fatalf("status: exit %d, want %d, %v\n%s%s", r.code, code, err, r.stdout, r.stderr)
	}
	return report
}

// A snapshot is what stands in directories: mode, owner, time and contents of each
// file, by path.
type snapshot map[string]string

func (m *machine) snapshot() snapshot {
	m.t.Helper()
	s := make(snapshot)
	for _, dir := range []string{"/etc/ssh", "/etc/eic-agent", "/etc/systemd/system", "/usr/lib/systemd/system"} {
		m.must(filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			st, err := os.Lstat(path)
			if err != nil {
				return err
			}
			system := st.Sys().(*syscall.Stat_t)
			text := fmt.Sprint(st.Mode(), system.Uid, system.Gid)
			if st.Mode().IsRegular() {
				content, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				text += fmt.Sprint(st.ModTime(), string(content))
			}
			s[path] = text
			return nil
		}))
	}
	return s
}

// same fails the test unless everything stands as it stood.
func (m *machine) same(before snapshot) {
	m.t.Helper()
	after := m.snapshot()
	for path, text := range before {
		if after[path] != text {
			m.t.Errorf("%s is now\n%q, it was\n%q", path, after[path], text)
		}
	}
	for path := range after {
		if _, was := before[path]; !was {
			m.t.Errorf("%s is new", path)
		}
	}
}

// newUser adds an account that can be logged in to.
func (m *machine) newUser() string {
	m.t.Helper()
	w.users++
	name := fmt.Sprintf("user%d", w.users)
	_, err := w.AddUser(name)
	m.must(err)
	return name
}

// newKey makes a key.
func (m *machine) newKey() (path, public string) {
	m.t.Helper()
	w.users++
	path, public, err := w.NewKey(fmt.Sprintf("key%d", w.users), "ed25519", 0)
	m.must(err)
	return path, public
}

func (m *machine) push(user, public string) {
	m.t.Helper()
	_, err := w.emulator.Push(emulator.DefaultInstanceID, user, public, emulator.DefaultCallerARN)
	m.must(err)
}

func (m *machine) sshCommand(user, key, command string) *exec.Cmd {
	return exec.Command("/usr/bin/ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-p", port, "-i", key, user+"@127.0.0.1", command)
}

// login reports whether somebody can log in.
func (m *machine) login(user, key string) bool {
	out, err := m.sshCommand(user, key, "id -un").Output()
	return err == nil && strings.TrimSpace(string(out)) == user
}

// A session is an open ssh session.
type session struct {
	m   *machine
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.Reader
}

// openSession logs in with a key in the user's authorized_keys.
func (m *machine) openSession() *session {
	m.t.Helper()
	user := m.newUser()
	key, public := m.newKey()
	dir := "/home/" + user + "/.ssh"
	m.must(os.Mkdir(dir, 0o755))
	m.write(dir+"/authorized_keys", public+"\n")
	s := &session{m: m, cmd: m.sshCommand(user, key, "echo up; cat")}
	var err error
	s.in, err = s.cmd.StdinPipe()
	m.must(err)
	s.out, err = s.cmd.StdoutPipe()
	m.must(err)
	m.must(s.cmd.Start())
	m.t.Cleanup(func() { s.in.Close(); s.cmd.Wait() })
	s.hears("up\n")
	return s
}

func (s *session) hears(want string) {
	s.m.t.Helper()
	got := make([]byte, len(want))
	timer := time.AfterFunc(host.Patience, func() { s.cmd.Process.Kill() })
	defer timer.Stop()
	if _, err := io.ReadFull(s.out, got); err != nil || string(got) != want {
		s.m.t.Fatalf("the session has %q, %v, want %q", got, err, want)
	}
}

// lives checks that the session goes on.
func (s *session) lives() {
	s.m.t.Helper()
	_, err := io.WriteString(s.in, "still there\n")
	s.m.must(err)
	s.hears("still there\n")
}
