package e2e

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	crypto "crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/eic-agent/eic-agent/internal/ctl/policy"
	"github.com/eic-agent/eic-agent/internal/emulator"
)

// A pushOf is one push of a principal's key for a user, again for each policy.
type pushOf struct {
	*principal
	user        string
	fingerprint string
}

// A verdict is what eic-authkeys made of a push: what it recorded.
type verdict struct {
	granted bool
	reason  string // of a refusal, or of would-refuse
}

// A change is one of eicctl's, without its count.
type change struct {
	change, reason, was, user, caller string
	claimed                           bool
}

// TestPolicyTest has eicctl policy test foretell what eic-authkeys decides under generated
// policies, and then has eic-authkeys decide: each push is made again through the API, and
// the real program asks for it. The two agree on every push.
func TestPolicyTest(t *testing.T) {
	const pushes, policies = 24, 6
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	all, credentials := newPushes(t, random, pushes)
	server := serveEmulator(t, emulator.Options{
		Permissive: true, APIAddress: "127.0.0.1:0", AccessKeys: credentials,
		Instances: []emulator.Instance{{ID: emulator.DefaultInstanceID, Zone: emulator.DefaultZone, IMDSAddress: "127.0.0.1:0"}},
	})
	defer server.Close()
	const path = "/etc/eic-agent/policy.toml"
	if err := server.WriteConfig(path); err != nil {
		t.Fatal(err)
	}
	trusting := readFile(t, path)
	use := func(policy string) {
		if err := os.WriteFile(path, []byte(trusting+policy), 0o644); err != nil {
			t.Fatal(err)
		}
	}

	// What is on record was decided under a policy that refuses some of it.
	use(newPolicy(random))
	since := time.Now()
	before := decideAll(t, server, path, all)
	until := time.Now()
	changes := 0
	for range policies {
		text := newPolicy(random)
		use(text)
		foretold := foretell(t, path, since, until)
		after := decideAll(t, server, path, all)
		want := make(map[change]int)
		for i, p := range all {
			was, is := before[i], after[i]
			c := change{user: p.user, caller: p.credential.ARN, reason: is.reason}
			switch {
			case was.granted && !is.granted:
				c.change = policy.Refused
			case was.granted && is.reason != "":
				c.change = policy.WouldRefuse
			case !was.granted && is.granted:
				c.change, c.was, c.claimed = policy.Granted, was.reason, was.reason != "caller-not-mapped"
			default:
				continue
			}
			want[c]++
			changes++
		}
		if !maps.Equal(foretold, want) {
			t.Errorf("policy:\n%s\nforetold %v\ndecided  %v", text, foretold, want)
		}
	}
	if changes < pushes/2 {
		t.Errorf("only %d decisions changed under %d policies", changes, policies)
	}
}

// newPushes returns pushes of keys of every type, by principals of several kinds.
func newPushes(t *testing.T, random *rand.Rand, n int) (all []pushOf, credentials []emulator.Credential) {
	t.Helper()
	users := []string{"root", "postgres", "deploy-1", "deploy-2", "ec2-user", "web"}
	arns := []string{
		"arn:aws:iam::123456789012:user/alice", "arn:aws:iam::123456789012:user/ops/bob", "arn:aws:iam::210987654321:user/alice",
		"arn:aws:sts::123456789012:assumed-role/dba/carol", "arn:aws:sts::123456789012:assumed-role/dba/dave@example.com",
		"arn:aws:sts::123456789012:assumed-role/deploy/ci", "arn:aws-us-gov:iam::123456789012:user/alice", "arn:aws:iam::123456789012:root",
	}
	for i, arn := range arns {
		credentials = append(credentials, emulator.Credential{KeyID: fmt.Sprintf("AKIAPOLICY%03d", i), Secret: "secret", ARN: arn})
	}
	for i := range n {
		signer := newSigner(t, i)
		all = append(all, pushOf{
			principal:   &principal{credential: credentials[random.IntN(len(credentials))], signer: signer},
			user:        users[random.IntN(len(users))],
			fingerprint: ssh.FingerprintSHA256(signer.PublicKey()),
		})
	}
	return all, credentials
}

func newSigner(t *testing.T, i int) ssh.Signer {
	t.Helper()
	var private any
	var err error
	switch i % 6 {
	case 0:
		private, err = rsa.GenerateKey(crypto.Reader, 2048)
	case 1:
		private, err = rsa.GenerateKey(crypto.Reader, 3072)
	case 2:
		private, err = ecdsa.GenerateKey(elliptic.P256(), crypto.Reader)
	default:
		_, private, err = ed25519.GenerateKey(crypto.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// newPolicy returns sections of a configuration.
func newPolicy(random *rand.Rand) string {
	some := func(chance float64, of ...string) (quoted []string) {
		for _, s := range of {
			if random.Float64() < chance {
				quoted = append(quoted, fmt.Sprintf("%q", s))
			}
		}
		return quoted
	}
	list := func(quoted []string) string { return "[" + strings.Join(quoted, ", ") + "]" }
	patterns := []string{"root", "deploy-?", "*-[!1]", "[[:lower:]]*", "ec2-user", "post*", "w\\eb"}
	var b strings.Builder
	b.WriteString("\n[keys]\n")
	if random.IntN(2) == 0 {
		fmt.Fprintf(&b, "min_rsa_bits = %d\n", 2048+random.IntN(2)*1024)
	}
	if random.IntN(3) == 0 {
		fmt.Fprintf(&b, "types = %s\n", list(append(some(0.5, "ssh-rsa", "ecdsa-sha2-nistp256"), `"ssh-ed25519"`)))
	}
	if random.IntN(6) == 0 {
		b.WriteString("max_lifetime = \"20s\"\nclock_skew = \"10s\"\n")
	}
	fmt.Fprintf(&b, "[users]\ndeny = %s\nenforce = %v\n", list(some(0.2, patterns...)), random.IntN(4) > 0)
	if random.IntN(3) == 0 {
		fmt.Fprintf(&b, "allow = %s\n", list(some(0.5, patterns...)))
	}
	if random.IntN(4) == 0 {
		return b.String()
	}
	for _, caller := range some(0.6, "arn:aws:iam::*:user/alice", "arn:aws:sts::123456789012:assumed-role/dba/*", "arn:*:*::123456789012:*", "arn:aws:iam::123456789012:user/*", "arn:aws:sts::*:assumed-role/[!d]*") {
		fmt.Fprintf(&b, "[[users.map]]\ncaller = %s\nusers = %s\n", caller, list(append(some(0.4, patterns...), `"postgres"`)))
	}
	return b.String()
}

// decideAll pushes each key once more and has eic-authkeys decide on it.
func decideAll(t *testing.T, server *emulator.Server, path string, all []pushOf) []verdict {
	t.Helper()
	verdicts := make([]verdict, len(all))
	index := make(map[string]int) // by request
	for i, p := range all {
		// What is left of the round before has been live for a while.
		if err := server.Withdraw(emulator.DefaultInstanceID, p.user); err != nil {
			t.Fatal(err)
		}
		p.push(t, server, p.user)
		r := runAgent(t, "--config", path, p.user, p.fingerprint)
		if r.code != 0 {
			t.Fatalf("exit %d, said %q", r.code, r.stderr)
		}
		verdicts[i].granted = r.stdout != ""
		index[p.request] = i
	}
	records, err := w.Records("SYSLOG_IDENTIFIER=eic-authkeys")
	if err != nil {
		t.Fatal(err)
	}
	decided := make(map[int]bool)
	for _, r := range records {
		i, ok := index[r.Field("EIC_REQUEST_ID")]
		if !ok {
			continue
		}
		decided[i] = true
		switch event := r.Field("EIC_EVENT"); {
		case event == "key-provided" && verdicts[i].granted:
		case event == "would-refuse" && verdicts[i].granted, event == "record-refused" && !verdicts[i].granted:
			verdicts[i].reason = r.Field("EIC_REASON")
		default:
			t.Errorf("printed a key: %v, and recorded %s", verdicts[i].granted, event)
		}
	}
	if len(decided) != len(all) {
		t.Errorf("records of %d of %d pushes", len(decided), len(all))
	}
	return verdicts
}

// foretell runs eicctl policy test on what was recorded in that time.
func foretell(t *testing.T, path string, since, until time.Time) map[change]int {
	t.Helper()
	r := runCtl(t, "policy", "test", path, "--since", since.Format(time.RFC3339Nano), "--until", until.Format(time.RFC3339Nano), "--json")
	var report policy.Report
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatalf("exit %d, %v, said %q, printed %q", r.code, err, r.stderr, r.stdout)
	}
	if want := map[bool]int{false: 0, true: 1}[report.Changed()]; r.code != want || len(report.Undecided) > 0 {
		t.Errorf("exit %d, want %d; undecided %v", r.code, want, report.Undecided)
	}
	foretold := make(map[change]int)
	for _, c := range report.Changes {
		foretold[change{c.Change, c.Reason, c.Was, c.User, c.Caller, c.Claimed}] += c.Count
	}
	return foretold
}
