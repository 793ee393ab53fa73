package unitfile

import (
	"maps"
	"testing"
)

// The values are those that systemd 257 gives a service that has the text as its
// EnvironmentFile=.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]map[string]string{
		"A=1\nB = 2 \n":                    {"A": "1", "B": "2"},
		"# A=1\n; B=1\n  #C=1\nD=x # y\n":  {"D": "x # y"},
		"A=\"x y\" # z\n":                  {"A": "x y# z"},
		"A='x'\"y\" 'z'\n":                 {"A": "xyz"},
		"A=x\"y\" 'z'\n":                   {"A": "x\"y\" 'z'"},
		"A=\"x\ny\"\nB=1\n":                {"A": "x\ny", "B": "1"},
		"A=x \\\n  y\nB=1":                 {"A": "x   y", "B": "1"},
		"A=\"x \\\n  y \\$z \\q\"\n":       {"A": "x   y $z \\q"},
		"A='x \\\n y'\n":                   {"A": "x \\\n y"},
		"# a comment \\\nA=1\nB=1\n":       {"A": "1", "B": "1"},
		"export A=1\nA-B=1\n1A=1\n_A=1\n":  {"_A": "1"},
		"A=x\\ y\\\\ \\\"z \t\n":           {"A": "x y\\ \"z"},
		"no assignment\nA=1\r\nB=\r\nC=\n": {"A": "1", "B": "", "C": ""},
		"A=1\nA=2":                         {"A": "2"},
		"A==x=y\n":                         {"A": "=x=y"},
	} {
		if got := Environment(text); !maps.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
