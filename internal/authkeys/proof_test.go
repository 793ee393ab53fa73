package authkeys

import (
	"crypto/x509"
	"errors"
	"testing"
	"testing/fstest"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/test/vectors"
)

func (w *world) agent() *Agent {
	return &Agent{Now: w.clock, Config: w.config, Metadata: w, Root: w.root, Roots: func() (*x509.CertPool, error) {
		return w.Pool(), nil
	}}
}

// Prove decides as Run does, for every vector.
func TestProveDecidesAsRun(t *testing.T) {
	t.Parallel()
	granted := 0
	for _, v := range vectors.All(t) {
		name := v.Name
		if v.Fingerprint != "" {
			continue // Prove has no filter
		}
		w := newWorld(t, name)
		cfg, err := config.Parse([]byte(v.Config))
		if err != nil {
			t.Fatal(err)
		}
		w.config = cfg
		answer, runErr := w.run(t)
		proof, proveErr := w.agent().Prove(t.Context(), w.User, w.Instance)
		if (len(answer.Lines) > 0) != (len(proof.Keys) > 0) || reason.Of(runErr) != reason.Of(proveErr) {
			t.Errorf("%s: Run gives %q, %v; Prove %d keys, %v", name, answer.Lines, runErr, len(proof.Keys), proveErr)
		}
		if got, want := len(proof.Refused), answer.count("record-refused"); got != want {
			t.Errorf("%s: Prove refuses %d records, Run %d", name, got, want)
		}
		for _, key := range proof.Keys {
			if key.Signed() == nil || key.Type() == "" {
				t.Errorf("%s: an empty key", name)
			}
		}
		granted += len(proof.Keys)
	}
	if granted < 30 {
		t.Errorf("only %d keys were granted", granted)
	}
}

func TestProveIsForOneInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t, okVector)
	for _, id := range []string{"", "x", otherID} {
		proof, err := w.agent().Prove(t.Context(), w.User, id)
		if len(proof.Keys) > 0 || err != nil || (len(proof.Refused) > 0) != (id == otherID) {
			t.Errorf("%q: %+v, %v", id, proof, err)
		}
	}
	if proof, err := w.agent().Prove(t.Context(), "../x", w.Instance); len(proof.Keys) > 0 || err != nil {
		t.Errorf("a bad name: %+v, %v", proof, err)
	}
}

func TestInstanceID(t *testing.T) {
	t.Parallel()
	fault := reason.New(reason.IMDSUnreachable, "away")
	for name, test := range map[string]struct {
		change func(w *world)
		want   string
		word   reason.Word
		asked  int
	}{
		"board":         {func(*world) {}, "", "", 0},
		"no EC2":        {func(w *world) { w.root = fstest.MapFS{} }, "", reason.NotEC2, 0},
		"sealed":        {func(w *world) { w.root = sealed{} }, "", reason.BoardUnreadable, 0},
		"Xen":           {func(w *world) { w.root = fstest.MapFS{xen: {Data: []byte("ec2e1916\n")}} }, "", "", 1},
		"attest = imds": {func(w *world) { w.config.Instance.Attest = config.AttestIMDS; w.root = fstest.MapFS{} }, "", "", 1},
		"junk": {func(w *world) {
			w.config.Instance.Attest = config.AttestIMDS
			w.entries["instance-id"] = []byte("i-x/../")
		}, "", reason.IMDSError, 1},
		"none": {func(w *world) {
			w.config.Instance.Attest = config.AttestIMDS
			delete(w.entries, "instance-id")
		}, "", reason.IMDSError, 1},
		"away": {func(w *world) {
			w.config.Instance.Attest = config.AttestIMDS
			w.faults["instance-id"] = fault
		}, "", reason.IMDSUnreachable, 1},
	} {
		w := newWorld(t, okVector)
		test.change(w)
		id, err := w.agent().InstanceID(t.Context())
		if reason.Of(err) != test.word || (err == nil) != (id == w.Instance) || err != nil && id != "" || len(w.asked) != test.asked {
			t.Errorf("%s: %q, %v; asked %q", name, id, err, w.asked)
		}
		if name == "away" && !errors.Is(err, fault) {
			t.Errorf("the error has lost its cause: %v", err)
		}
	}
}
