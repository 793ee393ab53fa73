package unitfile

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/internal/sysroot"
	"github.com/eic-agent/eic-agent/test/need"
)

// tree makes a root of files; a text "-> x" is a symbolic link to x.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			err = errors.Join(err, os.Symlink(target, path))
		} else {
			err = errors.Join(err, os.WriteFile(path, []byte(text), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestFind(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	if err := errors.Join(os.WriteFile(outside+"/out.service", []byte("x"), 0o644), os.Symlink("/dev/null", outside+"/a.service"), os.Symlink("/dev/null", outside+"/last.service")); err != nil {
		t.Fatal(err)
	}
	root := tree(t, map[string]string{
		"/run/systemd/system":                        "-> " + outside,
		"/etc/systemd/system/a.service":              "x",
		"/usr/lib/systemd/system/a.service":          "x",
		"/lib/systemd/system/last.service":           "x",
		"/etc/systemd/system/dir.service/x":          "x",
		"/usr/lib/systemd/system/dir.service":        "x",
		"/etc/systemd/system/masked.service":         "-> /dev/null",
		"/usr/lib/systemd/system/masked.service":     "x",
		"/etc/systemd/system/empty.service":          "",
		"/usr/lib/systemd/system/empty.service":      "x",
		"/usr/lib/systemd/system/over.service":       "-> /dev/null",
		"/usr/local/lib/systemd/system/over.service": "x",
		"/etc/systemd/system/alias.service":          "-> ../../../usr/lib/systemd/system/a.service",
		"/etc/systemd/system/self.service":           "-> /usr/lib/systemd/system/self.service",
		"/usr/lib/systemd/system/self.service":       "x",
		"/etc/systemd/system/linked.service":         "-> /opt/other.service",
		"/opt/other.service":                         "x",
		"/etc/systemd/system/out.service":            "-> " + outside + "/out.service",
		"/etc/systemd/system/gone.service":           "-> /gone/gone.service",
		"/usr/local/lib/systemd/system/gone.service": "x",
		"/run/systemd/generator/made.service":        "x",
	})
	for name, want := range map[string]struct {
		path, other string
		err         error
	}{
		"a.service":      {path: "/etc/systemd/system/a.service"},
		"last.service":   {path: "/lib/systemd/system/last.service"},
		"dir.service":    {path: "/etc/systemd/system/dir.service", err: errIrregular},
		"masked.service": {err: ErrMasked},
		"empty.service":  {err: ErrMasked},
		"over.service":   {path: "/usr/local/lib/systemd/system/over.service"},
		"alias.service":  {path: "/etc/systemd/system/alias.service", other: "a.service"},
		"self.service":   {path: "/usr/lib/systemd/system/self.service"},
		"linked.service": {path: "/etc/systemd/system/linked.service"},
		"out.service":    {path: "/etc/systemd/system/out.service", err: fs.ErrNotExist},
		"gone.service":   {path: "/etc/systemd/system/gone.service", err: fs.ErrNotExist},
		"made.service":   {path: "/run/systemd/generator/made.service"},
		"none.service":   {err: fs.ErrNotExist},
	} {
		path, other, err := Find(root, name)
		if path != want.path || other != want.other || !errors.Is(err, want.err) {
			t.Errorf("%s: %q, %q, %v, want %+v", name, path, other, err, want)
		}
	}
	if got := LinksTo(root, "/etc/systemd/system", "alias.service"); got != "a.service" {
		t.Errorf("the alias is a link to %q", got)
	}
	if got := LinksTo(root, "/etc/systemd/system", "a.service"); got != "" {
		t.Errorf("the file is a link to %q", got)
	}
}

func TestDropIns(t *testing.T) {
	t.Parallel()
	outside := tree(t, map[string]string{"/out.conf": ""})
	root := tree(t, map[string]string{
		"/etc/systemd/system/x@1.service.d/50-own.conf":    "",
		"/usr/lib/systemd/system/x@.service.d/50-own.conf": "",
		"/usr/lib/systemd/system/x@1.service.d/60.conf":    "",
		"/usr/lib/systemd/system/x@1.service.d/60.conf~":   "",
		"/usr/lib/systemd/system/service.d/10-all.conf":    "",
		"/usr/lib/systemd/system/x@.service.d/70.conf":     "",
		"/etc/systemd/system/x@.service.d/70.conf":         "-> /dev/null",
		"/usr/lib/systemd/system/x@2.service.d/80.conf":    "",
		"/usr/local/lib/systemd/system/x@1.service.d":      "-> " + outside,
		"/run/systemd/system/x@1.service.d":                "-> /opt/own.d",
		"/opt/own.d/90.conf":                               "",
	})
	want := []string{"/usr/lib/systemd/system/service.d/10-all.conf", "/etc/systemd/system/x@1.service.d/50-own.conf",
		"/usr/lib/systemd/system/x@1.service.d/60.conf", "/etc/systemd/system/x@.service.d/70.conf", "/run/systemd/system/x@1.service.d/90.conf"}
	if got := DropIns(root, "", "x@1.service", "x@.service"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	want[1] = "/usr/lib/systemd/system/x@.service.d/50-own.conf"
	if got := DropIns(root, "/etc/systemd/system/x@1.service.d/50-own.conf", "x@1.service", "x@.service"); !slices.Equal(got, want) {
		t.Errorf("without its own: got %q, want %q", got, want)
	}
}

func TestAssignments(t *testing.T) {
	t.Parallel()
	const text = "early=0\n[Service]\r\n  A = 1 # no comment\r\n; B=2\n#B=3\n\nno assignment\nC=x=y\\\n  # comment \\\n   z\\\n\nD=\n[Unit\nE=1\n[X]\nF=1\\\\\nG=1\\ \nH=end \\"
	want := []Assignment{{"", "early", "0", 1}, {"Service", "A", "1 # no comment", 3}, {"Service", "C", "x=y    z", 8},
		{"Service", "D", "", 12}, {"", "E", "1", 14}, {"X", "F", `1\\`, 16}, {"X", "G", `1\`, 17}, {"X", "H", "end", 18}}
	if got := slices.Collect(Assignments(text)); !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for range Assignments(text) {
		break
	}
	for range Lines(text) {
		break
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for value, test := range map[string]struct {
		want []string
		err  string
	}{
		"":                        {},
		" \t":                     {},
		"a  b\tc ":                {want: []string{"a", "b", "c"}},
		`a '-p -- \\u' "it's" ''`: {want: []string{"a", `-p -- \u`, "it's", ""}},
		`a'b c'"d"`:               {want: []string{"ab cd"}},
		`a\ b \" \' "\""`:         {want: []string{"a b", `"`, "'", `"`}},
		`%% %I $A ${B}`:           {want: []string{"%%", "%I", "$A", "${B}"}},
		`\x2da b`:                 {want: []string{"x2da", "b"}, err: "escape"},
		`a \`:                     {want: []string{"a", `\`}, err: "escape"},
		"\\\xe9":                  {want: []string{"\xe9"}, err: "escape"},
		`a "b c`:                  {want: []string{"a", "b c"}, err: "unterminated quote"},
	} {
		got, err := Words(value)
		if !slices.Equal(got, test.want) || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%q: %q, %v, want %+v", value, got, err, test)
		}
	}
}

// systemd itself reads files, lines and words so: it warns of the key Odd with file
// and line, and of a program that is not there.
func TestAsSystemd(t *testing.T) {
	t.Parallel()
	analyze := need.Program(t, "systemd-analyze")
	const odd = "[Service]\nOdd=1\n"
	root := tree(t, map[string]string{
		"/usr/lib/systemd/system/x@.service":            "[Service]\nExecStart=\"/none/a \\\n# comment\n  b\"'c d' e\\\\\nOdd=1\n\nOdd=2 \\\n\n[Service]\nOdd=3\\ \nOdd=4",
		"/usr/lib/systemd/system/service.d/10.conf":     odd,
		"/etc/systemd/system/x@.service.d/20.conf":      odd,
		"/etc/systemd/system/service.d/30.conf":         odd,
		"/usr/lib/systemd/system/x@1.service.d/20.conf": odd,
		"/usr/lib/systemd/system/x@.service.d/30.conf":  odd,
		"/usr/lib/systemd/system/x@1.service.d/30.conf": odd,
		"/usr/lib/systemd/system/x@1.service.d/40.conf": odd,
		"/run/systemd/system/x@1.service.d/40.conf":     "-> /dev/null",
		"/run/systemd/system/x@1.service.d/05.conf":     odd,
	})
	out, _ := exec.Command(analyze, "verify", "--man=no", "--root="+root, "x@1.service").CombinedOutput()
	var want, got []string
	for _, m := range regexp.MustCompile(`(?m)/([^/\n]+/[^/\n]+):\d+: Unknown .*'Odd'`).FindAllStringSubmatch(string(out), -1) {
		want = append(want, m[1])
	}
	path, _, err := Find(root, "x@.service")
	if err != nil {
		t.Fatal(err)
	}
	var command string
	for _, path := range append([]string{path}, DropIns(root, "", "x@1.service", "x@.service")...) {
		text, err := os.ReadFile(sysroot.Path(root, path))
		if err != nil && filepath.Base(path) != "40.conf" {
			t.Fatal(err)
		}
		for a := range Assignments(string(text)) {
			switch a.Key {
			case "Odd":
				got = append(got, filepath.Base(filepath.Dir(path))+"/"+filepath.Base(path))
			case "ExecStart":
				command = a.Value
			}
		}
	}
	if len(want) != 8 || !slices.Equal(got, want) {
		t.Errorf("got %q, systemd %q:\n%s", got, want, out)
	}
	words, err := Words(command)
	if err != nil || !slices.Equal(words[1:], []string{`e\`}) || !strings.Contains(string(out), "Command "+words[0]+" is not executable") {
		t.Errorf("words %q, %v, systemd:\n%s", words, err, out)
	}
}
