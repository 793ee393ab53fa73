package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/test/need"
)

// A tree is a directory with a configuration in it.
type tree struct {
	*testing.T
	dir string
}

func newTree(t *testing.T) tree {
	need.Root(t)
	return tree{t, filepath.Dir(write(t, "", 0o644))}
}

func (t tree) path(name string) string { return filepath.Join(t.dir, name) }

func (t tree) write(name, text string) {
	t.Helper()
	path := t.path(name)
	// The modes do not depend on the umask of the test.
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDir(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{DefaultPath: "/etc/eic-agent/config.d", "/root/x.toml": "/root/x.d", "/root/x": "/root/x.d"} {
		if got := Dir(path); got != want {
			t.Errorf("the directory of %s is %s, want %s", path, got, want)
		}
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	main := tr.path("config.toml")
	tr.write("config.toml", "[imds]\ntimeout = \"1s\"\n[users]\nallow = [\"main\"]\n")
	tr.write("config.d/20-b.toml", "[imds]\ntimeout = \"2s\"\n[keys]\nmin_rsa_bits = 3072\ntypes = [\"ssh-rsa\"]\n[chain]\ncommand = [\"/bin/b\", \"%u\"]\n[[users.map]]\ncaller = \"arn:aws:iam::123456789012:user/b\"\nusers = [\"b\"]\n")
	tr.write("config.d/10-a.toml", "[keys]\nmin_rsa_bits = 4096\nexpiry_time = true\noptions = \"restrict\"\n[users]\ndeny = [\"root\"]\nallow = [\"a\", \"aa\"]\n[[users.map]]\ncaller = \"arn:aws:iam::123456789012:user/a\"\nusers = [\"a\"]\n[[users.map]]\ncaller = \"arn:aws:iam::123456789012:user/a\"\nusers = [\"aa\"]\n")
	// None of these is a file of the configuration.
	for _, name := range []string{"x.toml~", "x.toml.rpmsave", ".x.toml", "x.conf", "toml", ".toml", "x.TOML", "README"} {
		tr.write("config.d/"+name, "broken")
	}
	want := Default()
	want.IMDS.Timeout.Duration = 1e9
	want.Keys.MinRSABits = 3072
	want.Keys.ExpiryTime = true
	want.Keys.Options = "restrict"
	want.Keys.Types = []string{"ssh-rsa"}
	want.Users.Deny, want.Users.Allow = []string{"root"}, []string{"main"}
	want.Users.Map = []UserMap{{"arn:aws:iam::123456789012:user/b", []string{"b"}}}
	want.Chain.Command = []string{"/bin/b %u"}
	got, err := Load(main)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
	sources, err := Sources("", main)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"imds.timeout": main, "keys.min_rsa_bits": tr.path("config.d/20-b.toml"), "keys.expiry_time": tr.path("config.d/10-a.toml"),
		"users.map": tr.path("config.d/20-b.toml"), "serial.port": "", "users.map.caller": "", "imds": main,
	} {
		if got := SetBy(sources, key); got != want {
			t.Errorf("%s is set by %q, want %q", key, got, want)
		}
	}
}

func TestLoadDirectory(t *testing.T) {
	t.Parallel()
	const good = "[keys]\nexpiry_time = true\n"
	for name, test := range map[string]struct {
		prepare func(tree) error
		says    string // "" where the good file counts
	}{
		"good":        {func(tree) error { return nil }, ""},
		"broken":      {func(t tree) error { t.write("config.d/b.toml", "\n[keys\n"); return nil }, "/config.d/b.toml: line 2: "},
		"unknown key": {func(t tree) error { t.write("config.d/b.toml", "[keys]\nx = 1\n"); return nil }, `/config.d/b.toml: line 2: unknown key "keys.x"`},
		"capitals":    {func(t tree) error { t.write("config.d/b.toml", "[Keys]\n"); return nil }, `/config.d/b.toml: unknown key "Keys"`},
		"bad value":   {func(t tree) error { t.write("config.d/b.toml", "[imds]\ntimeout = \"9s\"\n"); return nil }, "/config.d/b.toml: imds.timeout: 9s is not between"},
		"corrected later": {func(t tree) error {
			t.write("config.toml", "[imds]\ntimeout = \"1s\"\n")
			t.write("config.d/b.toml", "[imds]\ntimeout = \"x\"\n")
			return nil
		}, "/config.d/b.toml: imds.timeout: "},
		"writable by the group":   {func(t tree) error { return os.Chmod(t.path("config.d/a.toml"), 0o664) }, "/config.d/a.toml is writable by users other than root"},
		"belongs to another":      {func(t tree) error { return os.Chown(t.path("config.d/a.toml"), 1, 0) }, "/config.d/a.toml is owned by user ID 1"},
		"directory writable":      {func(t tree) error { return os.Chmod(t.path("config.d"), 0o775) }, "/config.d is writable by users other than root"},
		"directory sticky":        {func(t tree) error { return os.Chmod(t.path("config.d"), 0o777|os.ModeSticky) }, "/config.d is writable by users other than root"},
		"directory of another":    {func(t tree) error { return os.Chown(t.path("config.d"), 1, 0) }, "/config.d is owned by user ID 1"},
		"directory is a file":     {func(t tree) error { return move(t, "config.d/a.toml", "config.d", "") }, "/config.d is not a directory"},
		"directory links nowhere": {func(t tree) error { return link(t, "none", "config.d") }, "/none: no such file"},
		"directory loops":         {func(t tree) error { return link(t, "config.d", "config.d") }, "too many symbolic links"},
		"directory is linked":     {func(t tree) error { return move(t, "config.d", "else", "else") }, ""},
		"file links nowhere":      {func(t tree) error { return link(t, "none", "config.d/b.toml") }, "/config.d/none: no such file"},
		"file is linked": {func(t tree) error {
			t.write("b", "[imds]\ntimeout = \"1s\"\n")
			return link(t, "../b", "config.d/b.toml")
		}, ""},
		"file is a directory": {func(t tree) error { return os.Mkdir(t.path("config.d/b.toml"), 0o755) }, "/config.d/b.toml is not a regular file"},
		"too large":           {func(t tree) error { t.write("config.d/b.toml", strings.Repeat("#\n", maxFile/2+1)); return nil }, "/config.d/b.toml is larger than"},
		"main is broken":      {func(t tree) error { t.write("config.toml", "x"); return nil }, "/config.toml: line 1: "},
		"main is missing":     {func(t tree) error { return os.Remove(t.path("config.toml")) }, "/config.toml: no such file"},
	} {
		tr := newTree(t)
		tr.write("config.toml", "")
		tr.write("config.d/a.toml", good)
		if err := test.prepare(tr); err != nil {
			t.Fatal(err)
		}
		for _, root := range []string{"", tr.dir} {
			path := tr.path("config.toml")
			if root != "" {
				path = "/config.toml"
			}
			c, err := LoadIn(root, path)
			switch {
			case test.says == "":
				if err != nil || !c.Keys.ExpiryTime {
					t.Errorf("%s, root %q: %+v, %v", name, root, c, err)
				}
			case root != "" && strings.Contains(test.says, "too many"):
				if err == nil {
					t.Errorf("%s, root %q: %+v", name, root, c)
				}
			case c != nil || reason.Of(err) != reason.Config || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), tr.dir):
				t.Errorf("%s, root %q: %v, %v, want an error that says %q", name, root, c, err, test.says)
			default:
				checkLine(t, err)
			}
		}
	}
	// At the default path the file may be missing, and its directory counts all the same.
	tr := newTree(t)
	tr.write("config.d/a.toml", good)
	if c, err := load("", tr.path("config.toml"), true); err != nil || !c.Keys.ExpiryTime {
		t.Errorf("without the file: %+v, %v", c, err)
	}
}

// An absolute link in an image means a file of the image.
func TestLoadImage(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.write("usr/share/a.toml", "[keys]\nexpiry_time = true\n")
	tr.write("etc/eic-agent/config.d/x", "")
	if err := link(tr, "/usr/share/a.toml", "etc/eic-agent/config.d/a.toml"); err != nil {
		t.Fatal(err)
	}
	if c, err := LoadIn(tr.dir, DefaultPath); err != nil || !c.Keys.ExpiryTime {
		t.Errorf("%+v, %v", c, err)
	}
	sources, err := Sources(tr.dir, DefaultPath)
	if err != nil || len(sources) != 1 || sources[0].Path != "/etc/eic-agent/config.d/a.toml" {
		t.Errorf("the sources are %+v, %v", sources, err)
	}
}

func link(t tree, target, name string) error {
	if err := os.RemoveAll(t.path(name)); err != nil {
		return err
	}
	return os.Symlink(target, t.path(name))
}

// move renames, and leaves a link to target where there is one.
func move(t tree, from, to, target string) error {
	if err := os.Rename(t.path(from), t.path("moved")); err != nil {
		return err
	}
	if err := os.RemoveAll(t.path(to)); err != nil {
		return err
	}
	if err := os.Rename(t.path("moved"), t.path(to)); err != nil || target == "" {
		return err
	}
	return os.Symlink(target, t.path(from))
}

// Only an entry that does not exist is the default configuration.
func TestAbsent(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		prepare func(tree) error
		absent  bool
	}{
		"nothing":                  {func(tree) error { return nil }, true},
		"no directory":             {func(t tree) error { return os.Remove(t.path("etc")) }, true},
		"no directories":           {func(t tree) error { return os.RemoveAll(t.path("etc")) }, true},
		"the directory is linked":  {func(t tree) error { return errors.Join(os.Mkdir(t.path("else"), 0o755), link(t, "else", "etc")) }, true},
		"a link to nowhere":        {func(t tree) error { return link(t, "nowhere", "etc/config.toml") }, false},
		"a link to itself":         {func(t tree) error { return link(t, "config.toml", "etc/config.toml") }, false},
		"a directory":              {func(t tree) error { return os.Mkdir(t.path("etc/config.toml"), 0o755) }, false},
		"the directory is nowhere": {func(t tree) error { return link(t, "nowhere", "etc") }, false},
		"a directory above, too":   {func(t tree) error { return errors.Join(os.RemoveAll(t.path("etc")), link(t, "nowhere/etc", "etc")) }, false},
		"the directory is a file": {func(t tree) error {
			return errors.Join(os.RemoveAll(t.path("etc")), os.WriteFile(t.path("etc"), nil, 0o644))
		}, false},
		"the directory links itself": {func(t tree) error { return link(t, "etc", "etc") }, false},
	} {
		tr := newTree(t)
		if err := os.Mkdir(tr.path("etc"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := test.prepare(tr); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, root := range []string{"", tr.dir} {
			path := tr.path("etc/config.toml")
			if root != "" {
				path = "/etc/config.toml"
			}
			c, err := load(root, path, true)
			if absent := err == nil && reflect.DeepEqual(c, Default()); absent != test.absent || !absent && reason.Of(err) != reason.Config {
				t.Errorf("%s, root %q: %v, %v", name, root, c, err)
			}
		}
	}
}

// That no descriptor is left does not make the configuration absent.
func TestNoDescriptors(t *testing.T) {
	tr := newTree(t)
	tr.write("config.toml", "[users]\ndeny = [\"root\"]\n")
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	c, err := load("", tr.path("config.toml"), true)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if c != nil || reason.Of(err) != reason.Config || !errors.Is(err, unix.EMFILE) && !strings.Contains(err.Error(), "too many open files") {
		t.Errorf("%v, %v", c, err)
	}
}
