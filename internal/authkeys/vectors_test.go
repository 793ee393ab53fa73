package authkeys

import (
	"bytes"
	"context"
	"crypto/x509"
	"os"
	"path/filepath"
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
)

const vectorDir = "../../test/vectors"

// A vector is one file of test/vectors; the README there has the format.
type vector struct {
	expect, comment              string
	refused, output, config      []string
	now                          time.Time
	instance, user, fingerprint  string
	region, domain, roots, chain string
	staples                      map[string]string // name to file
	body                         []byte
}

func readVector(t testing.TB, path string) vector {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	header, body, ok := bytes.Cut(text, []byte("\n\n"))
	if !ok {
		t.Fatalf("%s has no blank line after its header", path)
	}
	v := vector{body: body, staples: make(map[string]string)}
	single := map[string]*string{
		"expect": &v.expect, "comment": &v.comment, "instance": &v.instance, "user": &v.user, "fingerprint": &v.fingerprint,
		"region": &v.region, "domain": &v.domain, "roots": &v.roots, "chain": &v.chain,
	}
	several := map[string]*[]string{"refused": &v.refused, "output": &v.output, "config": &v.config}
	for line := range strings.SplitSeq(string(header), "\n") {
		key, value, ok := strings.Cut(line, ": ")
		switch {
		case !ok:
			t.Fatalf("%s: not a header line: %q", path, line)
		case single[key] != nil:
			*single[key] = value
		case several[key] != nil:
			*several[key] = append(*several[key], value)
		case key == "now":
			if v.now, err = time.Parse(time.RFC3339, value); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
		case key == "staple":
			name, file, _ := strings.Cut(value, " ")
			v.staples[name] = file
		default:
			t.Fatalf("%s: unknown header %q", path, key)
		}
	}
	known := v.expect == "granted" || v.expect == "none" || slices.Contains(reason.All(), reason.Word(v.expect))
	if !known || v.comment == "" || (v.expect == "granted") != (len(v.output) > 0) {
		t.Fatalf("%s: expect, comment and output do not go together", path)
	}
	return v
}

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

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(vectorDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (v vector) metadata(t testing.TB) *fakeMetadata {
	t.Helper()
	f := &fakeMetadata{asked: make(chan string, 100), entries: map[string][]byte{
		keysPath + v.user + "/": v.body,
		chainPath:               readFile(t, v.chain),
		"placement/region":      []byte(v.region),
		"services/domain":       []byte(v.domain),
		"instance-id":           []byte(v.instance),
	}}
	var listing strings.Builder
	for name, path := range v.staples {
		listing.WriteString(name + "\n")
		f.entries[staplePath+name] = readFile(t, path)
	}
	f.entries[staplePath] = []byte(listing.String())
	return f
}

// run answers the vector, with the instance named by the board or by the
// metadata service.
func (v vector) run(t testing.TB, attest string) (Answer, *fakeMetadata, error) {
	t.Helper()
	cfg, err := config.Parse([]byte(strings.Join(v.config, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Instance.Attest = attest
	filter, err := fingerprint.ParseFilter(v.fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	metadata := v.metadata(t)
	agent := &Agent{
		Config:   cfg,
		Metadata: metadata,
		Root:     fstest.MapFS{"sys/devices/virtual/dmi/id/board_asset_tag": {Data: []byte(v.instance + "\n")}},
		Roots: func() (*x509.CertPool, error) {
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(readFile(t, v.roots))
			return pool, nil
		},
	}
	answer, err := agent.Run(t.Context(), v.now, v.user, filter)
	return answer, metadata, err
}

func TestVectors(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join(vectorDir, "*.vector"))
	if err != nil || len(paths) < 300 {
		t.Fatalf("found %d vectors, %v", len(paths), err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".vector")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := readVector(t, path)
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
	want := strings.Join(v.output, "\n")
	if want != "" {
		want += "\n"
	}
	if got := string(answer.Lines); got != want {
		t.Errorf("%s:\ngot lines  %q\nwant lines %q", v.comment, got, want)
	}
	wantRefused := v.refused
	word := reason.Word(v.expect)
	isReason := slices.Contains(reason.All(), word)
	if isReason && word.RefusesRecord() {
		wantRefused = append([]string{v.expect}, wantRefused...)
	}
	if got := reason.Of(err); isReason && !word.RefusesRecord() {
		if got != word {
			t.Errorf("%s: the run failed with %q (%v), want %q", v.comment, got, err, word)
		}
	} else if err != nil {
		t.Errorf("%s: the run failed: %v", v.comment, err)
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
		t.Errorf("%s:\ngot refusals  %q\nwant refusals %q", v.comment, refused, wantRefused)
	}
	if provided < len(v.output) || (provided > 0) != (len(v.output) > 0) {
		t.Errorf("%s: %d keys were provided by the events, %d by the lines", v.comment, provided, len(v.output))
	}
}

// A list of reasons that no vector ends in is a check that nobody tests.
func TestVectorsCoverReasons(t *testing.T) {
	t.Parallel()
	elsewhere := []reason.Word{reason.IMDSUnreachable, reason.IMDSError, reason.Deadline, reason.Config, reason.Usage, reason.OutputFailed,
		reason.AlreadyUsed, reason.NotPushed, reason.NotEC2, reason.NoSuchPort, reason.NotRemembered, reason.GettyFailed, reason.LineUnusable}
	paths, _ := filepath.Glob(filepath.Join(vectorDir, "*.vector"))
	seen := make(map[string]bool)
	for _, path := range paths {
		seen[readVector(t, path).expect] = true
	}
	for _, word := range reason.All() {
		if !seen[string(word)] && !slices.Contains(elsewhere, word) {
			t.Errorf("no vector expects %q", word)
		}
	}
}
