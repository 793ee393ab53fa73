package kept

import (
	"errors"
	"os"
	"path/filepath"
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
