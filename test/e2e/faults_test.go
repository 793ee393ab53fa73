package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/host"
)

// configure writes a configuration with that endpoint, trusting the emulator,
// and with more lines.
func configure(t *testing.T, endpoint string, more ...string) string {
	t.Helper()
	path := filepath.Join("/etc/eic-agent", strings.ReplaceAll(t.Name(), "/", "_")+".toml")
	if err := w.emulator.WriteConfigFor(path, endpoint); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("\n" + strings.Join(more, "\n") + "\n"); err != nil {
		t.Fatal(err)
	}
	return path
}

// faultyIMDS serves the emulator's metadata with a fault.
func faultyIMDS(t *testing.T, fault func(http.ResponseWriter, *http.Request, http.Handler)) string {
	t.Helper()
	real := w.emulator.IMDSHandler(emulator.DefaultInstanceID)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { fault(rw, r, real) }))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

func status(code int) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(rw http.ResponseWriter, r *http.Request, _ http.Handler) { http.Error(rw, "", code) }
}

// drip sends one byte a second until the client goes away.
func drip(rw http.ResponseWriter, r *http.Request, _ http.Handler) {
	rw.WriteHeader(http.StatusOK)
	for r.Context().Err() == nil {
		io.WriteString(rw, "x")
		rw.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
		case <-time.After(time.Second):
		}
	}
}

func endless(rw http.ResponseWriter, r *http.Request, _ http.Handler) {
	junk := make([]byte, 64<<10)
	for r.Context().Err() == nil {
		if _, err := rw.Write(junk); err != nil {
			return
		}
	}
}

func TestFaultsOfTheMetadataService(t *testing.T) {
	onlyKeys := func(fault func(http.ResponseWriter, *http.Request, http.Handler)) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(rw http.ResponseWriter, r *http.Request, real http.Handler) {
			if strings.Contains(r.URL.Path, "/active-keys/") {
				fault(rw, r, real)
				return
			}
			real.ServeHTTP(rw, r)
		}
	}
	blackHole := func(rw http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() }
	var once atomic.Bool
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused.Close()

	for name, c := range map[string]struct {
		endpoint string
		fault    func(http.ResponseWriter, *http.Request, http.Handler)
		reason   string // "" where the key is granted all the same
	}{
		"refused":         {"http://" + refused.Addr().String(), nil, "imds-unreachable"},
		"black-hole":      {"", blackHole, "imds-unreachable"},
		"black-hole-keys": {"", onlyKeys(blackHole), "imds-unreachable"},
		"drip":            {"", drip, "imds-unreachable"},
		"drip-keys":       {"", onlyKeys(drip), "imds-unreachable"},
		"401-once": {"", onlyKeys(func(rw http.ResponseWriter, r *http.Request, real http.Handler) {
			if once.CompareAndSwap(false, true) {
				status(401)(rw, r, real)
				return
			}
			real.ServeHTTP(rw, r)
		}), ""},
		"401": {"", onlyKeys(status(401)), "imds-error"}, "403": {"", status(403), "imds-error"}, "403-keys": {"", onlyKeys(status(403)), "imds-error"},
		"404-token": {"", status(404), "imds-error"}, "500": {"", status(500), "imds-error"}, "503": {"", status(503), "imds-error"},
		"endless": {"", endless, "imds-error"}, "endless-keys": {"", onlyKeys(endless), "imds-error"},
		"cut-off": {"", onlyKeys(func(rw http.ResponseWriter, r *http.Request, _ http.Handler) {
			rw.Header().Set("Content-Length", "1000")
			io.WriteString(rw, "#Timestamp=")
		}), "imds-error"},
		"redirect": {"", func(rw http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(rw, r, w.emulator.IMDSURL(emulator.DefaultInstanceID)+r.URL.Path, http.StatusTemporaryRedirect)
		}, "imds-error"},
		"no-chain": {"", func(rw http.ResponseWriter, r *http.Request, real http.Handler) {
			if strings.Contains(r.URL.Path, "/signer-cert") {
				status(404)(rw, r, real)
				return
			}
			real.ServeHTTP(rw, r)
		}, "imds-error"},
	} {
		t.Run(name, func(t *testing.T) {
			user, home := w.newUser(t)
			_, public := w.newKey(t, "ed25519", 0)
			w.push(t, user, public)
			endpoint := c.endpoint
			if endpoint == "" {
				endpoint = faultyIMDS(t, c.fault)
			}
			config := configure(t, endpoint)
			r := runAgent(t, "--config", config, user)
			if r.took > host.Patience {
				t.Errorf("took %v", r.took)
			}
			if c.reason == "" {
				if r.code != 0 || r.stdout != public+"\n" || r.stderr != "" {
					t.Errorf("exit %d, printed %q, said %q", r.code, r.stdout, r.stderr)
				}
				return
			}
			if r.code != 1 || r.stdout != "" || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, "("+c.reason+")") {
				t.Errorf("exit %d, printed %q, said %q; want %s", r.code, r.stdout, r.stderr, c.reason)
			}
			failed := w.records(t, user, "run-failed")
			if len(failed) != 1 || failed[0].Field("EIC_REASON") != c.reason || failed[0].Field("PRIORITY") != "3" {
				t.Errorf("the journal has %v, want one run-failed with %s", failed, c.reason)
			}

			// A key in authorized_keys logs in all the same.
			sshd, err := w.StartSSHD(agentLines(config)...)
			if err != nil {
				t.Fatal(err)
			}
			defer sshd.Stop()
			static, staticPublic := w.newKey(t, "ed25519", 0)
			authorize(t, user, home, staticPublic)
			if _, err := sshd.SSH(user, "true", static); err != nil {
				t.Errorf("the key in authorized_keys: %v", err)
			}
		})
	}
}

func authorize(t *testing.T, user, home, public string) {
	t.Helper()
	runProgram(t, "install", "-d", "-o", user, "-m", "0700", home+"/.ssh")
	path := home + "/.ssh/authorized_keys"
	if err := os.WriteFile(path, []byte(public+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	runProgram(t, "chown", user, path)
}

func TestJunkIsRefusedInConstantMemory(t *testing.T) {
	user, _ := w.newUser(t)
	_, public := w.newKey(t, "ed25519", 0)
	w.push(t, user, public)
	plain := peakKiB(t, "--config", configPath, user)

	const size = 2 << 20
	record := []byte("#Timestamp=1\n#Instance=i-0\nssh-ed25519 AAAA\n\n")
	for name, junk := range map[string][]byte{
		"zeros": make([]byte, size), "blank-lines": []byte(strings.Repeat("\n", size)), "hashes": []byte(strings.Repeat("#\n", size/2)),
		"records": []byte(strings.Repeat(string(record), size/len(record)+1)),
	} {
		t.Run(name, func(t *testing.T) {
			user, _ := w.newUser(t)
			if err := w.emulator.Publish(emulator.DefaultInstanceID, user, junk); err != nil {
				t.Fatal(err)
			}
			r := runAgent(t, "--config", configPath, user)
			if r.code != 1 || r.stdout != "" || !strings.Contains(r.stderr, "(imds-error)") {
				t.Errorf("exit %d, printed %q, said %q", r.code, r.stdout, r.stderr)
			}
			// The answer is read up to its bound of 1.5 MiB.
			peak := peakKiB(t, "--config", configPath, user)
			t.Logf("%d KiB, for one record %d", peak, plain)
			if peak-plain > 8<<10 {
				t.Errorf("%d KiB more than for one record", peak-plain)
			}
		})
	}
}

func TestThousandForeignRecords(t *testing.T) {
	user, _ := w.newUser(t)
	key, public := w.newKey(t, "rsa", 2048)
	foreign := recordText{expires: time.Now().Add(time.Minute), instance: "i-0fedcba9876543210", key: public}.signed(t)
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, "#Number=%d\n%s\n", i, foreign)
	}
	if err := w.emulator.Publish(emulator.DefaultInstanceID, user, []byte(many.String())); err != nil {
		t.Fatal(err)
	}
	w.push(t, user, public)
	w.login(t, user, key)
	refused := w.records(t, user, "record-refused")
	if len(refused) == 0 || len(refused) > 22 {
		t.Errorf("%d records of refusals for two runs", len(refused))
	}
	last := refused[len(refused)-1].Field("MESSAGE")
	if !strings.Contains(last, "990 more") {
		t.Errorf("the last record says %q", last)
	}
}

// sshd's timeout aside, the agent must not depend on what the environment says.
func TestEnvironmentIsIgnored(t *testing.T) {
	user, _ := w.newUser(t)
	_, public := w.newKey(t, "ed25519", 0)
	w.push(t, user, public)
	var asked atomic.Int64
	trap := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Error(rw, "", http.StatusBadGateway)
	}))
	defer trap.Close()
	env := []string{"AWS_EC2_METADATA_DISABLED=true", "AWS_EC2_METADATA_V1_DISABLED=false", "SSL_CERT_FILE=/dev/null", "SSL_CERT_DIR=/nonexistent", "TZ=Australia/Sydney"}
	for _, name := range []string{"http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY", "AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_ENDPOINT_URL", "EIC_AGENT_CONFIG"} {
		env = append(env, name+"="+trap.URL)
	}
	r := runAgentWith(t, withEnv(env...), "--config", configPath, user)
	if r.code != 0 || r.stdout != public+"\n" {
		t.Errorf("exit %d, printed %q, said %q", r.code, r.stdout, r.stderr)
	}
	if asked.Load() != 0 {
		t.Error(fmt.Sprint("something was asked that the environment names: ", asked.Load(), " times"))
	}
}
