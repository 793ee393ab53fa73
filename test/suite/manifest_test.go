package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestManifest(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	path := func(name string) string { return filepath.Join(root, name) }
	old := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, name := range []string{"etc/kept", "etc/written", "etc/mode", "usr/gone", "var/log/syslog", "tmp/outside"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path(name)), 0o755), os.WriteFile(path(name), []byte("a"), 0o644), os.Chtimes(path(name), old, old)); err != nil {
			t.Fatal(err)
		}
	}
	before, err := takeManifest(root)
	if err != nil {
		t.Fatal(err)
	}
	if same, err := takeManifest(root); err != nil || len(before.changes(same)) > 0 || len(before) != 7 {
		t.Errorf("%d files; nothing has changed: %v, %v", len(before), before.changes(same), err)
	}
	if err := errors.Join(
		os.WriteFile(path("etc/written"), []byte("b"), 0o644), // of the same size
		os.Chmod(path("etc/mode"), 0o755),
		os.Remove(path("usr/gone")),
		os.Symlink("nowhere", path("etc/link")),
		os.WriteFile(path("var/log/syslog"), []byte("more"), 0o644),
		os.WriteFile(path("tmp/outside"), []byte("more"), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	after, err := takeManifest(root)
	if err != nil {
		t.Fatal(err)
	}
	var changed []string
	for _, text := range before.changes(after) {
		changed = append(changed, strings.Fields(text)[0])
	}
	if want := []string{"/etc", "/etc/link", "/etc/mode", "/etc/written", "/usr", "/usr/gone"}; !slices.Equal(changed, want) {
		t.Errorf("changed are %q, want %q", changed, want)
	}
}
