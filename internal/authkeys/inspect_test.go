package authkeys

import (
	"crypto/x509"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/instance"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/reason"
)

func (v vector) inspect(t testing.TB, attest string) Inspection {
	t.Helper()
	cfg, err := config.Parse([]byte(strings.Join(v.config, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Instance.Attest = attest
	agent := &Agent{
		Config:   cfg,
		Metadata: v.metadata(t),
		Root:     fstest.MapFS{board: {Data: []byte(v.instance + "\n")}},
		Roots: func() (*x509.CertPool, error) {
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(readFile(t, v.roots))
			return pool, nil
		},
	}
	return agent.Inspect(t.Context(), v.now, v.user)
}

// Inspect says of every vector what Run makes of it, and the checks by themselves
// say the same.
func TestInspectVectors(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join(vectorDir, "*.vector"))
	if err != nil || len(paths) < 300 {
		t.Fatalf("found %d vectors, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".vector"), func(t *testing.T) {
			t.Parallel()
			v := readVector(t, path)
			for _, attest := range []string{config.AttestAuto, config.AttestIMDS} {
				in := v.inspect(t, attest)
				v.judgeInspection(t, in)
				for _, r := range in.Records {
					judgeVerdicts(t, r)
				}
			}
		})
	}
}

func (v vector) judgeInspection(t *testing.T, in Inspection) {
	t.Helper()
	var refused []string
	for _, r := range in.Records {
		if r.Refusal != nil && !r.Repeats {
			refused = append(refused, string(reason.Of(r.Refusal)))
		}
	}
	word := reason.Word(v.expect)
	wantRefused := slices.Clone(v.refused)
	runFails := slices.Contains(reason.All(), word) && !word.RefusesRecord()
	if word.RefusesRecord() {
		wantRefused = append(wantRefused, v.expect)
	}
	if got := reason.Of(in.Err); (runFails && got != word) || (!runFails && in.Err != nil) {
		t.Errorf("%s: could not find out: %v, want %s", v.comment, in.Err, v.expect)
	}
	if runFails && (in.Signer == nil || reason.Of(in.Signer.Err) != word) {
		t.Errorf("%s: the signer is said to be %+v", v.comment, in.Signer)
	}
	if v.fingerprint != "" {
		return // Inspect has no filter: it shows the other keys too
	}
	slices.Sort(refused)
	slices.Sort(wantRefused)
	if !slices.Equal(refused, wantRefused) {
		t.Errorf("%s: refused %q, want %q", v.comment, refused, wantRefused)
	}
	if (in.Granted() > 0) != (len(v.output) > 0) {
		t.Errorf("%s: %d are granted, want %d", v.comment, in.Granted(), len(v.output))
	}
}

// judgeVerdicts compares the single checks with the decision.
func judgeVerdicts(t *testing.T, r InspectedRecord) {
	t.Helper()
	all := []keyrecord.Verdict{r.Checks.Form, r.Checks.Signature, r.Checks.Lifetime, r.Checks.Instance, r.Checks.Key, r.User, r.CallerMapped}
	failed := slices.ContainsFunc(all, func(v keyrecord.Verdict) bool {
		return v.Fault != nil && (r.Refusal == nil || v.Fault.Word == reason.Of(r.Refusal))
	})
	if r.Granted && slices.ContainsFunc(all, func(v keyrecord.Verdict) bool { return !v.Made }) {
		t.Error("a record is granted of which not every check was made")
	}
	if failed != (r.Refusal != nil) && (r.Granted || r.Refusal != nil) {
		t.Errorf("refused with %v, but the checks say %+v", r.Refusal, r.Checks)
	}
}

func TestInspectInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t, okVector)
	inspect := func(user string, change func(*Agent)) Inspection {
		agent := &Agent{Config: config.Default(), Metadata: w, Root: w.root, Roots: func() (*x509.CertPool, error) {
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(readFile(t, w.roots))
			return pool, w.rootErr
		}}
		change(agent)
		return agent.Inspect(t.Context(), w.now, user)
	}
	none := func(*Agent) {}

	if in := inspect(w.user, none); in.Source != "board" || in.Instance != w.instance || in.Granted() != 1 {
		t.Errorf("on Nitro: %+v", in)
	} else if s := in.Signer; s.Err != nil || len(s.Certificates) < 2 || len(s.Staples) < 2 || !s.ValidUntil.After(w.now) {
		t.Errorf("the signer: %+v", s)
	} else {
		for _, staple := range s.Staples {
			if staple.Err != nil || staple.Certificate == "" || !staple.NextUpdate.After(w.now) {
				t.Errorf("a staple: %+v", staple)
			}
		}
	}
	in := inspect(w.user, func(a *Agent) { a.Root = fstest.MapFS{xen: {Data: []byte("ec2e1916-9099-7caf-fd21-012345abcdef\n")}} })
	if in.Source != "xen" || in.Instance != w.instance || in.Granted() != 1 {
		t.Errorf("on Xen: %+v", in)
	}
	before := len(w.asked)
	in = inspect(w.user, func(a *Agent) { a.Root = fstest.MapFS{} })
	if in.Nothing != instance.ErrNotEC2.Error() || in.Signer != nil || in.Err != nil || len(w.asked) != before {
		t.Errorf("elsewhere: %+v", in)
	}
	if in = inspect("../root", none); in.Nothing == "" || len(w.asked) != before {
		t.Errorf("for no user: %+v", in)
	}
	if in = inspect("nobody", none); in.Nothing == "" || in.Err != nil || in.Signer == nil || in.Signer.Err != nil {
		t.Errorf("without a record: %+v", in)
	}
	w.faults[keysOfOne] = reason.New(reason.IMDSUnreachable, "nobody answers")
	if in = inspect(w.user, none); reason.Of(in.Err) != reason.IMDSUnreachable || in.Instance != w.instance {
		t.Errorf("unreachable: %+v", in)
	}
	delete(w.faults, keysOfOne)
	w.rootErr = reason.New(reason.Config, "the roots cannot be read")
	if in = inspect(w.user, none); reason.Of(in.Err) != reason.Config || in.Granted() != 0 {
		t.Errorf("without roots: %+v", in)
	}
}
