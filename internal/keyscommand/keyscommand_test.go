package keyscommand

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/test/need"
)

func TestSplit(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		"/usr/bin/eic-authkeys %u %f":   {"/usr/bin/eic-authkeys", "%u", "%f"},
		"  /a\t b  ":                    {"/a", "b"},
		`/a "b c" 'd "e'`:               {"/a", "b c", `d "e`},
		`/a b\ c \" \\ \n "\ "`:         {"/a", "b c", `"`, `\`, `\n`, `\ `},
		`/a "" x""y`:                    {"/a", "", "xy"},
		`/a $HOME ; rm * | cat "a'b" #`: {"/a", "$HOME", ";", "rm", "*", "|", "cat", "a'b", "#"},
	} {
		if got, err := Split(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("Split(%q) = %q, %v, want %q", line, got, err, want)
		}
	}
	for _, line := range []string{"", " \t", `/a "b`, `/a 'b`} {
		if got, err := Split(line); err == nil || got != nil {
			t.Errorf("Split(%q) = %q, %v, want an error", line, got, err)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"/a %u %f": "uf", "%%u 100%% %u%u": "u", "": "", "%C-%D": "CD"} {
		if got, err := Tokens(text); err != nil || string(got) != want {
			t.Errorf("Tokens(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
	if _, err := Tokens("/a %"); err == nil {
		t.Error("a percent sign at the end is no error")
	}
}

func TestExpand(t *testing.T) {
	t.Parallel()
	values := map[byte]string{'u': "alice", 'f': "%u"}
	for text, want := range map[string]string{"%u": "alice", "-u=%u:%f%%": "-u=alice:%u%", "plain": "plain", "%%u": "%u"} {
		if got, err := Expand(text, values); err != nil || got != want {
			t.Errorf("Expand(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"%k", "%", "a%"} {
		if got, err := Expand(text, values); err == nil || got != "" {
			t.Errorf("Expand(%q) = %q, %v, want an error", text, got, err)
		}
	}
}

// safe returns a checker that trusts the user who runs the test, in a directory of its
// own with a program bin/program.
func safe(t *testing.T) (c checker, dir string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir+"/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	os.Chmod(dir, 0o755)
	write(t, dir+"/bin/program", 0o755)
	return checker{root: "/", owner: uint32(os.Geteuid()), top: dir}, dir
}

func write(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, nil, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestCheckPath(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		prepare func(dir string) error
		path    string // below the directory, bin/program unless given
		at      string // the path that is named, "" for none
		found   string
		rule    Rule
	}{
		{name: "safe"},
		{name: "link from a directory of others", prepare: func(dir string) error {
			os.Mkdir(dir+"/open", 0o777)
			os.Chmod(dir+"/open", os.ModeSticky|0o777)
			return os.Symlink("../bin/program", dir+"/open/link")
		}, path: "open/link"},
		{name: "everybody writes", prepare: func(dir string) error { return os.Chmod(dir+"/bin/program", 0o757) }, at: "bin/program", found: "world-writable", rule: ClosedToOthers},
		{name: "group writes", prepare: func(dir string) error { return os.Chmod(dir+"/bin/program", 0o775) }, at: "bin/program", found: "group", rule: ClosedToGroup},
		{name: "directory", prepare: func(dir string) error { return os.Chmod(dir+"/bin", os.ModeSticky|0o777) }, at: "bin", found: "sshd runs no program below it", rule: ClosedToOthers},
		{name: "open directory", prepare: func(dir string) error { return os.Chmod(dir+"/bin", 0o777) }, at: "bin", found: "world-writable", rule: ClosedToOthers},
		{name: "directory of a group", prepare: func(dir string) error { return os.Chmod(dir+"/bin", 0o775) }, at: "bin", found: "group", rule: ClosedToGroup},
		{name: "no file", path: "bin/other", at: "bin/other", found: "no such file"},
		{name: "a directory", path: "bin", at: "bin", found: "not a regular file", rule: RegularFile},
		{name: "a loop", prepare: func(dir string) error { return os.Symlink("loop", dir+"/loop") }, path: "loop", at: "loop", found: "too many"},
	} {
		t.Run(c.name, func(t *testing.T) {
			checker, dir := safe(t)
			if c.prepare != nil {
				if err := c.prepare(dir); err != nil {
					t.Fatal(err)
				}
			}
			path := c.path
			if path == "" {
				path = "bin/program"
			}
			err := checker.check(dir + "/" + path)
			if c.at == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var e *PathError
			if !errors.As(err, &e) || e.Path != filepath.Join(dir, c.at) || !strings.Contains(e.Found, c.found) || e.Rule != c.rule {
				t.Errorf("%+v, want %s and %q", e, c.at, c.found)
			}
		})
	}
	if err := CheckPath("/", "bin/true"); err == nil {
		t.Error("a path that is not absolute is taken")
	}
	if err := CheckPath("/", "/none/such"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want that it is not there", err)
	}
}

func TestCheckPathOwner(t *testing.T) {
	t.Parallel()
	c, dir := safe(t)
	c.owner = 4711
	if os.Geteuid() == 0 {
		if err := os.Chown(dir+"/bin/program", 4712, 0); err != nil {
			t.Fatal(err)
		}
	}
	err := c.check(dir + "/bin/program")
	if err == nil || !strings.Contains(err.Error(), "is owned by user ID") {
		t.Errorf("%v, want that it belongs to another", err)
	}
}

// Links are followed inside the root.
func TestCheckPathInRoot(t *testing.T) {
	t.Parallel()
	c, dir := safe(t)
	if err := os.Symlink("/bin/program", dir+"/bin/link"); err != nil {
		t.Fatal(err)
	}
	c.root, c.top = dir, ""
	if err := c.check("/bin/link"); err != nil {
		t.Error(err)
	}
	if err := os.Symlink("../../../../bin/none", dir+"/bin/out"); err != nil {
		t.Fatal(err)
	}
	var e *PathError
	if err := c.check("/bin/out"); !errors.As(err, &e) || e.Path != "/bin/none" {
		t.Errorf("%v, want /bin/none in the root", err)
	}
}

func TestCheckAccess(t *testing.T) {
	t.Parallel()
	need.Root(t) // others cannot look into directories of these modes
	_, dir := safe(t)
	program := dir + "/bin/program"
	const owner, group, stranger = 4711, 4712, 4713
	for _, path := range []string{dir, dir + "/bin", program} {
		if err := os.Chown(path, owner, group); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		uid    uint32
		groups []uint32
		mode   os.FileMode
		dir    os.FileMode
		at     string // where it ends, "" where it does not
	}{
		{stranger, []uint32{stranger}, 0o755, 0o755, ""},
		{stranger, []uint32{stranger}, 0o774, 0o755, "/bin/program"},
		{stranger, []uint32{stranger}, 0o755, 0o774, "/bin"},
		// Each has the bits of one class alone.
		{owner, []uint32{group}, 0o100, 0o100, ""},
		{owner, []uint32{group}, 0o077, 0o755, "/bin/program"},
		{stranger, []uint32{stranger, group}, 0o010, 0o010, ""},
		{stranger, []uint32{stranger, group}, 0o707, 0o755, "/bin/program"},
		// Root enters every directory, but runs no program without a bit.
		{0, nil, 0o100, 0o600, ""},
		{0, nil, 0o010, 0o600, ""},
		{0, nil, 0o001, 0o600, ""},
		{0, nil, 0o644, 0o755, "/bin/program"},
	} {
		os.Chmod(program, c.mode)
		os.Chmod(dir+"/bin", c.dir)
		err := CheckAccess(dir, "/bin/program", c.uid, c.groups)
		var e *PathError
		switch {
		case c.at == "" && err != nil:
			t.Errorf("%+v: %v", c, err)
		case c.at != "" && (!errors.As(err, &e) || e.Path != c.at):
			t.Errorf("%+v: %v", c, err)
		}
	}
	os.Chmod(dir+"/bin", 0o755)
	if err := CheckAccess(dir, "/bin/none", 0, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want that it is not there", err)
	}
}
