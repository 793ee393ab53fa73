package e2e

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

func withEnv(env ...string) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, env...) }
}

// The agent at the real address, with the board naming the instance and no
// configuration but the root to trust.
func TestDefaultsOnNitro(t *testing.T) {
	const other = "i-0aaaaaaaaaaaaaaaa"
	server := serveEmulator(t, emulator.Options{
		APIAddress: "127.0.0.1:0", AllowRemote: true,
		Instances: []emulator.Instance{{ID: other, Zone: "us-west-2-lax-1a", IMDSAddress: "169.254.169.254:80"}},
	})
	defer server.Close()

	const path = "/etc/eic-agent/config.toml"
	const roots = "/etc/eic-agent/test-roots.pem"
	if err := w.SetFile(roots, string(server.RootsPEM()), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := w.SetFile(path, "[trust]\nroots = \""+roots+"\"\n", 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	user, _ := w.newUser(t)
	key, public := w.newKey(t, "ed25519", 0)
	if _, err := server.Push(other, user, public, "arn:aws:iam::123456789012:user/alice"); err != nil {
		t.Fatal(err)
	}

	// Without a board this is no EC2 instance: not one packet is sent.
	server.ResetRequests()
	if r := runAgent(t, user); r.code != 0 || r.stdout != "" || r.stderr != "" || server.RequestCount() != 0 {
		t.Errorf("no board: exit %d, printed %q, said %q, %d requests", r.code, r.stdout, r.stderr, server.RequestCount())
	}
	setBoard := func(id string) {
		if err := w.SetFile("/sys/devices/virtual/dmi/id/board_asset_tag", id+"\n", 0o444); err != nil {
			t.Fatal(err)
		}
	}
	// One that the agent's account may not read is not none.
	if err := w.SetFile("/sys/devices/virtual/dmi/id/board_asset_tag", other+"\n", 0o400); err != nil {
		t.Fatal(err)
	}
	if r := runAgent(t, user); r.code != 1 || r.stdout != "" || !strings.Contains(r.stderr, "board_asset_tag") || server.RequestCount() != 0 {
		t.Errorf("a sealed board: exit %d, printed %q, said %q, %d requests", r.code, r.stdout, r.stderr, server.RequestCount())
	}
	if failed := w.records(t, user, "run-failed"); len(failed) != 1 || failed[0].Field("EIC_REASON") != "board-unreadable" {
		t.Errorf("a sealed board: failed %v", failed)
	}
	setBoard(emulator.DefaultInstanceID)
	if r := runAgent(t, user); r.code != 0 || r.stdout != "" {
		t.Errorf("another board: exit %d, printed %q, said %q", r.code, r.stdout, r.stderr)
	}
	if refused := w.records(t, user, "record-refused"); len(refused) != 1 || refused[0].Field("EIC_REASON") != "wrong-instance" {
		t.Errorf("another board: refused %v", refused)
	}
	setBoard(other)
	sshd, err := w.StartSSHD("AuthorizedKeysCommand "+authkeys+" %u %f", "AuthorizedKeysCommandUser "+agentUser)
	if err != nil {
		t.Fatal(err)
	}
	defer sshd.Stop()
	server.ResetRequests()
	if _, err := sshd.SSH(user, "true", key); err != nil {
		t.Errorf("this board: %v", err)
	}
	for _, r := range server.Requests() {
		if strings.Contains(r.Path, "instance-id") {
			t.Error("the metadata service was asked which instance this is")
		}
	}

	// A user without keys costs a token and one request.
	server.ResetRequests()
	if r := runAgent(t, "nobody"); r.code != 0 || r.stdout != "" || server.RequestCount() != 2 {
		t.Errorf("user without keys: exit %d, printed %q, %d requests", r.code, r.stdout, server.RequestCount())
	}
	// Names that the API cannot carry cost nothing.
	server.ResetRequests()
	for _, name := range []string{"../x", "a/b", "a\x01", strings.Repeat("a", 33), "", "1234"} {
		if r := runAgent(t, "--", name); r.code != 0 || r.stdout != "" || r.stderr != "" {
			t.Errorf("user %q: exit %d, printed %q, said %q", name, r.code, r.stdout, r.stderr)
		}
	}
	if n := server.RequestCount(); n != 0 {
		t.Errorf("bad user names cost %d requests", n)
	}
}

// Each of the service's addresses, by itself and by "auto", where the other one is
// closed.
func TestEndpoints(t *testing.T) {
	user, _ := w.newUser(t)
	_, public := w.newKey(t, "ed25519", 0)
	w.push(t, user, public)
	for address, endpoint := range map[string]string{"169.254.169.254:80": "http://169.254.169.254", "[fd00:ec2::254]:80": "http://[fd00:ec2::254]"} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		service := &http.Server{Handler: w.emulator.IMDSHandler(emulator.DefaultInstanceID)}
		go service.Serve(listener)
		defer service.Close()
		for _, endpoint := range []string{endpoint, "auto"} {
			if r := runAgent(t, "--config", configure(t, endpoint), user); r.code != 0 || r.stdout != public+"\n" || r.stderr != "" {
				t.Errorf("%s by %s: exit %d, printed %q, said %q", address, endpoint, r.code, r.stdout, r.stderr)
			}
		}
		service.Close()
	}
}

func TestFIPS(t *testing.T) {
	user, _ := w.newUser(t)
	_, public := w.newKey(t, "ed25519", 0)
	w.push(t, user, public)
	r := runAgentWith(t, withEnv("GODEBUG=fips140=only"), "--config", configPath, user, fingerprintOf(t, public))
	if r.code != 0 || r.stdout != public+"\n" {
		t.Errorf("exit %d, printed %q, said %q", r.code, r.stdout, r.stderr)
	}
	provided := w.records(t, user, "key-provided")
	if len(provided) != 1 || provided[0].Field("EIC_FINGERPRINT_MD5") != "" || provided[0].Field("EIC_FINGERPRINT") == "" {
		t.Errorf("the journal has %v, want SHA-256 and no MD5", provided)
	}
}

func fingerprintOf(t *testing.T, public string) string {
	t.Helper()
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(public))
	if err != nil {
		t.Fatal(err)
	}
	return ssh.FingerprintSHA256(key)
}

// sshd before 7.6 closes the pipe when it has found its key.
func TestClosedPipe(t *testing.T) {
	user, _ := w.newUser(t)
	_, public := w.newKey(t, "ed25519", 0)
	w.push(t, user, public)
	r, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer pipe.Close()
	got := runAgentWith(t, func(cmd *exec.Cmd) { cmd.Stdout = pipe }, "--config", configPath, user)
	if got.code != 0 || got.stderr != "" {
		t.Errorf("exit %d, said %q", got.code, got.stderr)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	got = runAgentWith(t, func(cmd *exec.Cmd) { cmd.Stdout = full }, "--config", configPath, user)
	if got.code != 1 || !strings.Contains(got.stderr, "(output-failed)") {
		t.Errorf("full device: exit %d, said %q", got.code, got.stderr)
	}
}

// Nothing is read from standard input, and sshd's options reach its clients.
func TestOptionsAndStdin(t *testing.T) {
	user, _ := w.newUser(t)
	key, public := w.newKey(t, "ed25519", 0)
	w.push(t, user, public)
	config := configure(t, w.emulator.IMDSURL(emulator.DefaultInstanceID), "[keys]", `options = 'restrict,command="echo only this"'`, "expiry_time = true")
	sshd, err := w.StartSSHD(agentLines(config)...)
	if err != nil {
		t.Fatal(err)
	}
	defer sshd.Stop()
	if out, err := sshd.SSH(user, "id", key); err != nil || out != "only this\n" {
		t.Errorf("ssh printed %q, %v", out, err)
	}

	r, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	io.WriteString(pipe, "unread")
	pipe.Close()
	got := runAgentWith(t, func(cmd *exec.Cmd) { cmd.Stdin = r }, "--config", config, user)
	if rest, _ := io.ReadAll(r); got.code != 0 || string(rest) != "unread" {
		t.Errorf("exit %d, left %q on standard input", got.code, rest)
	}
}

func TestUnusableConfiguration(t *testing.T) {
	user, home := w.newUser(t)
	key, public := w.newKey(t, "ed25519", 0)
	w.push(t, user, public)
	good := readFile(t, configPath)
	for name, c := range map[string]struct {
		prepare func(path string)
		says    []string
	}{
		"writable":      {func(p string) { os.WriteFile(p, []byte(good), 0o644); os.Chmod(p, 0o666) }, []string{"is writable by users other than root"}},
		"foreign-owner": {func(p string) { os.WriteFile(p, []byte(good), 0o644); os.Chown(p, int(credential(t).Uid), 0) }, []string{"not root"}},
		"link-to-writable": {func(p string) {
			os.WriteFile(p+".target", []byte(good), 0o644)
			os.Chmod(p+".target", 0o664)
			os.Symlink(p+".target", p)
		}, []string{".target is writable by users other than root"}},
		"missing":     {func(string) {}, []string{"no such file"}},
		"malformed":   {func(p string) { os.WriteFile(p, []byte("[imds\n"), 0o644) }, []string{"line 1"}},
		"unknown-key": {func(p string) { os.WriteFile(p, []byte(good+"\n[users]\nfoo = 1\n"), 0o644) }, []string{"unknown key", "users.foo", "line "}},
		"bad-roots":   {func(p string) { os.WriteFile(p, []byte(strings.ReplaceAll(good, ".pem", ".none")), 0o644) }, []string{"trust.roots", "no such file"}},
		"wrong-type":  {func(p string) { os.WriteFile(p, []byte("[keys]\nmin_rsa_bits = \"many\"\n"), 0o644) }, []string{"line 2", "keys.min_rsa_bits"}},
		"directory":   {func(p string) { os.Mkdir(p, 0o755) }, []string{"not a regular file"}},
		"fifo":        {func(p string) { unix.Mkfifo(p, 0o644) }, []string{"not a regular file"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := "/etc/eic-agent/bad-" + name + ".toml"
			c.prepare(path)
			r := runAgent(t, "--config", path, user)
			if r.code != 1 || r.stdout != "" || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, "(config)") {
				t.Errorf("exit %d, printed %q, said %q", r.code, r.stdout, r.stderr)
			}
			for _, part := range c.says {
				if !strings.Contains(r.stderr, part) {
					t.Errorf("said %q, want it to name %q", r.stderr, part)
				}
			}
			sshd, err := w.StartSSHD(agentLines(path)...)
			if err != nil {
				t.Fatal(err)
			}
			defer sshd.Stop()
			if _, err := sshd.SSH(user, "true", key); err == nil {
				t.Error("somebody was let in by it")
			}
			static, staticPublic := w.newKey(t, "ed25519", 0)
			authorize(t, user, home, staticPublic)
			if _, err := sshd.SSH(user, "true", static); err != nil {
				t.Errorf("the key in authorized_keys: %v", err)
			}
		})
	}
}

// A security key in software. The real one signs a hash of its application, a
// flag for the touch, a counter, and a hash of the message (PROTOCOL.u2f of
// OpenSSH).
type softwareSK struct {
	public ssh.PublicKey
	sign   func(message []byte) ([]byte, error) // gives the blob of the signature
}

func newSoftwareEd25519(t *testing.T) *softwareSK {
	t.Helper()
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	blob := ssh.Marshal(struct {
		Type string
		Key  []byte
		App  string
	}{ssh.KeyAlgoSKED25519, pub, "ssh:"})
	return &softwareSK{parseKey(t, blob), func(message []byte) ([]byte, error) { return ed25519.Sign(private, message), nil }}
}

func newSoftwareECDSA(t *testing.T) *softwareSK {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	blob := ssh.Marshal(struct {
		Type, Curve string
		Point       []byte
		App         string
	}{ssh.KeyAlgoSKECDSA256, "nistp256", point, "ssh:"})
	return &softwareSK{parseKey(t, blob), func(message []byte) ([]byte, error) {
		digest := sha256.Sum256(message)
		r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
		return ssh.Marshal(struct{ R, S *big.Int }{r, s}), err
	}}
}

func parseKey(t *testing.T, blob []byte) ssh.PublicKey {
	t.Helper()
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (s *softwareSK) PublicKey() ssh.PublicKey { return s.public }

func (s *softwareSK) Sign(_ io.Reader, message []byte) (*ssh.Signature, error) {
	app, digest := sha256.Sum256([]byte("ssh:")), sha256.Sum256(message)
	rest := append([]byte{1}, binary.BigEndian.AppendUint32(nil, 7)...)
	blob, err := s.sign(append(append(app[:], rest...), digest[:]...))
	return &ssh.Signature{Format: s.public.Type(), Blob: blob, Rest: rest}, err
}

func TestSecurityKeys(t *testing.T) {
	for _, key := range []*softwareSK{newSoftwareEd25519(t), newSoftwareECDSA(t)} {
		user, _ := w.newUser(t)
		w.push(t, user, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.public))))
		client, err := ssh.Dial("tcp", w.sshd.Address(), &ssh.ClientConfig{
			User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 10 * time.Second,
		})
		if err != nil {
			t.Errorf("%s: %v", key.public.Type(), err)
			continue
		}
		client.Close()
	}
}

// Runs last of this file's tests by name and restores what it stops.
func TestJournaldStopped(t *testing.T) {
	out := strings.TrimSpace(runProgram(t, "sh", "-c", "for p in /proc/[0-9]*; do case $(readlink $p/exe) in */systemd-journald) basename $p ;; esac; done"))
	journald := 0
	for _, c := range out {
		journald = journald*10 + int(c-'0')
	}
	if journald <= 1 {
		t.Fatalf("journald is not running: %q", out)
	}
	user, _ := w.newUser(t)
	key, public := w.newKey(t, "ed25519", 0)
	w.push(t, user, public)
	// sshd itself waits for a journald that is frozen, so it has another log.
	sshd, err := w.StartSSHD(append(agentLines(configPath), "LogLevel QUIET")...)
	if err != nil {
		t.Fatal(err)
	}
	defer sshd.Stop()
	if err := unix.Kill(journald, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer unix.Kill(journald, unix.SIGCONT)
	// Its queue is full before the last ten.
	fastest := time.Hour
	for i := range 30 {
		r := runAgent(t, "--config", configPath, user)
		if r.code != 0 || r.stdout != public+"\n" {
			t.Fatalf("exit %d, printed %q, said %q", r.code, r.stdout, r.stderr)
		}
		if i >= 20 {
			fastest = min(fastest, r.took)
		}
	}
	if fastest > time.Second {
		t.Errorf("with journald frozen the fastest run took %v", fastest)
	}
	if _, err := sshd.SSH(user, "true", key); err != nil {
		t.Errorf("with journald frozen: %v", err)
	}
}
