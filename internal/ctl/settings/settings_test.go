package settings

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/test/need"
)

func TestWriteAndRemove(t *testing.T) {
	t.Parallel()
	need.Root(t)
	root := t.TempDir()
	path := Path(config.DefaultPath, SSHD)
	text := Text("sshd", "[keys]\nexpiry_time = true\n")
	for _, want := range []bool{true, false} {
		if changed, err := Write(root, path, text); err != nil || changed != want {
			t.Errorf("wrote: %v, %v, want %v", changed, err, want)
		}
	}
	cfg, err := config.LoadIn(root, config.DefaultPath)
	if err != nil || !cfg.Keys.ExpiryTime {
		t.Errorf("the agent reads %+v, %v", cfg, err)
	}
	// Later files override it.
	other := filepath.Join(root, "etc/eic-agent/config.d/10-site.toml")
	for _, name := range []string{other, filepath.Join(root, config.DefaultPath)} {
		if err := os.WriteFile(name, []byte("[keys]\nexpiry_time = false\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if cfg, err = config.LoadIn(root, config.DefaultPath); err != nil || cfg.Keys.ExpiryTime {
			t.Errorf("beside %s the agent reads %+v, %v", name, cfg, err)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(other, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		if removed, err := Remove(root, path); err != nil || removed != want {
			t.Errorf("removed: %v, %v, want %v", removed, err, want)
		}
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
	if _, err := Write(root, path, text); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	if _, err := Remove(root, path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "etc/eic-agent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("empty directories are left: %v", err)
	}
	if _, err := os.Stat(filepath.Join(root, "etc")); err != nil {
		t.Error(err)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	if text := string(Text("serial", "x\n")); !strings.Contains(text, `"eicctl serial disable" removes`) || !strings.HasSuffix(text, "\nx\n") {
		t.Errorf("it is %q", text)
	}
}
