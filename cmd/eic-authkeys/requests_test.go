package main

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/test/need"
)

// What each case costs in requests, by a service that keeps connections and by one
// that, like AWS's, closes each after its answer. With attest = "imds" a first login
// has one more than on Nitro, which is told its id by the board.
func TestRequests(t *testing.T) {
	t.Parallel()
	need.Root(t)
	const (
		key         = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINohITzWz6NQDHgCdHYsQt3t+BsQLWjJiasKh09vNjsC"
		fingerprint = "SHA256:PqiDne3jtq8gOHvvFS5pep5ZjdvyeO5jVfnX7/h5u8E"
	)
	for _, closes := range []bool{false, true} {
		server, err := emulator.New(emulator.Options{Permissive: true, ConnectionClose: closes})
		if err != nil {
			t.Fatal(err)
		}
		imds := httptest.NewServer(server.IMDSHandler(emulator.DefaultInstanceID))
		defer imds.Close()
		dir := t.TempDir()
		config, cache := filepath.Join(dir, "config.toml"), filepath.Join(dir, "cache")
		if err := server.WriteConfigFor(config, imds.URL); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(config)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.Replace(text, []byte(`dir = ""`), fmt.Appendf(nil, "dir = %q", cache), 1)
		if err := os.WriteFile(config, text, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(cache, 0o700); err != nil {
			t.Fatal(err)
		}
		record, err := server.Sign(emulator.DefaultInstanceID, keyrecord.Statement{
			Expires: time.Now().Add(time.Minute), Instance: emulator.DefaultInstanceID, Key: key,
		})
		if err == nil {
			err = server.Publish(emulator.DefaultInstanceID, "alice", record)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			name   string
			forget []string // files of the cache
			user   string
			want   int
		}{
			{"no key pushed, nothing cached", nil, "bob", 2},
			{"no key pushed, token cached", nil, "bob", 1},
			{"first login, nothing cached", []string{"token"}, "alice", 8},
			{"second call of the same login", nil, "alice", 0},
			{"first login, chain cached", []string{"token", "keys-*"}, "alice", 2},
			{"first login, chain and token cached", []string{"keys-*"}, "alice", 1},
		} {
			for _, pattern := range step.forget {
				names, err := filepath.Glob(filepath.Join(cache, pattern))
				if err != nil || len(names) == 0 {
					t.Errorf("%s: nothing to forget: %v", step.name, err)
				}
				for _, name := range names {
					os.Remove(name)
				}
			}
			want := ""
			if step.user == "alice" {
				want = key + "\n"
			}
			server.ResetRequests()
			out, err := exec.Command(program, "--config", config, step.user, fingerprint).CombinedOutput()
			if n := server.RequestCount(); err != nil || string(out) != want || n != step.want {
				t.Errorf("%s, closing %v: printed %q after %d requests, want %d: %v", step.name, closes, out, n, step.want, err)
			}
		}
	}
}
