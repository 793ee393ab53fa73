package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	mode := func(f *os.File) error { return f.Chmod(0o640) }
	no := errors.New("no")
	for _, c := range []struct {
		text    string
		prepare func(*os.File) error
		want    string
		err     error
	}{
		{"old", mode, "old", nil},
		{"new", mode, "new", nil},
		{"newer", func(*os.File) error { return no }, "new", no},
	} {
		if err := Write(path, ".x-*", []byte(c.text), c.prepare); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.text, err, c.err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: there is %q, %v, want %q", c.text, got, err, c.want)
		}
		st, err := os.Stat(path)
		if err != nil || st.Mode() != 0o640 {
			t.Errorf("%s: %v, %v", c.text, st.Mode(), err)
		}
		if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
			t.Errorf("%s: there are %v, %v", c.text, all, err)
		}
	}
	missing := filepath.Join(dir, "none", "file")
	if err := Write(missing, ".x-*", nil, mode); err == nil || err.Error() != "create "+missing+": no such file or directory" {
		t.Errorf("in a directory that is not there: %v", err)
	}
	// A directory cannot be replaced.
	if err := Write(dir, ".x-*", nil, mode); err == nil {
		t.Error("a directory was replaced")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".x-*")); len(left) > 0 {
		t.Errorf("left behind are %q", left)
	}
}

// Devices, pipes and what the process has open stay what they are.
func TestReplaceable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(syscall.Mknod(at("socket"), syscall.S_IFSOCK|0o600, 0), syscall.Mkfifo(at("pipe"), 0o600), os.Symlink("/proc/self/fd/1", at("stdout")), os.Symlink(at("none"), at("dangling")),
		os.WriteFile(at("file"), nil, 0o600), os.Symlink(at("file"), at("link")), os.Mkdir(at("dir"), 0o700)); err != nil {
		t.Fatal(err)
	}
	for name, ok := range map[string]bool{"pipe": false, "socket": false, "stdout": false, "dir": false, "file": true, "link": true, "dangling": true, "none": true} {
		before, _ := os.Lstat(at(name))
		err := Write(at(name), ".x-*", []byte("text"), func(*os.File) error { return nil })
		after, _ := os.Lstat(at(name))
		if (err == nil) != ok || !ok && (after == nil || before.Mode() != after.Mode() || !strings.HasSuffix(err.Error(), ": not a regular file")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Replaceable("/dev/null"); err == nil {
		t.Error("/dev/null can be replaced")
	}
}

// TestWriteFullDisk has the system take part of a file only. It sets a limit of the
// process, so it does not run beside others.
func TestWriteFullDisk(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 10, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	err := Write(path, ".x-*", []byte(strings.Repeat("new", 10)), func(*os.File) error { return nil })
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, syscall.EFBIG) {
		t.Errorf("%v, want %v", err, syscall.EFBIG)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "old" {
		t.Errorf("there is %q, %v", got, err)
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
		t.Errorf("there are %v, %v", all, err)
	}
}

func TestWriteNowhere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "missing", "file")
	if err := Write(path, ".x-*", nil, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want %v", err, fs.ErrNotExist)
	}
	if err := SyncDir(filepath.Dir(path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SyncDir: %v, want %v", err, fs.ErrNotExist)
	}
}

// TestMkdirAll sets the umask of the process, so it does not run beside others.
func TestMkdirAll(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	for _, umask := range []int{0, 0o022, 0o077, 0o777} {
		dir := t.TempDir()
		syscall.Umask(umask)
		path := filepath.Join(dir, "a", "b")
		if err := MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{path, filepath.Dir(path)} {
			if st, err := os.Stat(p); err != nil || st.Mode() != fs.ModeDir|0o755 {
				t.Errorf("umask %03o: %s is %v, %v", umask, p, st.Mode(), err)
			}
		}
		if err := os.Chmod(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(MkdirAll(path, 0o755), Mkdir(path, 0o755)); err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("umask %03o: one that was there is now %v, %v", umask, st.Mode(), err)
		}
		file := filepath.Join(dir, "file")
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{file, filepath.Join(file, "x")} {
			if err := MkdirAll(bad, 0o755); err == nil {
				t.Errorf("made %s", bad)
			}
		}
	}
}
