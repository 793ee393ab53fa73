package keys

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
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
	"github.com/eic-agent/eic-agent/test/vectors"
)

// entries is a metadata service.
type entries map[string][]byte

func (e entries) Get(_ context.Context, path string, _ int) ([]byte, error) {
	if body, ok := e[path]; ok {
		return body, nil
	}
	return nil, imds.ErrNotFound
}

func report(t testing.TB, v vectors.Vector) Report {
	t.Helper()
	cfg, err := config.Parse([]byte(v.Config))
	if err != nil {
		t.Fatal(err)
	}
	agent := &authkeys.Agent{
		Now:      func() time.Time { return v.Now },
		Config:   cfg,
		Metadata: entries(v.Served()),
		Root:     fstest.MapFS{"sys/devices/virtual/dmi/id/board_asset_tag": {Data: []byte(v.Instance)}},
		Roots:    func() (*x509.CertPool, error) { return v.Pool(), nil },
	}
	return New(agent.Inspect(t.Context(), v.User), v.Now)
}

// Text and JSON of every vector carry its reasons, and nothing that a terminal
// would act on.
func TestVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectors.All(t) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			r := report(t, v)
			text := r.Text()
			machine, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			for _, word := range append(slices.Clone(v.Refused), v.Expect) {
				if !slices.Contains(reason.All(), reason.Word(word)) {
					continue
				}
				if !strings.Contains(text, "("+word+")") || !strings.Contains(string(machine), `"reason":"`+word+`"`) {
					t.Errorf("%s: the report does not say %s:\n%s", v.Comment, word, text)
				}
				if hint := reason.Word(word).Hint(); !strings.Contains(text, hint) {
					t.Errorf("%s: the report does not say what to do:\n%s", v.Comment, text)
				}
			}
			if v.Expect == "granted" && (r.Granted == 0 || !strings.Contains(text, "would be granted")) {
				t.Errorf("%s: nothing is granted:\n%s", v.Comment, text)
			}
			for _, shown := range []string{strings.ReplaceAll(text, "\n", ""), string(machine)} {
				if i := strings.IndexFunc(shown, func(c rune) bool { return unicode.IsControl(c) || unicode.Is(unicode.Cf, c) }); i >= 0 {
					t.Errorf("%s: a control character is shown: %q", v.Comment, shown[i:])
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
		{"chain-empty", `user "ec2-user": cannot determine the keys (signer-untrusted)`},
	}
	for _, test := range tests {
		got, _, _ := strings.Cut(report(t, vectors.Read(t, test.vector)).Text(), "\n")
		if got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.vector, got, test.want)
		}
	}
	r := New(authkeys.Inspection{User: "a\x1b[2J", Nothing: "EC2 Instance Connect does not accept this user name"}, time.Unix(0, 0))
	if text := r.Text(); strings.ContainsRune(text, '\x1b') {
		t.Errorf("the user is shown as it came: %q", text)
	}
}

// What is not proved is shown as a claim.
func TestClaims(t *testing.T) {
	t.Parallel()
	const claimed = "(unverified)"
	if text := report(t, vectors.Read(t, "record-ok")).Text(); strings.Contains(text, claimed) {
		t.Errorf("a proved record is shown as a claim:\n%s", text)
	}
	if text := report(t, vectors.Read(t, "caller-altered")).Text(); strings.Count(text, claimed) != 3 {
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

func TestOtherName(t *testing.T) {
	t.Parallel()
	r := report(t, vectors.Read(t, "record-ok"))
	const says = "requests keys for"
	if text := r.Text(); strings.Contains(text, says) {
		t.Errorf("it is the same name:\n%s", text)
	}
	r.SSHDUser = "other"
	if text := r.Text(); !strings.Contains(text, says+` "other"`) {
		t.Errorf("nothing says which:\n%s", text)
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
