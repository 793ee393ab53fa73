package keys

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
	"unicode"

	"github.com/eic-agent/eic-agent/internal/authkeys"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/imds"
	"github.com/eic-agent/eic-agent/internal/reason"
)

const vectorDir = "../../../test/vectors"

// A vector is one file of test/vectors; the README there has the format. Package
// authkeys is strict about it.
type vector struct {
	header map[string][]string
	body   []byte
	now    time.Time
}

func (v vector) get(key string) string { return strings.Join(v.header[key], "\n") }

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(vectorDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func readVector(t testing.TB, name string) vector {
	t.Helper()
	header, body, _ := bytes.Cut(readFile(t, name), []byte("\n\n"))
	v := vector{header: make(map[string][]string), body: body}
	for line := range strings.SplitSeq(string(header), "\n") {
		key, value, _ := strings.Cut(line, ": ")
		v.header[key] = append(v.header[key], value)
	}
	var err error
	if v.now, err = time.Parse(time.RFC3339, v.get("now")); err != nil {
		t.Fatal(err)
	}
	return v
}

// entries is a metadata service.
type entries map[string][]byte

func (e entries) Get(_ context.Context, path string, _ int) ([]byte, error) {
	if body, ok := e[path]; ok {
		return body, nil
	}
	return nil, imds.ErrNotFound
}

func (v vector) report(t testing.TB) Report {
	t.Helper()
	cfg, err := config.Parse([]byte(v.get("config")))
	if err != nil {
		t.Fatal(err)
	}
	served := entries{
		"managed-ssh-keys/active-keys/" + v.get("user") + "/": v.body,
		"managed-ssh-keys/signer-cert/":                       readFile(t, v.get("chain")),
		"placement/region":                                    []byte(v.get("region")),
		"services/domain":                                     []byte(v.get("domain")),
	}
	var names []string
	for _, staple := range v.header["staple"] {
		name, file, _ := strings.Cut(staple, " ")
		served["managed-ssh-keys/signer-ocsp/"+name] = readFile(t, file)
		names = append(names, name)
	}
	served["managed-ssh-keys/signer-ocsp/"] = []byte(strings.Join(names, "\n"))
	agent := &authkeys.Agent{
		Config:   cfg,
		Metadata: served,
		Root:     fstest.MapFS{"sys/devices/virtual/dmi/id/board_asset_tag": {Data: []byte(v.get("instance"))}},
		Roots: func() (*x509.CertPool, error) {
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(readFile(t, v.get("roots")))
			return pool, nil
		},
	}
	return New(agent.Inspect(t.Context(), v.now, v.get("user")), v.now)
}

// Text and JSON of every vector carry its reasons, and nothing that a terminal
// would act on.
func TestVectors(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join(vectorDir, "*.vector"))
	if err != nil || len(paths) < 300 {
		t.Fatalf("found %d vectors, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".vector"), func(t *testing.T) {
			t.Parallel()
			v := readVector(t, filepath.Base(path))
			r := v.report(t)
			text := r.Text()
			machine, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			for _, word := range append(slices.Clone(v.header["refused"]), v.get("expect")) {
				if !slices.Contains(reason.All(), reason.Word(word)) {
					continue
				}
				if !strings.Contains(text, "("+word+")") || !strings.Contains(string(machine), `"reason":"`+word+`"`) {
					t.Errorf("%s: the report does not say %s:\n%s", v.get("comment"), word, text)
				}
				if hint := reason.Word(word).Hint(); !strings.Contains(text, hint) {
					t.Errorf("%s: the report does not say what to do:\n%s", v.get("comment"), text)
				}
			}
			if v.get("expect") == "granted" && (r.Granted == 0 || !strings.Contains(text, "would be granted")) {
				t.Errorf("%s: nothing is granted:\n%s", v.get("comment"), text)
			}
			for _, shown := range []string{strings.ReplaceAll(text, "\n", ""), string(machine)} {
				if i := strings.IndexFunc(shown, func(c rune) bool { return unicode.IsControl(c) || unicode.Is(unicode.Cf, c) }); i >= 0 {
					t.Errorf("%s: a control character is shown: %q", v.get("comment"), shown[i:])
				}
			}
		})
	}
}

func TestFirstLine(t *testing.T) {
	t.Parallel()
	tests := []struct {
		vector string
		want   string
	}{
		{"record-ok", `user "ec2-user": 1 of 1 records would be granted`},
		{"key-rsa1024", `user "ec2-user": none of 1 records would be granted`},
		{"chain-empty", `user "ec2-user": could not find out (signer-untrusted)`},
	}
	for _, test := range tests {
		got, _, _ := strings.Cut(readVector(t, test.vector+".vector").report(t).Text(), "\n")
		if got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.vector, got, test.want)
		}
	}
	r := New(authkeys.Inspection{User: "a\x1b[2J", Nothing: "no key can be pushed for a user of this name"}, time.Unix(0, 0))
	if text := r.Text(); strings.ContainsRune(text, '\x1b') {
		t.Errorf("the user is shown as it came: %q", text)
	}
}

// What is not proved is shown as a claim.
func TestClaims(t *testing.T) {
	t.Parallel()
	const claimed = "(claimed, not proved)"
	if text := readVector(t, "record-ok.vector").report(t).Text(); strings.Contains(text, claimed) {
		t.Errorf("a proved record is shown as a claim:\n%s", text)
	}
	if text := readVector(t, "caller-altered.vector").report(t).Text(); strings.Count(text, claimed) != 3 {
		t.Errorf("an altered record is not shown as a claim:\n%s", text)
	}
}

func TestFailed(t *testing.T) {
	t.Parallel()
	r := Failed("alice", time.Unix(0, 0), reason.New(reason.Config, "the file is broken"))
	if r.Error == nil || r.Error.Reason != reason.Config || r.Error.Hint == "" || r.Granted != 0 || r.Signer != nil {
		t.Errorf("got %+v", r)
	}
	if f := fault(errors.New("a\nb")); strings.Contains(f.Detail, "\n") {
		t.Errorf("got %+v", f)
	}
}

func TestMoment(t *testing.T) {
	t.Parallel()
	for _, seconds := range []int64{1 << 62, -1 << 62, 1<<63 - 1} {
		if m := moment(time.Unix(seconds, 0)); m != nil {
			if _, err := json.Marshal(m); err != nil {
				t.Errorf("%d: %v", seconds, err)
			}
		}
	}
}
