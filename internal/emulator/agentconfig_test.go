package emulator_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

func TestWriteConfig(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{})
	dir := filepath.Join(t.TempDir(), `a "dir"\`)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "agent.toml")
	if err := s.WriteConfig(path); err == nil {
		t.Error("a configuration was written before there was a port")
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteConfig(path); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		if info, err := e.Info(); err != nil || info.Mode() != 0o644 {
			t.Errorf("%s has mode %v, %v, want 0644", e.Name(), info.Mode(), err)
		}
	}
	if got := strings.Join(names, " "); got != "agent.pem agent.toml" {
		t.Errorf("the directory has %s", got)
	}

	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Instance struct{ Attest string }
		IMDS     struct{ Endpoint string }
		Trust    struct{ Roots string }
		Cache    struct{ Dir *string }
	}
	if err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(&config); err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	if config.Instance.Attest != "imds" || config.IMDS.Endpoint != s.IMDSURL(emulator.DefaultInstanceID) || config.Cache.Dir == nil || *config.Cache.Dir != "" {
		t.Errorf("the configuration is\n%s", data)
	}
	roots, err := os.ReadFile(config.Trust.Roots)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(roots, s.RootsPEM()) {
		t.Errorf("the roots are\n%s", roots)
	}
}

func TestWriteConfigRefuses(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{})
	dir := t.TempDir()
	for _, name := range []string{"agent.pem", "a\nb.toml", "a\xff.toml", "missing/agent.toml"} {
		if err := s.WriteConfigFor(filepath.Join(dir, name), "http://127.0.0.1:1"); err == nil {
			t.Errorf("%q was written", name)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
