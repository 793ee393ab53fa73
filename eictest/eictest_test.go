package eictest_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/eic-agent/eic-agent/eictest"
	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/authkeys"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/imds"
	"github.com/eic-agent/eic-agent/internal/reason"
)

const (
	line   = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHYCWmTdAwo1vSPTLCs4xsHDDMSBPSRfO3Lx/VwTJoOH"
	caller = "arn:aws:iam::123456789012:user/test"
)

var signerKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func start(t *testing.T, o eictest.Options) *eictest.Emulator {
	t.Helper()
	key, err := signerKey()
	if err != nil {
		t.Fatal(err)
	}
	o.SignerKey = key
	return eictest.Start(t, o)
}

// patience is how long an answer may take on a busy machine.
const patience = 2 * time.Minute

// login runs the agent's pipeline as eic-authkeys does, where an exchange takes up to limit
// and the whole of it four times as long.
func login(t *testing.T, e *eictest.Emulator, user string, limit time.Duration) (authkeys.Answer, error) {
	t.Helper()
	cfg, err := config.Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Instance.Attest = config.AttestIMDS
	cfg.IMDS.Timeout.Duration = 4 * limit // of which a staple is given its part
	agent := &authkeys.Agent{
		Config:   cfg,
		Metadata: imds.New(e.Metadata(), "eictest", limit, nil),
		Root:     fstest.MapFS{},
		Roots: func() (*x509.CertPool, error) {
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(e.RootsPEM())
			return pool, nil
		},
	}
	ctx, cancel := context.WithTimeout(t.Context(), cfg.IMDS.Timeout.Duration)
	defer cancel()
	return agent.Run(ctx, user, fingerprint.Filter{})
}

// outcome is what a Scenario calls the end of a login.
func outcome(answer authkeys.Answer, err error) string {
	if err != nil {
		return string(reason.Of(err))
	}
	if len(answer.Lines) > 0 {
		return eictest.Granted
	}
	for _, e := range answer.Events {
		if e.Kind == audit.RecordRefused {
			return string(e.Reason)
		}
	}
	return eictest.None
}

func TestScenarios(t *testing.T) {
	t.Parallel()
	used := make(map[string]bool)
	names := make(map[string]bool)
	for _, scenario := range eictest.Scenarios() {
		for _, f := range scenario.Faults {
			used[strings.FieldsFunc(f, func(r rune) bool { return r == '=' || r == ',' })[0]] = true
		}
		if names[scenario.Name] || scenario.Doc == "" {
			t.Errorf("scenario %q is there twice, or does not say what it is", scenario.Name)
		}
		names[scenario.Name] = true
		if w := reason.Word(scenario.Want); scenario.Want != eictest.Granted && scenario.Want != eictest.None && !slices.Contains(reason.All(), w) {
			t.Errorf("%s: %q is not a reason", scenario.Name, scenario.Want)
		}
		t.Run(scenario.Name, func(t *testing.T) {
			t.Parallel()
			e := start(t, eictest.Options{Faults: scenario.Faults})
			e.Push("ec2-user", line, caller)
			limit := patience
			if scenario.Slow {
				limit = time.Second
			}
			began := time.Now()
			answer, err := login(t, e, "ec2-user", limit)
			if got := outcome(answer, err); got != scenario.Want {
				t.Errorf("got %q, want %q: %v, %+v", got, scenario.Want, err, answer.Events)
			}
			if granted := scenario.Want == eictest.Granted; granted && string(answer.Lines) != line+"\n" || !granted && len(answer.Lines) != 0 {
				t.Errorf("lines are %q", answer.Lines)
			}
			if took := time.Since(began); scenario.Slow && took < limit {
				t.Errorf("it took %v only", took)
			}
		})
	}
	// A fault that no scenario has is one of which nobody knows what an agent
	// makes of it.
	elsewhere := []string{"error", "fact-zone", "gateway-refuse", "gateway-cut"}
	for _, k := range emulator.FaultKinds() {
		if !used[k.Name] && !slices.Contains(elsewhere, k.Name) {
			t.Errorf("no scenario has the fault %s", k.Name)
		}
	}
}

// TestRotation logs in all the time while the signers are rotated.
func TestRotation(t *testing.T) {
	t.Parallel()
	e := start(t, eictest.Options{})
	e.Push("ec2-user", line, caller)
	stop := make(chan struct{})
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for logins := 0; ; logins++ {
				select {
				case <-stop:
					if logins == 0 {
						t.Error("no login within")
					}
					return
				default:
				}
				if answer, err := login(t, e, "ec2-user", patience); outcome(answer, err) != eictest.Granted {
					t.Errorf("login %d: %v, %+v", logins, err, answer.Events)
					return
				}
			}
		})
	}
	for range 6 {
		time.Sleep(100 * time.Millisecond)
		e.RotateSigners(false)
	}
	close(stop)
	workers.Wait()
	e.RotateSigners(true)
	if answer, err := login(t, e, "ec2-user", patience); outcome(answer, err) != eictest.Granted {
		t.Errorf("after a rotation at once: %v, %+v", err, answer.Events)
	}
}

func TestStart(t *testing.T) {
	t.Parallel()
	e := start(t, eictest.Options{
		Instances:   []eictest.Instance{{ID: "i-00000001", Zone: "eu-west-1a"}, {ID: "i-00000002"}},
		Credentials: []eictest.Credential{{KeyID: "A", Secret: "b", ARN: caller}},
	})
	if e.Region() != "eu-west-1" || e.InstanceID() != "i-00000001" || e.Metadata() != e.MetadataOf("i-00000001") || e.Metadata() == e.MetadataOf("i-00000002") {
		t.Errorf("%s, %s, %s", e.Region(), e.InstanceID(), e.Metadata())
	}
	client := imds.New(e.Metadata(), "test", patience, nil)
	e.SetMetadata("i-00000001", "mine", []byte("x"))
	if body, err := client.Get(t.Context(), "mine", 10); err != nil || string(body) != "x" {
		t.Errorf("got %q, %v", body, err)
	}
	if got := e.Requests(); len(got) != 2 || got[1].Path != "/latest/meta-data/mine" || got[1].Instance != "i-00000001" {
		t.Errorf("requests are %v", got)
	}
	e.ResetRequests()
	e.Push("u", line, caller)
	e.Advance(time.Minute)
	if _, err := client.Get(t.Context(), "managed-ssh-keys/active-keys/u", 1<<20); !errors.Is(err, imds.ErrNotFound) {
		t.Errorf("after a minute: %v", err)
	}
}

func TestEnvCredential(t *testing.T) {
	t.Parallel()
	e := eictest.Start(t, eictest.Options{Credentials: []eictest.Credential{{KeyID: "A", Secret: "s", SessionToken: "t", ARN: "arn:aws:iam::1:user/a"}}})
	env := strings.Join(e.Env(), " ")
	for _, want := range []string{"AWS_ACCESS_KEY_ID=A ", "AWS_SECRET_ACCESS_KEY=s ", "AWS_SESSION_TOKEN=t"} {
		if !strings.Contains(env, want) {
			t.Errorf("%s is not in %s", want, env)
		}
	}
}

func TestSnapshots(t *testing.T) {
	t.Parallel()
	e := start(t, eictest.Options{})
	client := imds.New(e.Metadata(), "test", patience, nil)
	const path = "managed-ssh-keys/active-keys/u"
	e.Push("u", line, caller)
	e.Inject("latency=1ms")
	e.Snapshot("pushed")
	e.Reset("")
	if _, err := client.Get(t.Context(), path, 1<<20); !errors.Is(err, imds.ErrNotFound) {
		t.Errorf("as at the start: %v", err)
	}
	if x := e.Exchanges(); len(x) != 2 || x[1].Service != "imds" || x[1].Instance != e.InstanceID() || x[1].Status != 404 || x[1].Time.IsZero() || x[1].Duration < 0 {
		t.Errorf("exchanges are %+v", x)
	}
	e.Reset("pushed")
	if x := e.Exchanges(); len(x) != 0 {
		t.Errorf("after a reset there are %+v", x)
	}
	if body, err := client.Get(t.Context(), path, 1<<20); err != nil || !strings.Contains(string(body), line) {
		t.Errorf("with the snapshot: %s, %v", body, err)
	}
	if x := e.Exchanges(); len(x) == 0 || x[0].Duration < time.Millisecond {
		t.Errorf("the fault of the snapshot is not there: %+v", x)
	}
}
