package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	eic "github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"
	"golang.org/x/crypto/ssh"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/need"
)

const ed25519Line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINohITzWz6NQDHgCdHYsQt3t+BsQLWjJiasKh09vNjsC"

// A program is eic-emulator as a process of its own.
type program struct {
	cmd      *exec.Cmd
	stderr   bytes.Buffer
	api      string
	metadata string

	announced string
}

// startProgram starts `eic-emulator serve` on free ports and waits until it
// serves.
func startProgram(t *testing.T, args ...string) *program {
	t.Helper()
	return startProgramBy(t, func(self string, args []string) *exec.Cmd { return exec.Command(self, args...) }, args...)
}

// startProgramBy starts the program by the command that is made for it.
func startProgramBy(t *testing.T, command func(self string, args []string) *exec.Cmd, args ...string) *program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{cmd: command(self, append([]string{"serve", "--api", "127.0.0.1:0", "--imds", "127.0.0.1:0"}, args...))}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	if p.cmd.Env == nil {
		p.cmd.Env = os.Environ()
	}
	p.cmd.Env = append(p.cmd.Env, beProgram+"=1")
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	output := readAnnouncement(t, stdout)
	p.announced = output
	for name, to := range map[string]*string{"AWS_ENDPOINT_URL": &p.api, "AWS_EC2_METADATA_SERVICE_ENDPOINT": &p.metadata} {
		match := regexp.MustCompile(`(?m)^export ` + name + `=(.*)$`).FindStringSubmatch(output)
		if match == nil {
			t.Fatalf("no %s in\n%s\n%s", name, output, &p.stderr)
		}
		*to = match[1]
	}
	return p
}

// kill ends the program as a crash does.
func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func (p *program) get(t *testing.T, path string) (int, string) {
	t.Helper()
	ask := func(method, path, header, value string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), method, p.metadata+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set(header, value)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var b bytes.Buffer
		if _, err := b.ReadFrom(response.Body); err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, b.String()
	}
	_, token := ask(http.MethodPut, "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60")
	return ask(http.MethodGet, "/latest/meta-data/"+path, "X-aws-ec2-metadata-token", token)
}

func (p *program) client() *eic.Client {
	return eic.New(eic.Options{
		BaseEndpoint: &p.api, Region: "us-east-1", Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(emulator.DefaultAccessKey, emulator.DefaultSecretKey, ""),
	})
}

// TestCrash kills the program in the middle of pushes, again and again, and
// looks for what had been answered.
func TestCrash(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "state.json")
	var mu sync.Mutex
	answered := make(map[string]bool)
	var chain string
	for round := range 4 {
		p := startProgram(t, "--state", state)
		ctx, cancel := context.WithCancel(t.Context())
		var workers sync.WaitGroup
		for w := range 4 {
			client := p.client()
			workers.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					user := fmt.Sprintf("u%d-%d-%d", round, w, i)
					if _, err := client.SendSSHPublicKey(ctx, &eic.SendSSHPublicKeyInput{
						InstanceId: aws.String(emulator.DefaultInstanceID), InstanceOSUser: &user, SSHPublicKey: aws.String(ed25519Line),
					}); err == nil {
						mu.Lock()
						answered[user] = true
						mu.Unlock()
					}
				}
			})
		}
		time.Sleep(300 * time.Millisecond)
		p.kill()
		cancel()
		workers.Wait()
		if p.stderr.Len() != 0 {
			t.Errorf("stderr is %s", &p.stderr)
		}
	}
	p := startProgram(t, "--state", state)
	defer p.kill()
	_, listing := p.get(t, "managed-ssh-keys/active-keys/")
	there := make(map[string]bool)
	for user := range strings.SplitSeq(listing, "\n") {
		there[user] = true
	}
	for user := range answered {
		if !there[user] {
			t.Errorf("the push for %s was answered and is lost", user)
		}
	}
	if len(answered) < 20 {
		t.Errorf("only %d pushes were answered", len(answered))
	}
	_, chain = p.get(t, "managed-ssh-keys/signer-cert")
	p.kill()
	again := startProgram(t, "--state", state)
	defer again.kill()
	if _, got := again.get(t, "managed-ssh-keys/signer-cert"); got != chain {
		t.Error("the signing chain is another one after a restart")
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(state), ".*")); err != nil || len(left) != 1 || !strings.HasSuffix(left[0], "-lock") {
		t.Errorf("there are %v, %v, and should be the lock alone", left, err)
	}
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"serve", "--api", "127.0.0.1:0", "--imds", "127.0.0.1:0", "--state", state}, &stdout, &stderr)
	if want := "eic-emulator: error: cannot use the state file " + state + ": in use by another emulator\n"; code == 0 || stderr.String() != want {
		t.Errorf("a second emulator: exit %d, %s, want %s", code, &stderr, want)
	}
	t.Logf("%d pushes were answered, in 4 lives", len(answered))
}

func TestBrokenState(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"junk": "x", "version": `{"eicEmulatorState":3}` + "\n", "older": `{"Version":1}`, "member": `{"eicEmulatorState":2,"X":1}` + "\n",
		"cut": `{"eicEmulatorState":2}`, "line": `{"eicEmulatorState":2}` + "\nx\n", "unknown key": `{"eicEmulatorState":2}` + "\n" + `[{"k":"x","v":1}]` + "\n",
		"record without number": `{"eicEmulatorState":2}` + "\n" + `[{"k":"record/i-00000001/x","v":{}}]` + "\n",
		"no keys":               `{"eicEmulatorState":2}` + "\n" + `[{"k":"blob/hierarchy","v":"e30="}]` + "\n",
	} {
		state := filepath.Join(t.TempDir(), "state.json")
		if err := os.WriteFile(state, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), []string{"serve", "--api", "127.0.0.1:0", "--imds", "127.0.0.1:0", "--state", state}, &stdout, &stderr)
		if code == 0 || !strings.Contains(stderr.String(), "cannot use the state file") {
			t.Errorf("%s: exit %d, %s", name, code, &stderr)
		}
		if got, err := os.ReadFile(state); err != nil || string(got) != text {
			t.Errorf("%s: the file is now %q, %v", name, got, err)
		}
	}
}

func TestScenarioFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, row := range map[string]struct{ text, want string }{
		"unknown key": {"colour = 1\n", "line 1: unknown key"}, "broken": {"faults = [", "cannot use the scenario"}, "unknown fault": {`faults = ["x"]`, `no fault "x"`},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), []string{"serve", "--scenario", write(strings.ReplaceAll(name, " ", "")+".toml", row.text)}, &stdout, &stderr); code != 2 || !strings.Contains(stderr.String(), row.want) {
			t.Errorf("%s: exit %d, %s", name, code, &stderr)
		}
	}
	p := startProgram(t, "--scenario", write("good.toml", "seed = 7\nfaults = [\n  \"status=503,path=/latest/meta-data/placement\",\n  \"error=AuthException,times=1\",\n]\n"), "--fault", "fact-zone=x")
	defer p.kill()
	if status, _ := p.get(t, "placement/region"); status != http.StatusServiceUnavailable {
		t.Errorf("got %d, want 503", status)
	}
	response, err := http.Get(p.api + "/_emu/faults")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body struct{ Faults []string }
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil || len(body.Faults) != 3 || body.Faults[2] != "fact-zone=x" {
		t.Errorf("got %v, %v", body.Faults, err)
	}
}

func TestFaultsCommand(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"faults"}, &stdout, &stderr); code != 0 || stderr.Len() != 0 {
		t.Fatalf("exit %d, %s", code, &stderr)
	}
	for _, k := range emulator.FaultKinds() {
		if !regexp.MustCompile(`(?m)^` + k.Name + `[= ].*` + regexp.QuoteMeta(k.Doc)).MatchString(stdout.String()) {
			t.Errorf("%s is not in\n%s", k.Name, &stdout)
		}
	}
}

// TestGateway goes from the command line to a guest, with ssh and the file of
// host keys.
func TestGateway(t *testing.T) {
	t.Parallel()
	path := need.Program(t, "ssh")
	dir := t.TempDir()
	link, known, key := filepath.Join(dir, "port0"), filepath.Join(dir, "known_hosts"), filepath.Join(dir, "key")
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	pushed, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	p := startProgram(t, "--serial-access", "--serial-pause", "0s", "--gateway", "127.0.0.1:0", "--write-known-hosts", known,
		"--instance", emulator.DefaultInstanceID+",serial=pty:"+link)
	defer p.kill()
	guest, err := os.OpenFile(link, os.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer guest.Close()
	match := regexp.MustCompile(`(?m)^# serial port of \S+ at /dev/pts/\d+:  ssh -p (\d+) (\S+)$`).FindStringSubmatch(p.announced)
	if match == nil {
		t.Fatalf("no serial port in\n%s", p.announced)
	}
	client := func() *exec.Cmd {
		return exec.CommandContext(t.Context(), path, "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
			"-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile="+known, "-i", key, "-p", match[1], match[2])
	}
	if out, err := client().CombinedOutput(); err == nil || !strings.Contains(string(out), "Permission denied (publickey)") {
		t.Fatalf("without a push: %v, %s", err, out)
	}
	for range 2 { // there is no pause
		if _, err := p.client().SendSerialConsoleSSHPublicKey(t.Context(), &eic.SendSerialConsoleSSHPublicKeyInput{
			InstanceId: aws.String(emulator.DefaultInstanceID), SSHPublicKey: aws.String(string(ssh.MarshalAuthorizedKey(pushed))),
		}); err != nil {
			t.Fatal(err)
		}
		cmd := client()
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(in, "hello"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		if err := guest.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(guest, got); err != nil || string(got) != "hello" {
			t.Fatalf("the guest got %q, %v", got, err)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			response, err := http.Get(p.api + "/_emu/gateway")
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || time.Now().After(deadline) {
				t.Fatalf("the session does not end: %s, %v", text, err)
			}
			if started := strings.Count(string(text), `"session-started"`); started > 0 && started == strings.Count(string(text), `"session-ended"`) {
				break
			}
		}
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil || strings.Count(p.stderr.String(), " gateway: ") != 5 {
		t.Errorf("ended with %v, %s", err, &p.stderr)
	}
	if _, err := os.Lstat(link); !os.IsNotExist(err) {
		t.Errorf("the link stays: %v", err)
	}
}
