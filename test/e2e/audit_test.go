package e2e

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"
	"golang.org/x/crypto/ssh"

	logging "github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/ctl/sessions"
	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/host"
)

const eicctl = host.BinDir + "/eicctl"

// runCtl runs eicctl as root.
func runCtl(t *testing.T, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(eicctl, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String(), time.Since(start)}
}

// audit runs eicctl audit on what is in the journal, after journald has taken what
// was sent.
func audit(t *testing.T, args ...string) *sessions.Report {
	t.Helper()
	runProgram(t, "journalctl", "--sync")
	r := runCtl(t, append([]string{"audit", "--json"}, args...)...)
	var report sessions.Report
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != 0 {
		t.Fatalf("exit %d, %v, said %q, printed %q", r.code, err, r.stderr, r.stdout)
	}
	// It is said of every report about one user or caller.
	report.Notes = slices.DeleteFunc(report.Notes, func(note string) bool { return strings.HasPrefix(note, "logins with other keys were not counted") })
	return &report
}

// A principal pushes a key of its own.
type principal struct {
	credential emulator.Credential
	signer     ssh.Signer
	request    string
}

func newPrincipals(t *testing.T, n int) []*principal {
	t.Helper()
	var list []*principal
	for i := range n {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := ssh.NewSignerFromKey(private)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, &principal{
			credential: emulator.Credential{
				KeyID: fmt.Sprintf("AKIAAUDIT%03d", i), Secret: "secret",
				ARN: fmt.Sprintf("arn:aws:sts::123456789012:assumed-role/ops/=cmd,%03d", i),
			},
			signer: signer,
		})
	}
	return list
}

// push pushes the principal's key, with a hostile comment.
func (p *principal) push(t *testing.T, server *emulator.Server, user string) {
	t.Helper()
	client := ec2instanceconnect.New(ec2instanceconnect.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(server.APIURL()), HTTPClient: http.DefaultClient, // few connections
		Credentials: credentials.NewStaticCredentialsProvider(p.credential.KeyID, p.credential.Secret, ""),
	})
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(p.signer.PublicKey()))) + ` =HYPERLINK("x") EIC_EVENT=key-provided Accepted publickey`
	out, err := client.SendSSHPublicKey(t.Context(), &ec2instanceconnect.SendSSHPublicKeyInput{
		InstanceId: aws.String(emulator.DefaultInstanceID), InstanceOSUser: aws.String(user), SSHPublicKey: aws.String(line),
	})
	if err != nil {
		t.Error(err)
		return
	}
	p.request = aws.ToString(out.RequestId)
}

func (p *principal) dial(address, user string, signer ssh.Signer) (*ssh.Client, error) {
	return ssh.Dial("tcp", address, &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: time.Minute,
	})
}

// A queried key is one without its private half.
type queried struct{ public ssh.PublicKey }

func (q queried) PublicKey() ssh.PublicKey { return q.public }
func (q queried) Sign(io.Reader, []byte) (*ssh.Signature, error) {
	return nil, errors.New("there is no private half")
}

// TestAudit: a hundred principals, one OS user, all logged in at the same time, among
// pushes that nobody used and keys that were only asked about.
func TestAudit(t *testing.T) {
	const used, unused, asked = 100, 50, 50
	user, _ := w.newUser(t)
	all := newPrincipals(t, used+unused+asked)
	var keys []emulator.Credential
	for _, p := range all {
		keys = append(keys, p.credential)
	}
	trail := filepath.Join(t.TempDir(), "trail.json")
	trailFile, err := os.Create(trail)
	if err != nil {
		t.Fatal(err)
	}
	defer trailFile.Close()
	server := serveEmulator(t, emulator.Options{
		APIAddress: "127.0.0.1:0", AccessKeys: keys, CloudTrail: trailFile,
		Instances: []emulator.Instance{{ID: emulator.DefaultInstanceID, Zone: emulator.DefaultZone, IMDSAddress: "127.0.0.1:0"}},
	})
	defer server.Close()
	const config = "/etc/eic-agent/audit.toml"
	if err := server.WriteConfig(config); err != nil {
		t.Fatal(err)
	}
	sshd, err := w.StartSSHD(append(agentLines(config), "MaxStartups 1000", "UsePAM yes", "LogLevel INFO")...)
	if err != nil {
		t.Fatal(err)
	}
	defer sshd.Stop()
	for _, p := range all[used+asked:] {
		p.push(t, server, user)
	}

	// The clients, the servers and the metadata service share the processors of this
	// machine: 150 logins in the same moment would each take longer than the agent waits.
	turns := make(chan struct{}, 8)
	var wait sync.WaitGroup
	var mu sync.Mutex
	ports := make(map[string]*principal) // of the clients that are in
	var in []*ssh.Client
	for i, p := range all[:used+asked] {
		signer := p.signer
		if i >= used {
			signer = queried{p.signer.PublicKey()}
		}
		wait.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			p.push(t, server, user)
			client, err := p.dial(sshd.Address(), user, signer)
			if (err == nil) != (i < used) {
				t.Errorf("principal %d: %v", i, err)
			}
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				in = append(in, client)
				_, port, _ := net.SplitHostPort(client.LocalAddr().String())
				ports[port] = p
			}
		})
	}
	wait.Wait()
	if t.Failed() {
		said, err := w.Journalctl("-o", "short-precise", "--since", "-5m", "--priority", "warning")
		t.Fatalf("the journal has (%v):\n%s", err, said)
	}
	report := audit(t, "--user", user, "--since", "15m", "--cloudtrail", trail)
	for _, s := range report.Sessions {
		if s.EndTold != "" || s.End != nil {
			t.Errorf("a session that is open has the end %v by %q", s.End, s.EndTold)
		}
	}
	for _, client := range in {
		client.Close()
	}
	if err := w.Eventually("the sessions have ended", func() bool {
		report = audit(t, "--user", user, "--since", "15m", "--cloudtrail", trail)
		for _, s := range report.Sessions {
			if s.EndTold != sessions.ToldBySSHD {
				return false
			}
		}
		return true
	}); err != nil {
		t.Error(err)
	}

	if len(report.Sessions) != used || len(ports) != used {
		t.Fatalf("%d sessions of %d logins, notes %q", len(report.Sessions), len(ports), report.Notes)
	}
	for _, s := range report.Sessions {
		p := ports[s.Port]
		delete(ports, s.Port)
		if p == nil || s.Caller != p.credential.ARN || s.Request != p.request || len(s.Pushes) != 0 || s.User != user ||
			s.Address != "127.0.0.1" || s.Fingerprint != ssh.FingerprintSHA256(p.signer.PublicKey()) || s.End.Before(s.Start) {
			t.Errorf("session %+v, want that of %+v", s, p)
			continue
		}
		if s.Trail == nil || s.Trail.Principal != p.credential.ARN || s.Trail.SourceIP != "127.0.0.1" || !strings.Contains(s.Trail.UserAgent, "aws-sdk-go") {
			t.Errorf("the trail of %s is %+v", s.Request, s.Trail)
		}
	}
	offered := make(map[string]bool)
	for _, o := range report.Unused {
		offered[o.Request] = true
		if o.Outcome == "" || o.Address != "127.0.0.1" {
			t.Errorf("an offer without what came of it: %+v", o)
		}
	}
	for _, p := range all[used : used+asked] {
		if !offered[p.request] {
			t.Errorf("the offer of %s is missing", p.request)
		}
	}
	// Another test forges records, which has a note.
	report.Notes = slices.DeleteFunc(report.Notes, func(note string) bool { return strings.Contains(note, "eic-agent's ignored") })
	if len(report.Unused) != asked || len(offered) != asked || len(report.Refusals) != 0 || len(report.Notes) != 0 {
		t.Errorf("%d unused, %d refusals, notes %q", len(report.Unused), len(report.Refusals), report.Notes)
	}

	// One line a row, whatever the callers are called, and no formula.
	table := runCtl(t, "audit", "--user", user, "--since", "15m")
	if n := strings.Count(table.stdout, "ops/=cmd,"); n != used+asked || rows(table.stdout) != used+asked {
		t.Errorf("the table has %d callers in %d lines:\n%s", n, strings.Count(table.stdout, "\n"), table.stdout)
	}
	list, err := csv.NewReader(strings.NewReader(runCtl(t, "audit", "--user", user, "--since", "15m", "--output", "csv").stdout)).ReadAll()
	if err != nil || len(list) != 1+used+asked {
		t.Fatalf("%d rows of CSV, %v", len(list), err)
	}

	// One of them alone, and nobody else.
	first := all[0]
	report = audit(t, "--caller", "arn:aws:sts::*:assumed-role/ops/*,000", "--since", "15m")
	if len(report.Sessions) != 1 || report.Sessions[0].Request != first.request || len(report.Unused) != 0 {
		t.Errorf("of one caller: %+v", report.Sessions)
	}
	explained := runCtl(t, "explain", ssh.FingerprintLegacyMD5(first.signer.PublicKey()))
	if explained.code != 0 || !strings.Contains(explained.stdout, user+" logged in from 127.0.0.1") || !strings.Contains(explained.stdout, first.request) {
		t.Errorf("explain: exit %d, printed %q, said %q", explained.code, explained.stdout, explained.stderr)
	}
	explained = runCtl(t, "explain", all[used].request)
	if explained.code != 0 || !strings.Contains(explained.stdout, "it has no private key") {
		t.Errorf("explain: exit %d, printed %q, said %q", explained.code, explained.stdout, explained.stderr)
	}
	explained = runCtl(t, "explain", all[used+asked].request)
	if explained.code != 1 || !strings.Contains(explained.stdout, "no decision about") {
		t.Errorf("explain: exit %d, printed %q, said %q", explained.code, explained.stdout, explained.stderr)
	}
}

// rows counts the lines of a table that have a caller.
func rows(table string) int {
	n := 0
	for line := range strings.Lines(table) {
		if strings.Contains(line, "ops/=cmd,") {
			n++
		}
	}
	return n
}

// What a user of the host writes into its journal is not believed.
func TestAuditForged(t *testing.T) {
	mallory, home := w.newUser(t)
	key, public := w.newKey(t, "ed25519", 0)
	authorize(t, mallory, home, public)
	account, err := w.Account(mallory)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey([]byte(readFile(t, key)))
	if err != nil {
		t.Fatal(err)
	}
	client, err := (&principal{}).dial(w.sshd.Address(), mallory, signer)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted := func() host.Record {
		records, err := w.Records(host.SSHDRecords...)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if strings.HasPrefix(r.Field("MESSAGE"), "Accepted publickey for "+mallory+" ") {
				return r
			}
		}
		return nil
	}
	if err := w.Eventually("sshd has said so", func() bool { return accepted() != nil }); err != nil {
		t.Fatal(err)
	}
	forge := func(fields string) {
		cmd := exec.Command("logger", "--journald")
		cmd.Stdin = strings.NewReader(fields)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("logger: %v: %s", err, out)
		}
	}
	forge(fmt.Sprintf("SYSLOG_IDENTIFIER=eic-authkeys\n_UID=0\n_COMM=eic-authkeys\nMESSAGE=gave sshd a key\nEIC_EVENT=key-provided\nEIC_USER=%s\nEIC_FINGERPRINT=%s\nEIC_KEY_TYPE=ssh-ed25519\nEIC_CALLER=%s\nEIC_REQUEST_ID=forged\nEIC_SSHD_PID=%s\n",
		mallory, fingerprintOf(t, public), "arn:aws:iam::123456789012:user/victim", accepted().Field("_PID")))
	// She can have the agent itself write a record, in her own name.
	alice, _ := w.newUser(t)
	_, alicesKey := w.newKey(t, "ed25519", 0)
	w.push(t, alice, alicesKey)
	r := runAgentWith(t, func(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account} }, "--config", configPath, alice)
	if r.code != 0 || r.stdout == "" {
		t.Fatalf("exit %d, said %q", r.code, r.stderr)
	}
	forge("SYSLOG_IDENTIFIER=sshd\n_COMM=sshd\nMESSAGE=Accepted publickey for " + alice + " from 10.0.0.1 port 1 ssh2: ED25519 " + fingerprintOf(t, alicesKey) + "\n")

	for _, user := range []string{mallory, alice} {
		report := audit(t, "--user", user)
		if len(report.Sessions) != 0 || len(report.Unused) != 0 || len(report.Notes) != 1 || !strings.Contains(report.Notes[0], fmt.Sprintf("2 records claiming to be eic-agent's ignored: uid %d wrote it", account.Uid)) {
			t.Errorf("%s: %d sessions, %d unused, notes %q", user, len(report.Sessions), len(report.Unused), report.Notes)
		}
	}
	// Where everybody is believed who is no person, she still is not.
	report := audit(t, "--user", mallory, "--directory", "/run/log/journal")
	if len(report.Sessions) != 0 || len(report.Unused) != 0 {
		t.Errorf("of a directory: %d sessions, %d unused", len(report.Sessions), len(report.Unused))
	}
	// And she cannot have a look herself.
	cmd := exec.Command(eicctl, "audit")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account}
	if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 3 || !strings.Contains(string(out), "no permission to read the system's journal") {
		t.Errorf("%v: %s", err, out)
	}
}

// What any account hands to journald is found again, with its uid; what nobody handed
// over is not.
func TestProbe(t *testing.T) {
	token := fmt.Sprint(time.Now().UnixNano())
	if !logging.Probe("eicctl", token) {
		t.Fatal("journald did not take it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if found, uid, err := journal.FindProbe(ctx, "eicctl", token); !found || uid != 0 || err != nil {
		t.Errorf("found %v, uid %d, %v", found, uid, err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if found, _, err := journal.FindProbe(ctx, "eicctl", token+"x"); found || err != nil {
		t.Errorf("another: found %v, %v", found, err)
	}
}

// The journal of a host, shipped to another by systemd's own programs.
func TestAuditFleet(t *testing.T) {
	user, _ := w.newUser(t)
	key, public := w.newKey(t, "ed25519", 0)
	request := w.push(t, user, public)
	w.login(t, user, key)
	runProgram(t, "journalctl", "--sync")
	collector, state := t.TempDir(), t.TempDir()
	const port = "19532"
	remote := exec.Command("/lib/systemd/systemd-journal-remote", "--listen-http=127.0.0.1:"+port, "--output="+collector, "--split-mode=host")
	if err := remote.Start(); err != nil {
		t.Fatal(err)
	}
	defer remote.Process.Kill()
	if err := w.Eventually("the collector listens", func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time from the beginning again
		runProgram(t, "/lib/systemd/systemd-journal-upload", "--url=http://127.0.0.1:"+port, "--directory=/run/log/journal", "--follow=no", "--save-state="+state+"/state")
		os.Remove(state + "/state")
	}
	var report *sessions.Report
	if err := w.Eventually("the collector has it", func() bool {
		if files, err := filepath.Glob(collector + "/*.journal"); err != nil || len(files) == 0 {
			return false
		}
		report = audit(t, "--user", user, "--directory", collector, "--agent-user", fmt.Sprint(credential(t).Uid))
		return len(report.Sessions) > 0 && report.Sessions[0].EndTold != ""
	}); err != nil {
		t.Fatal(err)
	}
	if len(report.Sessions) != 1 || report.Sessions[0].Request != request || len(report.Unused) != 0 || report.Sessions[0].EndTold != sessions.ToldByProcess {
		t.Errorf("shipped: %+v, %+v, %q", report.Sessions, report.Unused, report.Notes)
	}
	if r := runCtl(t, "audit", "--directory", collector, "--user", user, "--agent-user", "1"); r.code != 0 || !strings.Contains(r.stdout, "eic-agent's ignored") {
		t.Errorf("another account's: exit %d, %q", r.code, r.stdout)
	}
}
