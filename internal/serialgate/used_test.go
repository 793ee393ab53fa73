package serialgate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the directory has to belong to root")
	}
}

// Of many gates that use a push up at the same time one succeeds.
func TestMark(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	u := used{filepath.Join(t.TempDir(), "used")}
	var key keyrecord.Key
	if u.has(key) {
		t.Error("used before it was")
	}
	var succeeded atomic.Int64
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			switch err := u.mark(key, time.Unix(0, 0)); {
			case err == nil:
				succeeded.Add(1)
			case !errors.Is(err, errUsed):
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if n := succeeded.Load(); n != 1 || !u.has(key) {
		t.Errorf("%d succeeded", n)
	}
}

// Marks go when their keys have long expired, and nothing else does.
func TestForget(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	u := used{t.TempDir()}
	if err := os.Chmod(u.path, 0o700); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	name := func(age time.Duration) string {
		return fmt.Sprintf("%d-%s", now.Add(-age).Unix(), strings.Repeat("ab", 32))
	}
	for name, stays := range map[string]bool{
		name(-time.Minute): true, name(0): true, name(29 * time.Minute): true, name(31 * time.Minute): false, name(1000 * time.Hour): false,
		"x": true, "-": true, "1": true,
	} {
		if err := os.WriteFile(filepath.Join(u.path, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := u.mark(keyrecord.Key{}, now); err != nil && !errors.Is(err, errUsed) {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(u.path, name)); (err == nil) != stays {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A directory that others could write remembers nothing.
func TestUnusableDirectory(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	base := t.TempDir()
	for name, prepare := range map[string]func(path string) error{
		"world":   func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.Chmod(p, 0o777)) },
		"group":   func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.Chmod(p, 0o770)) },
		"foreign": func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.Chown(p, 1, 1)) },
		"file":    func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"link":    func(p string) error { return errors.Join(os.Mkdir(p+"x", 0o700), os.Symlink(p+"x", p)) },
	} {
		path := filepath.Join(base, name)
		if err := prepare(path); err != nil {
			t.Fatal(err)
		}
		if err := (used{path}).mark(keyrecord.Key{}, time.Now()); err == nil || errors.Is(err, errUsed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (used{filepath.Join(base, "no", "where")}).mark(keyrecord.Key{}, time.Now()); err == nil {
		t.Error("a directory that cannot be made is taken")
	}
}
