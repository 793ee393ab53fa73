// Package e2e logs in through the agent as its users would: a real client of the
// API, a real sshd, a real ssh, a real journald.
package e2e

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/host"
)

// w is the world of all tests here: one private host with one emulated instance.
var w *world

type world struct {
	*host.Host
	emulator *emulator.Server
	sshd     *host.SSHD
	journald *os.Process
	clock    atomic.Int64 // nanoseconds that the emulator's clock is ahead
	keys     atomic.Int64
	users    atomic.Int64
}

// The agent as sshd runs it.
const (
	authkeys   = host.BinDir + "/eic-authkeys"
	agentUser  = "eic-agent"
	configPath = "/etc/eic-agent/emulator.toml"
)

func TestMain(m *testing.M) {
	os.Exit(host.Main(m, func(h *host.Host) (err error) {
		w, err = furnish(h)
		return err
	}, "cmd/eic-authkeys", "cmd/eic-serial-getty", "cmd/eicctl", "test/logins"))
}

func furnish(h *host.Host) (*world, error) {
	w := &world{Host: h}
	journald, err := h.StartJournald()
	if err != nil {
		return nil, err
	}
	w.journald = journald
	if err := h.AddSystemUser(agentUser); err != nil {
		return nil, err
	}
	for _, cidr := range []string{"169.254.169.254/32", "fd00:ec2::254/128"} {
		if err := h.AddAddress(cidr); err != nil {
			return nil, err
		}
	}
	server, err := emulator.New(emulator.Options{
		Permissive: true,
		APIAddress: "127.0.0.1:4566",
		Instances:  []emulator.Instance{{ID: emulator.DefaultInstanceID, Zone: emulator.DefaultZone, IMDSAddress: "127.0.0.1:1338"}},
		Now:        func() time.Time { return time.Now().Add(time.Duration(w.clock.Load())) },
	})
	if err != nil {
		return nil, err
	}
	w.emulator = server
	if err := server.Listen(); err != nil {
		return nil, err
	}
	go server.Serve(context.Background())
	if err := os.MkdirAll("/etc/eic-agent", 0o755); err != nil {
		return nil, err
	}
	if err := server.WriteConfig(configPath); err != nil {
		return nil, err
	}
	w.sshd, err = h.StartSSHD(agentLines(configPath)...)
	return w, err
}

// serveEmulator starts an emulator of a test's own, which the test closes.
func serveEmulator(t *testing.T, options emulator.Options) *emulator.Server {
	t.Helper()
	server, err := emulator.New(options)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(); err != nil {
		server.Close()
		t.Fatal(err)
	}
	go server.Serve(context.Background())
	return server
}

// agentLines are sshd's configuration for the agent.
func agentLines(config string) []string {
	return []string{
		"AuthorizedKeysCommand " + authkeys + " --config " + config + " %u %f",
		"AuthorizedKeysCommandUser " + agentUser,
	}
}

// newUser adds an account of its own to a test.
func (w *world) newUser(t *testing.T) (name, home string) {
	t.Helper()
	name = fmt.Sprintf("user%d", w.users.Add(1))
	home, err := w.AddUser(name)
	if err != nil {
		t.Fatal(err)
	}
	return name, home
}

func (w *world) newKey(t *testing.T, keyType string, bits int) (path, public string) {
	t.Helper()
	path, public, err := w.NewKey(fmt.Sprintf("key%d", w.keys.Add(1)), keyType, bits)
	if err != nil {
		t.Fatal(err)
	}
	return path, public
}

// push pushes a key with the AWS SDK and returns the request id.
func (w *world) push(t *testing.T, user, public string) string {
	t.Helper()
	client := ec2instanceconnect.New(ec2instanceconnect.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(w.emulator.APIURL()),
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	out, err := client.SendSSHPublicKey(t.Context(), &ec2instanceconnect.SendSSHPublicKeyInput{
		InstanceId: aws.String(emulator.DefaultInstanceID), InstanceOSUser: aws.String(user), SSHPublicKey: aws.String(public),
	})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.RequestId)
}

// records returns the journal's records of a user with that event.
func (w *world) records(t *testing.T, user, event string) []host.Record {
	t.Helper()
	records, err := w.Records("EIC_USER="+user, "EIC_EVENT="+event)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func (w *world) login(t *testing.T, user string, keys ...string) {
	t.Helper()
	out, err := w.sshd.SSH(user, "id -un", keys...)
	if err != nil {
		t.Fatalf("could not log in: %v", err)
	}
	if strings.TrimSpace(out) != user {
		t.Errorf("logged in as %q, want %q", out, user)
	}
}

func (w *world) noLogin(t *testing.T, user string, keys ...string) {
	t.Helper()
	_, err := w.sshd.SSH(user, "id -un", keys...)
	if err == nil || !strings.Contains(err.Error(), "Permission denied (publickey)") {
		t.Errorf("ssh: %v, want permission denied", err)
	}
}

func TestPushedKeyLogsIn(t *testing.T) {
	user, _ := w.newUser(t)
	key, public := w.newKey(t, "ed25519", 0)
	w.noLogin(t, user, key)
	request := w.push(t, user, public)
	w.login(t, user, key)

	provided := w.records(t, user, "key-provided")
	if len(provided) != 2 {
		t.Fatalf("%d records, want 2: sshd asks twice", len(provided))
	}
	accepted, err := w.Records(host.SSHDRecords...)
	if err != nil {
		t.Fatal(err)
	}
	var acceptedBy string
	for _, r := range accepted {
		if strings.HasPrefix(r.Field("MESSAGE"), "Accepted publickey for "+user+" ") {
			acceptedBy = r.Field("_PID")
		}
	}
	for _, r := range provided {
		for field, want := range map[string]string{
			"SYSLOG_IDENTIFIER": "eic-authkeys", "SYSLOG_FACILITY": "10", "PRIORITY": "6", "MESSAGE_ID": "2ea351bf60cd4858a07618f84059970c",
			"EIC_EVENT": "key-provided", "EIC_USER": user, "EIC_KEY_TYPE": "ssh-ed25519", "EIC_CALLER": emulator.DefaultCallerARN,
			"EIC_REQUEST_ID": request, "EIC_INSTANCE_ID": emulator.DefaultInstanceID, "EIC_SSHD_PID": acceptedBy,
		} {
			if got := r.Field(field); got != want || want == "" {
				t.Errorf("%s=%q, want %q", field, got, want)
			}
		}
		fingerprint := r.Field("EIC_FINGERPRINT")
		if !strings.HasPrefix(fingerprint, "SHA256:") || !strings.Contains(r.Field("MESSAGE"), fingerprint) || !strings.HasPrefix(r.Field("EIC_FINGERPRINT_MD5"), "MD5:") {
			t.Errorf("fingerprints %q and %q, message %q", fingerprint, r.Field("EIC_FINGERPRINT_MD5"), r.Field("MESSAGE"))
		}
		expires, err := time.Parse(time.RFC3339, r.Field("EIC_EXPIRES"))
		if left := time.Until(expires); err != nil || left <= 0 || left > time.Minute {
			t.Errorf("EIC_EXPIRES=%q", r.Field("EIC_EXPIRES"))
		}
	}
}

func TestKeyOfAnotherUser(t *testing.T) {
	alice, _ := w.newUser(t)
	bob, _ := w.newUser(t)
	key, public := w.newKey(t, "ed25519", 0)
	w.push(t, alice, public)
	w.noLogin(t, bob, key)
	w.login(t, alice, key)
}

func TestSixKeysTheLastIsRight(t *testing.T) {
	user, _ := w.newUser(t)
	var keys []string
	for range 5 {
		key, _ := w.newKey(t, "ed25519", 0)
		keys = append(keys, key)
	}
	key, public := w.newKey(t, "ed25519", 0)
	w.push(t, user, public)
	w.login(t, user, append(keys, key)...)
}

func TestKeyTypes(t *testing.T) {
	for _, c := range []struct {
		keyType string
		bits    int
		refused string
	}{
		{"ed25519", 0, ""}, {"rsa", 2048, ""}, {"rsa", 4096, ""}, {"ecdsa", 256, ""}, {"ecdsa", 384, ""}, {"ecdsa", 521, ""},
		{"rsa", 1024, "key-too-short"},
	} {
		t.Run(fmt.Sprint(c.keyType, c.bits), func(t *testing.T) {
			user, _ := w.newUser(t)
			key, public := w.newKey(t, c.keyType, c.bits)
			w.push(t, user, public)
			if c.refused == "" {
				w.login(t, user, key)
				return
			}
			w.noLogin(t, user, key)
			refused := w.records(t, user, "record-refused")
			if len(refused) == 0 || refused[0].Field("EIC_REASON") != c.refused {
				t.Errorf("refused: %v, want %s", refused, c.refused)
			}
		})
	}
}

func TestCertificateDoesNotLogIn(t *testing.T) {
	user, _ := w.newUser(t)
	ca, _ := w.newKey(t, "ed25519", 0)
	key, _ := w.newKey(t, "ed25519", 0)
	runProgram(t, "ssh-keygen", "-q", "-s", ca, "-I", "id", "-n", user, "-V", "+1h", key+".pub")
	w.push(t, user, readFile(t, key+"-cert.pub"))
	w.noLogin(t, user, key)
	refused := w.records(t, user, "record-refused")
	if len(refused) == 0 || refused[0].Field("EIC_REASON") != "key-type" {
		t.Errorf("refused: %v, want key-type", refused)
	}
}

func TestDSAIsRefused(t *testing.T) {
	user, _ := w.newUser(t)
	// OpenSSH 10 makes no such key.
	public := regexp.MustCompile("(?m)^ssh-dss .*$").FindString(readFile(t, "../vectors/key-dsa.vector"))
	w.push(t, user, public)
	// Today's ssh does not even offer such a key, so the command is asked.
	r := runAgent(t, "--config", configPath, user)
	if r.code != 0 || r.stdout != "" {
		t.Errorf("exit %d, printed %q, said %q", r.code, r.stdout, r.stderr)
	}
	refused := w.records(t, user, "record-refused")
	if len(refused) != 1 || refused[0].Field("EIC_REASON") != "key-type" {
		t.Errorf("refused: %v, want key-type", refused)
	}
}

func TestRefusedRecordsSayWhy(t *testing.T) {
	_, public := w.newKey(t, "ed25519", 0)
	sign := func(t *testing.T, change func(*recordText)) []byte {
		r := recordText{expires: time.Now().Add(time.Minute), instance: emulator.DefaultInstanceID, key: public}
		change(&r)
		return r.signed(t)
	}
	for reason, change := range map[string]func(*recordText){
		"expired":           func(r *recordText) { r.expires = time.Now().Add(-time.Second) },
		"lifetime-too-long": func(r *recordText) { r.expires = time.Now().Add(time.Hour) },
		"wrong-instance":    func(r *recordText) { r.instance = "i-0fedcba9876543210" },
		"bad-signature":     func(r *recordText) { r.tamper = true },
		"malformed":         func(r *recordText) { r.key = "no-pty " + r.key },
	} {
		t.Run(reason, func(t *testing.T) {
			user, _ := w.newUser(t)
			if err := w.emulator.Publish(emulator.DefaultInstanceID, user, sign(t, change)); err != nil {
				t.Fatal(err)
			}
			good, goodPublic := w.newKey(t, "ed25519", 0)
			w.push(t, user, goodPublic)
			r := runAgent(t, "--config", configPath, user)
			if r.code != 0 || r.stdout != goodPublic+"\n" {
				t.Errorf("exit %d, printed %q, said %q, want the good key only", r.code, r.stdout, r.stderr)
			}
			w.login(t, user, good)
			refused := w.records(t, user, "record-refused")
			if len(refused) == 0 || refused[0].Field("EIC_REASON") != reason || refused[0].Field("PRIORITY") != "4" {
				t.Errorf("refused: %v, want %s", refused, reason)
			}
		})
	}
}

func TestKeyExpires(t *testing.T) {
	user, _ := w.newUser(t)
	key, public := w.newKey(t, "ed25519", 0)
	// Pushed 59.5 seconds ago by the emulator's clock.
	w.clock.Store(int64(-59500 * time.Millisecond))
	defer w.clock.Store(0)
	w.push(t, user, public)
	if err := w.Eventually("the key has expired", func() bool {
		return runAgent(t, "--config", configPath, user).stdout == ""
	}); err != nil {
		t.Fatal(err)
	}
	w.noLogin(t, user, key)
	refused := w.records(t, user, "record-refused")
	if len(refused) == 0 || refused[0].Field("EIC_REASON") != "expired" {
		t.Errorf("refused: %v, want expired", refused)
	}
}
