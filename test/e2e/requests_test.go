package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

// What each case costs in requests, by a service that keeps connections and by one
// that, like AWS's, closes each after its answer. Instead of the board, which is not
// asked here, the service says which instance this is: that is one of the eight.
func TestRequests(t *testing.T) {
	_, public := w.newKey(t, "ed25519", 0)
	fingerprint := fingerprintOf(t, public)
	for _, closes := range []bool{false, true} {
		server, err := emulator.New(emulator.Options{Permissive: true, ConnectionClose: closes})
		if err != nil {
			t.Fatal(err)
		}
		imds := httptest.NewServer(server.IMDSHandler(emulator.DefaultInstanceID))
		defer imds.Close()
		record, err := server.Sign(emulator.DefaultInstanceID, keyrecord.Statement{
			Expires: time.Now().Add(time.Minute), Instance: emulator.DefaultInstanceID, Key: public,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Publish(emulator.DefaultInstanceID, "alice", record); err != nil {
			t.Fatal(err)
		}
		account := newAccount()
		config, cache := configureCached(t, server, imds.URL, account)

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
					t.Errorf("%s: the cache has no %s", step.name, pattern)
				}
				for _, name := range names {
					os.Remove(name)
				}
			}
			want := ""
			if step.user == "alice" {
				want = public + "\n"
			}
			server.ResetRequests()
			r := runApart(t, account, "--config", config, step.user, fingerprint)
			if n := server.RequestCount(); r.code != 0 || r.stdout != want || r.stderr != "" || n != step.want {
				t.Errorf("%s, closing %v: exit %d, printed %q, said %q, %d requests, want %d", step.name, closes, r.code, r.stdout, r.stderr, n, step.want)
			}
		}
	}
}

// newAccount returns an account that has no keys in the kernel yet: those of the
// agent's may be left from earlier.
func newAccount() *syscall.Credential {
	id := 1<<30 + rand.Uint32N(1<<30)
	return &syscall.Credential{Uid: id, Gid: id}
}

// configureCached writes a configuration with a cache of the account's.
func configureCached(t *testing.T, server *emulator.Server, endpoint string, account *syscall.Credential) (path, cache string) {
	t.Helper()
	dir, err := os.MkdirTemp("/etc/eic-agent", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path, cache = filepath.Join(dir, "config.toml"), filepath.Join(dir, "cache")
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(cache, int(account.Uid), int(account.Gid)); err != nil {
		t.Fatal(err)
	}
	if err := server.WriteConfigFor(path, endpoint); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(readFile(t, path), `dir = ""`, fmt.Sprintf("dir = %q", cache), 1)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path, cache
}

// runApart runs the agent in a session keyring that leads to no other, as systemd
// gives sshd one.
func runApart(t *testing.T, account *syscall.Credential, args ...string) result {
	t.Helper()
	done := make(chan result)
	go func() {
		// The thread, which has the keyring now, ends with this goroutine.
		runtime.LockOSThread()
		if _, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0); err != nil {
			t.Error(err)
		}
		done <- runAgentWith(t, func(cmd *exec.Cmd) { cmd.SysProcAttr.Credential = account }, args...)
	}()
	return <-done
}
