package authkeys

import (
	"context"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/imds"
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/test/vectors"
)

// A vector is one of test/vectors.
type vector struct{ vectors.Vector }

// fakeMetadata serves a vector and counts what is asked.
type fakeMetadata struct {
	entries map[string][]byte
	asked   chan string
}

func (f *fakeMetadata) Get(_ context.Context, path string, limit int) ([]byte, error) {
	f.asked <- path
	body, ok := f.entries[path]
	switch {
	case !ok:
		return nil, imds.ErrNotFound
	case len(body) > limit:
		return nil, reason.New(reason.IMDSError, "too large")
	}
	return body, nil
}

func readVector(t testing.TB, name string) vector {
	t.Helper()
	return vector{vectors.Read(t, name)}
}

func (v vector) metadata() *fakeMetadata {
	return &fakeMetadata{asked: make(chan string, 100), entries: v.Served()}
}

// staplePaths returns where the staples are, in order.
func (v vector) staplePaths() []string {
	var paths []string
	for _, s := range v.Staples {
		paths = append(paths, staplePath+s.Name)
	}
	slices.Sort(paths)
	return paths
}

// run answers the vector, with the instance named by the board or by the
// metadata service.
func (v vector) run(t testing.TB, attest string) (Answer, *fakeMetadata, error) {
	t.Helper()
	cfg, err := config.Parse([]byte(v.Config))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Instance.Attest = attest
	filter, err := fingerprint.ParseFilter(v.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	metadata := v.metadata()
	agent := &Agent{
		Now:      func() time.Time { return v.Now },
		Config:   cfg,
		Metadata: metadata,
		Root:     fstest.MapFS{"sys/devices/virtual/dmi/id/board_asset_tag": {Data: []byte(v.Instance + "\n")}},
		Roots:    func() (*x509.CertPool, error) { return v.Pool(), nil },
	}
	answer, err := agent.Run(t.Context(), v.User, filter)
	return answer, metadata, err
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectors.All(t) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			v := vector{v}
			for _, attest := range []string{config.AttestAuto, config.AttestIMDS} {
				answer, _, err := v.run(t, attest)
				v.judge(t, answer, err)
			}
		})
	}
}

// judge compares an answer with what the vector expects.
func (v vector) judge(t *testing.T, answer Answer, err error) {
	t.Helper()
	want := strings.Join(v.Output, "\n")
	if want != "" {
		want += "\n"
	}
	if got := string(answer.Lines); got != want {
		t.Errorf("%s:\ngot lines  %q\nwant lines %q", v.Comment, got, want)
	}
	wantRefused := v.Refused
	word := reason.Word(v.Expect)
	isReason := slices.Contains(reason.All(), word)
	if isReason && word.RefusesRecord() {
		wantRefused = append([]string{v.Expect}, wantRefused...)
	}
	if got := reason.Of(err); isReason && !word.RefusesRecord() {
		if got != word {
			t.Errorf("%s: the run failed with %q (%v), want %q", v.Comment, got, err, word)
		}
	} else if err != nil {
		t.Errorf("%s: the run failed: %v", v.Comment, err)
	}

	var refused []string
	provided := 0
	for _, e := range answer.Events {
		switch e.Kind {
		case audit.RecordRefused:
			refused = append(refused, string(e.Reason))
			if !strings.Contains(e.Message, string(e.Reason)) {
				t.Errorf("the sentence does not name the reason: %q", e.Message)
			}
		case audit.KeyProvided:
			provided++
		}
		if strings.ContainsAny(e.Message, "\n\r\x1b\x00") {
			t.Errorf("the sentence has control characters: %q", e.Message)
		}
	}
	slices.Sort(refused)
	slices.Sort(wantRefused)
	if !slices.Equal(refused, wantRefused) {
		t.Errorf("%s:\ngot refusals  %q\nwant refusals %q", v.Comment, refused, wantRefused)
	}
	if provided < len(v.Output) || (provided > 0) != (len(v.Output) > 0) {
		t.Errorf("%s: %d keys were provided by the events, %d by the lines", v.Comment, provided, len(v.Output))
	}
}

// A list of reasons that no vector ends in is a check that nobody tests.
func TestVectorsCoverReasons(t *testing.T) {
	t.Parallel()
	elsewhere := []reason.Word{reason.BoardUnreadable, reason.IMDSUnreachable, reason.IMDSError, reason.Deadline, reason.Config, reason.Usage, reason.OutputFailed, reason.ChainFailed, reason.OverLimit,
		reason.AlreadyUsed, reason.NotPushed, reason.NotEC2, reason.NoSuchPort, reason.NotRemembered, reason.GettyFailed, reason.LineUnusable}
	seen := make(map[string]bool)
	for _, v := range vectors.All(t) {
		seen[v.Expect] = true
	}
	for _, word := range reason.All() {
		if !seen[string(word)] && !slices.Contains(elsewhere, word) {
			t.Errorf("no vector expects %q", word)
		}
	}
}
