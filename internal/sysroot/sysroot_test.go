package sysroot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestPath(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := errors.Join(
		os.MkdirAll(filepath.Join(root, "usr/lib"), 0o755),
		os.WriteFile(filepath.Join(root, "usr/lib/file"), nil, 0o644),
		os.Symlink("/usr/lib", filepath.Join(root, "lib")),
		os.Symlink("../../../../usr/lib", filepath.Join(root, "usr/out")),
		os.Symlink("/usr/lib/file", filepath.Join(root, "usr/lib/link")),
		os.Symlink("loop", filepath.Join(root, "loop")),
	); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, want, entry string
		err               error
	}{
		{"/usr/lib/file", "/usr/lib/file", "/usr/lib/file", nil},
		{"/lib/file", "/usr/lib/file", "/usr/lib/file", nil},
		{"/usr/out/file", "/usr/lib/file", "/usr/lib/file", nil},
		{"/lib/link", "/usr/lib/file", "/usr/lib/link", nil},
		{"/lib/../file", "/usr/file", "/file", fs.ErrNotExist}, // Entry cleans the directory first
		{"/lib/none/x", "/usr/lib/none/x", "/usr/lib/none/x", fs.ErrNotExist},
		{"/../..", "/", "/", nil},
	} {
		if _, err := Resolve(root, c.path); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.path, err, c.err)
		}
		if got := Path(root, c.path); got != filepath.Join(root, c.want) {
			t.Errorf("the path of %s is %s, want %s in the root", c.path, got, c.want)
		}
		if c.path == "/../.." {
			continue
		}
		if got := Entry(root, c.path); got != filepath.Join(root, c.entry) {
			t.Errorf("the entry of %s is %s, want %s in the root", c.path, got, c.entry)
		}
	}
	var e *os.PathError
	if _, err := Resolve(root, "/lib/none/x"); !errors.As(err, &e) || e.Path != "/usr/lib/none" {
		t.Errorf("%v, want that /usr/lib/none is not there", err)
	}
	if got := Path("/", "/lib/../x"); got != "/x" {
		t.Errorf("below / it is %s", got)
	}
}

// The kernel would follow the links that are left, from the host's root.
func TestTooManyLinks(t *testing.T) {
	t.Parallel()
	outside, root := t.TempDir(), t.TempDir()
	top := elements(outside)[0]
	if err := errors.Join(
		os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o644),
		os.Symlink("/"+top, filepath.Join(root, top)),
		os.Symlink(filepath.Join(outside, "secret"), filepath.Join(root, "link")),
	); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(Path(root, "/link")); err == nil {
		t.Errorf("read %q from outside", text)
	}
}
