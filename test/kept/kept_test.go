package kept

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

func TestDir(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache", "thing")
	broken := errors.New("broken")
	_, err := Dir(path, func(dir string) error {
		return errors.Join(os.WriteFile(filepath.Join(dir, "half"), nil, 0o644), broken)
	})
	if !errors.Is(err, broken) {
		t.Errorf("a failed build: %v", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("a failed build is kept: %v", err)
	}
	// What a run that was killed has left.
	if err := os.MkdirAll(filepath.Join(path+".new", "half"), 0o755); err != nil {
		t.Fatal(err)
	}
	var built, cached atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			old, err := Dir(path, func(dir string) error {
				built.Add(1)
				return os.WriteFile(filepath.Join(dir, "whole"), nil, 0o644)
			})
			if err != nil {
				t.Error(err)
			}
			if old {
				cached.Add(1)
			}
		})
	}
	all.Wait()
	if built.Load() != 1 || cached.Load() != 7 {
		t.Errorf("built %d times, cached %d times; want 1 and 7", built.Load(), cached.Load())
	}
	entries, err := os.ReadDir(path)
	if err != nil || len(entries) != 1 || entries[0].Name() != "whole" {
		t.Errorf("it holds %v, %v", entries, err)
	}
}

// TestOthers: a new one takes the place of those of its kind that nobody uses.
func TestOthers(t *testing.T) {
	cache := t.TempDir()
	build := func(dir string) error { return os.WriteFile(filepath.Join(dir, "whole"), nil, 0o644) }
	in := func(name string) string { return filepath.Join(cache, name) }
	for _, name := range []string{"trixie-host-1", "trixie-userdb-1", "trixie-1"} {
		if _, err := Dir(in(name), build); err != nil {
			t.Fatal(err)
		}
	}
	exist := func(want ...string) {
		t.Helper()
		var got []string
		entries, err := os.ReadDir(cache)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			got = append(got, e.Name())
		}
		var all []string
		for _, name := range want {
			all = append(all, name, name+".lock")
		}
		slices.Sort(all)
		if !slices.Equal(got, all) {
			t.Errorf("the cache has %q, want %q", got, all)
		}
	}
	if _, err := Dir(in("trixie-host-2"), build); err != nil {
		t.Fatal(err)
	}
	// This process uses the first.
	exist("trixie-host-1", "trixie-host-2", "trixie-userdb-1", "trixie-1")
	mu.Lock()
	for _, f := range inUse {
		f.Close()
	}
	inUse = nil
	mu.Unlock()
	if err := os.Mkdir(in("trixie-host-2.new"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Dir(in("trixie-host-3"), build); err != nil {
		t.Fatal(err)
	}
	exist("trixie-host-3", "trixie-userdb-1", "trixie-1")
	if cached, err := Dir(in("trixie-host-3"), build); err != nil || !cached {
		t.Errorf("again: %v, %v", cached, err)
	}
	exist("trixie-host-3", "trixie-userdb-1", "trixie-1")
}
