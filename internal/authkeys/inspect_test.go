package authkeys

import (
	"crypto/x509"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/instance"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/test/vectors"
)

func (v vector) inspect(t testing.TB, attest string) Inspection {
	t.Helper()
	cfg, err := config.Parse([]byte(v.Config))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Instance.Attest = attest
	agent := &Agent{
		Now:      func() time.Time { return v.Now },
		Config:   cfg,
		Metadata: v.metadata(),
		Root:     fstest.MapFS{board: {Data: []byte(v.Instance + "\n")}},
		Roots:    func() (*x509.CertPool, error) { return v.Pool(), nil },
	}
	return agent.Inspect(t.Context(), v.User)
}

// Inspect gives for every vector the result of Run, and the checks by themselves
// say the same.
func TestInspectVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectors.All(t) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			v := vector{v}
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
	word := reason.Word(v.Expect)
	wantRefused := slices.Clone(v.Refused)
	runFails := slices.Contains(reason.All(), word) && !word.RefusesRecord()
	if word.RefusesRecord() {
		wantRefused = append(wantRefused, v.Expect)
	}
	if got := reason.Of(in.Err); (runFails && got != word) || (!runFails && in.Err != nil) {
		t.Errorf("%s: cannot determine the keys: %v, want %s", v.Comment, in.Err, v.Expect)
	}
	if runFails && (in.Signer == nil || reason.Of(in.Signer.Err) != word) {
		t.Errorf("%s: the signer is said to be %+v", v.Comment, in.Signer)
	}
	if v.Fingerprint != "" {
		return // Inspect has no filter: it shows the other keys too
	}
	slices.Sort(refused)
	slices.Sort(wantRefused)
	if !slices.Equal(refused, wantRefused) {
		t.Errorf("%s: refused %q, want %q", v.Comment, refused, wantRefused)
	}
	if (in.Granted() > 0) != (len(v.Output) > 0) {
		t.Errorf("%s: %d are granted, want %d", v.Comment, in.Granted(), len(v.Output))
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
		agent := &Agent{Now: w.clock, Config: config.Default(), Metadata: w, Root: w.root, Roots: func() (*x509.CertPool, error) { return w.Pool(), w.rootErr }}
		change(agent)
		return agent.Inspect(t.Context(), user)
	}
	none := func(*Agent) {}

	if in := inspect(w.User, none); in.Source != "board" || in.Instance != w.Instance || in.Granted() != 1 {
		t.Errorf("on Nitro: %+v", in)
	} else if s := in.Signer; s.Err != nil || len(s.Certificates) < 2 || len(s.Staples) < 2 || !s.ValidUntil.After(w.Now) {
		t.Errorf("the signer: %+v", s)
	} else {
		for _, staple := range s.Staples {
			if staple.Err != nil || staple.Certificate == "" || !staple.NextUpdate.After(w.Now) {
				t.Errorf("a staple: %+v", staple)
			}
		}
	}
	in := inspect(w.User, func(a *Agent) { a.Root = fstest.MapFS{xen: {Data: []byte("ec2e1916-9099-7caf-fd21-012345abcdef\n")}} })
	if in.Source != "xen" || in.Instance != w.Instance || in.Granted() != 1 {
		t.Errorf("on Xen: %+v", in)
	}
	before := len(w.asked)
	in = inspect(w.User, func(a *Agent) { a.Root = fstest.MapFS{} })
	if in.Nothing != instance.ErrNotEC2.Error() || in.Signer != nil || in.Err != nil || len(w.asked) != before {
		t.Errorf("elsewhere: %+v", in)
	}
	in = inspect(w.User, func(a *Agent) { a.Root = sealed{} })
	if in.Nothing != "" || reason.Of(in.Err) != reason.BoardUnreadable || len(w.asked) != before {
		t.Errorf("where the board may not be read: %+v", in)
	}
	if in = inspect("../root", none); in.Nothing == "" || len(w.asked) != before {
		t.Errorf("for no user: %+v", in)
	}
	if in = inspect("nobody", none); in.Nothing == "" || in.Err != nil || in.Signer == nil || in.Signer.Err != nil {
		t.Errorf("without a record: %+v", in)
	}
	w.faults[keysOfOne] = reason.New(reason.IMDSUnreachable, "nobody answers")
	if in = inspect(w.User, none); reason.Of(in.Err) != reason.IMDSUnreachable || in.Instance != w.Instance {
		t.Errorf("unreachable: %+v", in)
	}
	delete(w.faults, keysOfOne)
	w.rootErr = reason.New(reason.Config, "the roots cannot be read")
	if in = inspect(w.User, none); reason.Of(in.Err) != reason.Config || in.Granted() != 0 {
		t.Errorf("without roots: %+v", in)
	}
}
