package config

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/test/need"
)

// full is a file that sets every key to something that is not its default.
const full = `
[instance]
attest = "imds"

[imds]
endpoint = "http://[fd00:ec2::254]"
timeout = "1s500ms"

[trust]
roots = "/etc/eic-agent/roots.pem"
domains = ["example.com", "a-1.internal"]

[keys]
max_lifetime = "30s"
clock_skew = "0s"
min_rsa_bits = 3072
types = ["ssh-ed25519", "ssh-rsa"]
options = 'restrict,command="echo \"a b\""'
expiry_time = true

[users]
deny = ["root", "admin-*"]
allow = ["[a-z]*"]
enforce = false

[[users.map]]
caller = "arn:aws:sts::*:assumed-role/dba/*"
users = ["postgres"]

[[users.map]]
caller = "arn:aws:iam::123456789012:user/?"
users = ["*"]

[cache]
dir = ""

[serial]
when_unreachable = "open"
idle_timeout = "15m"
max_session = "8h"
port = 1

[chain]
command = ["/usr/bin/userdbctl", "ssh-authorized-keys", "%u"]
`

func TestParseFull(t *testing.T) {
	t.Parallel()
	c, err := Parse([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	want := new(Config)
	want.Instance.Attest = "imds"
	want.IMDS.Endpoint = "http://[fd00:ec2::254]"
	want.IMDS.Timeout.Duration = 1500 * time.Millisecond
	want.Trust.Roots = "/etc/eic-agent/roots.pem"
	want.Trust.Domains = []string{"example.com", "a-1.internal"}
	want.Keys.MaxLifetime.Duration = 30 * time.Second
	want.Keys.MinRSABits = 3072
	want.Keys.Types = []string{"ssh-ed25519", "ssh-rsa"}
	want.Keys.Options = `restrict,command="echo \"a b\""`
	want.Keys.ExpiryTime = true
	want.Users.Deny = []string{"root", "admin-*"}
	want.Users.Allow = []string{"[a-z]*"}
	want.Users.Map = []UserMap{
		{"arn:aws:sts::*:assumed-role/dba/*", []string{"postgres"}},
		{"arn:aws:iam::123456789012:user/?", []string{"*"}},
	}
	want.Serial = Serial{UnreachableOpen, limit(15 * time.Minute), limit(8 * time.Hour), 1}
	want.Chain.Command = []string{"/usr/bin/userdbctl ssh-authorized-keys %u"}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	// A key that is new in Config needs a line in full.
	if defaults := Default(); reflect.DeepEqual(c.Cache, defaults.Cache) || anyEqual(reflect.ValueOf(*c), reflect.ValueOf(*defaults)) {
		t.Error("a key of the test file has its default")
	}
}

// anyEqual reports whether a field of two structs, or of the structs in them, is
// the same in both.
func anyEqual(a, b reflect.Value) bool {
	for i := range a.NumField() {
		if a.Field(i).Kind() == reflect.Struct && a.Type().Field(i).Type != reflect.TypeFor[Duration]() {
			if anyEqual(a.Field(i), b.Field(i)) {
				return true
			}
		} else if reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			return true
		}
	}
	return false
}

func TestDefault(t *testing.T) {
	t.Parallel()
	want := Default()
	if err := want.check(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
	if len(want.Keys.Types) != 7 || want.Keys.MinRSABits != 2048 || want.IMDS.Endpoint != "http://169.254.169.254" || want.IMDS.Timeout.Duration != 4*time.Second ||
		want.Keys.MaxLifetime.Duration != time.Minute || want.Keys.ClockSkew.Duration != time.Minute || want.Instance.Attest != "auto" || want.Cache.Dir != "/run/eic-agent" ||
		want.Keys.Options != "" || want.Keys.ExpiryTime || want.Trust.Roots != "" || want.Trust.Domains != nil || !reflect.DeepEqual(want.Users, Users{Enforce: true}) {
		t.Errorf("the default is %+v", want)
	}
	for _, text := range []string{"", "\n", "# nothing\n", "\r\n", "[imds]\n[keys]\n[users]\n[instance]\n[trust]\n[cache]\n", "[users]\nmap = []\ndeny = []\n"} {
		got, err := Parse([]byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if got.Users.Map = nil; len(got.Users.Deny) == 0 {
			got.Users.Deny = nil
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%q gives %+v", text, got)
			}
		}
	}
}

// TestParseValues has good and bad values of every key.
func TestParseValues(t *testing.T) {
	t.Parallel()
	for key, values := range map[string]struct{ good, bad []string }{
		"instance.attest": {
			[]string{`"auto"`, `"imds"`, `'imds'`},
			[]string{`""`, `"Auto"`, `"xen"`, `true`, `1`, `["auto"]`, `"auto "`},
		},
		"imds.endpoint": {
			[]string{`"auto"`, `"http://169.254.169.254"`, `"http://[fd00:ec2::254]"`, `"http://127.0.0.1:1338"`},
			[]string{`""`, `"https://169.254.169.254"`, `"169.254.169.254"`, `"http://a b"`, `"http://127.0.0.1:99999"`, `"http://x/latest"`, `1`, `["auto"]`, `"\u0000"`},
		},
		"imds.timeout": {
			[]string{`"4s"`, `"100ms"`, `"1s500ms"`, `"0.5s"`},
			[]string{`""`, `"4"`, `4`, `4.5`, `true`, `"5s"`, `"4001ms"`, `"99ms"`, `"0s"`, `"-1s"`, `"9999999h"`, `"4 s"`, `["4s"]`, `1979-05-27`, `nan`},
		},
		"trust.roots": {
			[]string{`""`, `"system"`, `"/etc/roots.pem"`},
			[]string{`"System"`, `"roots.pem"`, `"./roots.pem"`, `"~/roots.pem"`, `"/a\nb"`, `"/a\u0000"`, `true`, `["/a"]`},
		},
		"trust.domains": {
			[]string{`[]`, `["example.com"]`, `["a", "b-c.d1"]`},
			[]string{`"example.com"`, `[""]`, `["Example.com"]`, `["example.com."]`, `[".example.com"]`, `["a..b"]`, `["a/b"]`, `["*.a"]`, `["a b"]`, `["ä"]`, `[1]`, `["a", ""]`, `["` + strings.Repeat("a", 254) + `"]`},
		},
		"keys.max_lifetime": {
			[]string{`"60s"`, `"1s"`, `"10m"`},
			[]string{`"0s"`, `"999ms"`, `"10m1s"`, `"-1s"`, `60`, `""`, `"1 minute"`, `true`},
		},
		"keys.clock_skew": {
			[]string{`"60s"`, `"0s"`, `"0"`, `0`, `"10m"`},
			[]string{`"-1ns"`, `"10m1ns"`, `60`, `""`, `false`},
		},
		"keys.min_rsa_bits": {
			[]string{`2048`, `3072`, `16384`, `4_096`, `0x1000`},
			[]string{`2047`, `16385`, `0`, `-2048`, `"2048"`, `2048.0`, `true`, `99999999999999999999`},
		},
		"keys.types": {
			[]string{`["ssh-ed25519"]`, `["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"]`},
			[]string{`"ssh-rsa"`, `["ssh-dss"]`, `["rsa"]`, `["SSH-RSA"]`, `["rsa-sha2-256"]`, `["ssh-ed25519-cert-v01@openssh.com"]`, `[""]`, `[1]`, `["ssh-rsa", "x"]`, `[["ssh-rsa"]]`},
		},
		"keys.options": {
			[]string{`""`, `"restrict"`, `"restrict,pty"`, `'from="10.0.0.0/8"'`},
			[]string{`"unknown"`, `"restrict pty"`, `"restrict\n"`, `"cert-authority"`, `["restrict"]`, `true`},
		},
		"keys.expiry_time": {
			[]string{`true`, `false`},
			[]string{`"true"`, `1`, `"yes"`, `True`},
		},
		"users.deny": {[]string{`[]`, `["root"]`, `["a*", "?", "[a-z]"]`, `["[!d]*", "[^d]*", "[[:lower:]]*", "i-*.port0"]`},
			[]string{`"root"`, `[""]`, `["["]`, `["a[b"]`, `['a\']`, `["%wheel"]`, `["@admins"]`, `["a b"]`, `["root", "!a"]`, `["[z-a]*"]`, `["[:lower:]*"]`, `["[[:word:]]"]`, `[1]`, `[["root"]]`, `["root", 1]`, `true`}},
		"users.allow": {[]string{`[]`, `["root"]`, `["a*", "?", "[a-z]"]`}, []string{`"root"`, `[""]`, `["[]"]`, `["[a"]`, `["%wheel"]`, `["{a,b}"]`, `["1000"]`, `[1]`, `["root", "["]`}},
		"users.map": {
			[]string{`[]`, `[{caller = "arn:aws:iam::1:user/x", users = ["a"]}]`, `[{caller = "arn:*:*:*:*:*", users = ["*"]}]`, `[{caller = "arn:aws:iam::[[:digit:]]*:user/[!x]", users = ["[!r]*"]}]`},
			[]string{
				`[{}]`, `[{users = ["a"]}]`, `[{caller = "arn:aws:iam::1:user/x"}]`, `[{caller = "arn:aws:iam::1:user/x", users = []}]`, `[{caller = "arn:aws:iam::1:user/x", users = [""]}]`,
				`[{caller = "arn:aws:iam::1:user/x", users = ["["]}]`, `[{caller = "arn:aws:iam::1:user/x", users = "a"}]`, `[{caller = "*", users = ["a"]}]`, `[{caller = "", users = ["a"]}]`,
				`[{caller = "arn:aws:iam::1", users = ["a"]}]`, `[{caller = "ARN:aws:iam::1:user/x", users = ["a"]}]`, `[{caller = "arn:aws:iam::1:user/[", users = ["a"]}]`,
				`[{caller = "arn:aws:i[:]m::1:user/x", users = ["a"]}]`, `[{caller = "arn:aws:iam::1:user/x", users = ["%wheel"]}]`, `[{caller = "arn:aws:iam::1:user/[z-a]", users = ["a"]}]`, `[{caller = 1, users = ["a"]}]`, `[1]`, `{}`, `"a"`,
			},
		},
		"chain.command": {
			[]string{`[]`, `["/usr/bin/userdbctl ssh-authorized-keys %u", "/bin/x"]`},
			[]string{`"/bin/x"`, `["x"]`, `[""]`, `["/bin/x %h"]`, `["/bin/x 'a"]`, `[["/bin/x"]]`, `[1]`, `true`},
		},
		"cache.dir": {[]string{`""`, `"/run/x"`}, []string{`"run/x"`, `"."`, `"/a\nb"`, `true`, `["/a"]`}},
	} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			table, name, _ := strings.Cut(key, ".")
			for _, value := range values.good {
				if _, err := Parse(fmt.Appendf(nil, "[%s]\n%s = %s\n", table, name, value)); err != nil {
					t.Errorf("%s = %s: %v", key, value, err)
				}
			}
			for _, value := range values.bad {
				c, err := Parse(fmt.Appendf(nil, "[%s]\n%s = %s\n", table, name, value))
				if err == nil || c != nil {
					t.Errorf("%s = %s is taken", key, value)
					continue
				}
				// Where the value is no TOML there is but a line.
				if !strings.Contains(err.Error(), key) && !strings.HasPrefix(err.Error(), "line 2: ") {
					t.Errorf("%s = %s: the error does not name the key: %v", key, value, err)
				}
				checkLine(t, err)
			}
		})
	}
}

// checkLine checks that an error is one line without Go's types.
func checkLine(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	if strings.ContainsFunc(text, unicode.IsControl) || strings.Contains(text, "struct") && !strings.Contains(text, "array table in a struct") || len(text) > 600 {
		t.Errorf("the error is no short line for an administrator: %q", text)
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"x = 1\n":                               `line 1: unknown key "x"`,
		"[x]\ny = 1\n":                          `line 1: unknown key "x"`,
		"[x]\n":                                 `line 1: unknown key "x"`,
		"[[x]]\n":                               `line 1: unknown key "x"`,
		"\n[keys]\nx = 1\n":                     `line 3: unknown key "keys.x"`,
		"keys.x = 1\n":                          `line 1: unknown key "keys.x"`,
		"[keys.x]\ny = 1\n":                     `line 1: unknown key "keys.x"`,
		"[imds]\ntimeout = {seconds = 4}\n":     `line 2: unknown key`,
		"[imds.timeout]\nduration = 4\n":        `line 2: unknown key`,
		"[[users.map]]\nx = 1\n":                `line 2: unknown key "users.map.x"`,
		"[users]\nmap = [{x = 1}]\n":            `line 2: unknown key "users.x"`,
		"[console]\nport = 0\n":                 `line 1: unknown key "console"`,
		"[Keys]\n":                              `unknown key "Keys": keys are written in lower case`,
		"[keys]\nTypes = [\"ssh-rsa\"]\n":       `unknown key "Types": keys are written in lower case`,
		"[users]\ndeny = [\"root\"]\nDeny = []": `unknown key "Deny": keys are written in lower case`,
		"[[users.map]]\nusers = [\"a\"]\nCaller = \"arn:aws:iam::1:user/x\"": `unknown key "Caller": keys are written in lower case`,
		"[users]\ndeny = [\"root\"]\nDeny = []\n[keys]\n":                    `unknown key "Deny": keys are written in lower case`,
		"[users]\nmap = [{users = [\"a\"]}, {Users = [\"b\"]}]":              `unknown key "Users": keys are written in lower case`,
		"[users]\ndeny = [\"root\"]\n\"\\u0044eny\" = []":                    `unknown key "Deny": keys are written in lower case`,
		"[\"\u212aeys\"]\n":                    "unknown key \"\u212aeys\"",
		"[keys]\n\"\" = 1\n":                   `line 2: unknown key "keys."`,
		"[users]\ndeny = []\ndeny = []\n":      "line 3: deny: key deny is already defined",
		"[imds]\n[keys]\n[imds]\n":             "line 3: imds: table imds already exists",
		"imds.timeout = \"1s\"\n[imds]\n":      "line 2: imds",
		"\"a\\nb\" = 1\n\"a\\nb\" = 1\n":       "line 2: a?b",
		"\"\\u009b\" = 1\n\"\\u009b\" = 1\n":   "line 2: ?",
		"\"a\\nb\" = 1\n":                      `line 1: unknown key "a\nb"`,
		"imds = 1\n":                           "line 1: imds: ",
		"users = []\n":                         "line 1: users: ",
		"[[keys]]\n":                           "line 1: keys: ",
		"[imds\n":                              "line 1: ",
		"[imds]\nendpoint\n":                   "line 2: ",
		"[imds]\nendpoint =\n":                 "line 2: ",
		"[imds]\nendpoint = \"x\n":             "line 2: ",
		"[imds]\nendpoint = \"\"\"x\n":         "line 2: ",
		"[imds]\nendpoint = auto\n":            "line 2: ",
		"[imds]\ntimeout = 4s\n":               "line 2: ",
		"[imds] timeout = \"4s\"\n":            "line 1: ",
		"<html>\n":                             "line 1: ",
		"\x00":                                 "line 1: ",
		"[imds]\n\x00":                         "line 2: ",
		"# \x00\n":                             "line 1: ",
		"# \xff\n":                             "line 1: ",
		"[imds]\nendpoint = \"\xff\"\n":        "line 2: ",
		"[imds]\nendpoint = \"\x1b[31m\"\n":    "line 2: ",
		"\ufeff[imds]\n":                       "line 1: ",
		"\xff\xfe[\x00i\x00":                   "line 1: ",
		"[imds]\rtimeout = \"4s\"\r":           "line 1: ",
		"a" + strings.Repeat("x", 5000) + "=1": `line 1: unknown key "axxx`,
	} {
		c, err := Parse([]byte(text))
		if err == nil || c != nil {
			t.Errorf("%q is taken", text)
			continue
		}
		if !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.100q: the error is %q, want %q", text, err, want)
		}
		checkLine(t, err)
	}
}

// A list in the file stands for itself: it is not added to the default.
func TestParseReplacesLists(t *testing.T) {
	t.Parallel()
	c, err := Parse([]byte("[keys]\ntypes = [\"ssh-rsa\"]\n"))
	if err != nil || !reflect.DeepEqual(c.Keys.Types, []string{"ssh-rsa"}) {
		t.Errorf("types are %q, %v", c.Keys.Types, err)
	}
	if c, err = Parse([]byte("[keys]\ntypes = []\n")); err == nil || c != nil {
		t.Errorf("no types are taken: %v", c)
	}
	if n := len(Default().Keys.Types); n != 7 {
		t.Errorf("the default has %d types afterwards", n)
	}
}

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{path: mode, filepath.Dir(path): 0o755, filepath.Dir(filepath.Dir(path)): 0o755} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestLoad(t *testing.T) {
	t.Parallel()
	need.Root(t)
	if c, err := Load(write(t, full, 0o644)); err != nil || c.Keys.MinRSABits != 3072 {
		t.Errorf("a good file: %v", err)
	}
	dir := filepath.Dir(write(t, "", 0o600))
	for name, test := range map[string]struct{ path, says string }{
		"broken":                 {write(t, "[imds]\nx = 1\n", 0o644), `/file: line 2: unknown key "imds.x"`},
		"a bad value":            {write(t, "[imds]\ntimeout = \"9s\"\n", 0o644), "/file: imds.timeout: 9s is not between 100ms and 4s"},
		"others may write":       {write(t, full, 0o646), "/file is writable by users other than root"},
		"too large":              {write(t, strings.Repeat("#\n", maxFile/2+1), 0o644), "/file is larger than 1048576 bytes"},
		"missing":                {filepath.Join(dir, "none"), "/none: no such file or directory"},
		"in a missing directory": {filepath.Join(dir, "none/config.toml"), "/none: no such file or directory"},
		"a directory":            {dir, "is not a regular file"},
		"relative":               {"config.toml", "config.toml is not an absolute path"},
		"empty":                  {"", "is not an absolute path"},
		"like the default":       {"/etc/../etc/eic-agent-none/config.toml", "/etc/eic-agent-none: no such file or directory"},
	} {
		c, err := Load(test.path)
		if c != nil || reason.Of(err) != reason.Config || !strings.Contains(err.Error(), test.says) || !strings.HasPrefix(err.Error(), "cannot use the configuration: ") {
			t.Errorf("%s: %v, %v, want an error that says %q", name, c, err, test.says)
		}
		if err != nil {
			checkLine(t, err)
		}
		// The default may be missing; nothing else is forgiven there.
		var want *Config
		if strings.Contains(test.says, "no such file") {
			want = Default()
		}
		if c, err := load("", test.path, true); !reflect.DeepEqual(c, want) || (err == nil) != (want != nil) {
			t.Errorf("%s, at the default path: %v, %v", name, c, err)
		}
	}
	if _, err := os.Lstat(DefaultPath); errors.Is(err, os.ErrNotExist) {
		if c, err := Load(DefaultPath); err != nil || !reflect.DeepEqual(c, Default()) {
			t.Errorf("no file at the default path: %v, %v", c, err)
		}
	}
}

// two are two of the built-in roots, in PEM.
func two(t *testing.T) (first, second string) {
	t.Helper()
	text, err := os.ReadFile("../signer/amazon.pem")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.SplitAfter(string(text), "-----END CERTIFICATE-----\n")
	return parts[0], parts[1]
}

func TestRoots(t *testing.T) {
	t.Parallel()
	need.Root(t)
	first, second := two(t)
	roots := func(path string) (*x509.CertPool, error) {
		c := Default()
		c.Trust.Roots = path
		return c.Roots()
	}
	if pool, err := roots(""); pool != nil || err != nil {
		t.Errorf("no roots: %v, %v", pool, err)
	}
	for name, test := range map[string]struct {
		text string
		n    int
	}{
		"one": {first, 1}, "two": {first + second, 2}, "twice": {first + first, 1}, "with text": {"roots\n\n" + first + "and\n" + second + "the end", 2},
		"CRLF": {strings.ReplaceAll(first+second, "\n", "\r\n"), 2}, "beside a key": {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n" + first, 1},
	} {
		pool, err := roots(write(t, test.text, 0o644))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		//lint:ignore SA1019 the pool is no system pool
		if n := len(pool.Subjects()); n != test.n {
			t.Errorf("%s: %d roots, want %d", name, n, test.n)
		}
	}
	const partly = "only 1 of 2 are valid"
	for name, test := range map[string]struct{ path, says string }{
		"missing":                {filepath.Join(filepath.Dir(write(t, "", 0o600)), "none"), "/none: no such file or directory"},
		"others may write":       {write(t, first, 0o666), "/file is writable by users other than root"},
		"empty":                  {write(t, "", 0o644), "/file contains no certificate"},
		"no certificate":         {write(t, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", 0o644), "/file contains no certificate"},
		"an error page":          {write(t, "<html>", 0o644), "/file contains no certificate"},
		"broken":                 {write(t, "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", 0o644), "only 0 of 1 are valid"},
		"the first is broken":    {write(t, "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"+first, 0o644), "only 0 of 2 are valid"},
		"the second is broken":   {write(t, first+"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", 0o644), partly},
		"cut off":                {write(t, first+second[:len(second)-40], 0o644), partly},
		"cut off before another": {write(t, first[:len(first)-100]+"\n"+second, 0o644), partly},
		"no base64":              {write(t, first+strings.Replace(second, "MII", "M!I", 1), 0o644), partly},
		"too large":              {write(t, first+strings.Repeat("\n", maxFile), 0o644), "is larger than"},
	} {
		pool, err := roots(test.path)
		if pool != nil || reason.Of(err) != reason.Config || !strings.Contains(err.Error(), test.says) || !strings.HasPrefix(err.Error(), "cannot use trust.roots: ") {
			t.Errorf("%s: %v, %v, want an error that says %q", name, pool, err, test.says)
		}
		if err != nil {
			checkLine(t, err)
		}
	}
}

const systemChild = "EIC_TEST_SYSTEM_ROOTS"

// crypto/x509 reads SSL_CERT_FILE and SSL_CERT_DIR once, so this asks a process
// of its own, in which each alone leads to a root that no system has.
func TestRootsSystem(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../test/vectors/pki/root.pem")
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv(systemChild) != "" {
		systemRoots(t, text)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, string(text), 0o644)
	for _, variable := range []string{"SSL_CERT_FILE=" + file, "SSL_CERT_DIR=" + filepath.Dir(file)} {
		child := exec.Command(self, "-test.run=^TestRootsSystem$", "-test.v")
		child.Env = append(os.Environ(), systemChild+"=1", variable)
		out, err := child.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestRootsSystem") {
			t.Errorf("%s: %v:\n%s", variable, err, out)
		}
	}
}

func systemRoots(t *testing.T, foreign []byte) {
	c := Default()
	c.Trust.Roots = RootsSystem
	pool, err := c.Roots()
	if err != nil || pool == nil {
		t.Fatalf("%v, %v", pool, err)
	}
	block, _ := pem.Decode(foreign)
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	options := x509.VerifyOptions{Roots: pool, CurrentTime: root.NotBefore.AddDate(0, 0, 1), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	if _, err := root.Verify(options); err == nil {
		t.Error("the environment said what the system's roots are")
	}
	options.Roots = x509.NewCertPool()
	options.Roots.AddCert(root)
	if _, err := root.Verify(options); err != nil {
		t.Errorf("the root is not taken where it is trusted: %v", err)
	}
}

// FuzzParse: there is an error of one line, or a configuration that is valid.
func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(""))
	for _, line := range strings.Split(full, "\n") {
		f.Add([]byte(line))
		f.Add([]byte(strings.Replace(full, line, "x"+line, 1)))
	}
	f.Add([]byte("\"a\\nb\" = 1\n\"a\\nb\" = 1\n"))
	f.Add([]byte("[users]\ndeny = [\"root\"]\nDeny = []\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse(text)
		if err != nil {
			if c != nil {
				t.Errorf("there is a configuration with the error: %+v", c)
			}
			if strings.ContainsFunc(err.Error(), unicode.IsControl) || err.Error() == "" {
				t.Errorf("the error is no line: %q", err)
			}
			return
		}
		if err := c.check(); err != nil {
			t.Errorf("what was read is not valid: %v", err)
		}
		if timeout := c.IMDS.Timeout.Duration; timeout <= 0 || timeout > 4*time.Second {
			t.Errorf("the timeout is %v", timeout)
		}
		if c.Keys.MinRSABits < 2048 || c.Keys.MaxLifetime.Duration+c.Keys.ClockSkew.Duration > 20*time.Minute {
			t.Errorf("the keys may be %+v", c.Keys)
		}
	})
}
