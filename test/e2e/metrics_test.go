package e2e

import (
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/need"
)

// samples reads Prometheus's text format.
func samples(t *testing.T, text string) map[string]float64 {
	t.Helper()
	values := make(map[string]float64)
	for _, m := range regexp.MustCompile(`(?m)^(eic_\w+(?:\{[^}]*\})?) (\S+)$`).FindAllStringSubmatch(text, -1) {
		value, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := values[m[1]]; twice {
			t.Errorf("%s is there twice", m[1])
		}
		values[m[1]] = value
	}
	return values
}

// TestMetrics counts real decisions and sessions, and has the real node exporter and
// promtool read what was written.
func TestMetrics(t *testing.T) {
	for _, program := range []string{"promtool", "prometheus-node-exporter"} {
		if _, err := exec.LookPath(program); err != nil {
			need.Missing(t, "%v", err)
		}
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file, state := filepath.Join(dir, "eic.prom"), filepath.Join(dir, "state.json")
	collect := func() map[string]float64 {
		t.Helper()
		runProgram(t, "journalctl", "--sync")
		if r := runCtl(t, "metrics", "--textfile", file, "--state", state, "--config", configPath); r.code != 0 || r.stdout != "" {
			t.Fatalf("exit %d, said %q, printed %q", r.code, r.stderr, r.stdout)
		}
		return samples(t, readFile(t, file))
	}
	before := collect()

	// One session that stays, one that ends, and a refusal.
	user, _ := w.newUser(t)
	key, public := w.newKey(t, "ed25519", 0)
	w.push(t, user, public)
	w.login(t, user, key)
	p := newPrincipals(t, 1)[0]
	w.push(t, user, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(p.signer.PublicKey()))))
	client, err := p.dial(w.sshd.Address(), user, p.signer)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	other, _ := w.newUser(t)
	expired := recordText{expires: time.Now().Add(-time.Minute), instance: emulator.DefaultInstanceID, key: public}
	if err := w.emulator.Publish(emulator.DefaultInstanceID, other, expired.signed(t)); err != nil {
		t.Fatal(err)
	}
	if r := runAgent(t, "--config", configPath, other); r.code != 0 || r.stdout != "" {
		t.Fatalf("exit %d, printed %q", r.code, r.stdout)
	}

	after := collect()
	for name, want := range map[string]float64{
		"eic_keys_provided_total": 4, `eic_records_refused_total{reason="expired"}`: 1, `eic_records_refused_total{reason="bad-signature"}`: 0,
		`eic_runs_failed_total{reason="imds-error"}`: 0, "eic_sessions_open": 1, "eic_gates_opened_total": 0,
	} {
		if _, ok := after[name]; !ok || after[name]-before[name] != want {
			t.Errorf("%s went from %v to %v, want %v more", name, before[name], after[name], want)
		}
	}
	if after["eic_config_usable"] != 1 || after[`eic_doctor_checks{status="ok"}`] < 5 {
		t.Errorf("usable %v, checks %v", after["eic_config_usable"], after[`eic_doctor_checks{status="ok"}`])
	}
	if same := collect(); same["eic_keys_provided_total"] != after["eic_keys_provided_total"] || same["eic_sessions_open"] != after["eic_sessions_open"] {
		t.Errorf("without an event: %v", same)
	}
	client.Close()
	if err := w.Eventually("the session is over", func() bool {
		r := runCtl(t, "metrics", "--no-doctor", "--state", state, "--config", configPath)
		return samples(t, r.stdout)["eic_sessions_open"] == before["eic_sessions_open"]
	}); err != nil {
		t.Error(err)
	}

	// Where it fails the file stays.
	old := readFile(t, file)
	if err := os.WriteFile(state, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := runCtl(t, "metrics", "--textfile", file, "--state", state, "--config", configPath); r.code != 3 || readFile(t, file) != old {
		t.Errorf("with a broken state: exit %d, said %q", r.code, r.stderr)
	}

	promtool := exec.Command("promtool", "check", "metrics")
	promtool.Stdin = strings.NewReader(old)
	if out, err := promtool.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v: %s", err, out)
	}
	if served, written := scrape(t, dir), samples(t, old); !maps.Equal(served, written) {
		t.Errorf("the node exporter has %v\nthe file %v", served, written)
	}
}

// scrape has the node exporter read the files in dir.
func scrape(t *testing.T, dir string) map[string]float64 {
	t.Helper()
	const address = "127.0.0.1:9100"
	cmd := exec.Command("prometheus-node-exporter", "--web.listen-address="+address, "--collector.disable-defaults", "--collector.textfile", "--collector.textfile.directory="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	var text []byte
	if err := w.Eventually("the node exporter answers", func() bool {
		answer, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		text, err = io.ReadAll(answer.Body)
		return err == nil
	}); err != nil {
		t.Fatal(err)
	}
	return samples(t, string(text))
}

// The alert rules are those of the metrics that there are.
func TestAlertRules(t *testing.T) {
	if _, err := exec.LookPath("promtool"); err != nil {
		need.Missing(t, "%v", err)
	}
	const rules = "../../examples/prometheus-alerts.yml"
	runProgram(t, "promtool", "check", "rules", rules)
	printed := runCtl(t, "metrics", "--config", configPath).stdout
	names := regexp.MustCompile(`eic_\w+`).FindAllString(readFile(t, rules), -1)
	if len(names) < 9 {
		t.Errorf("the rules name %d metrics", len(names))
	}
	for _, name := range names {
		if !strings.Contains(printed, "# TYPE "+name+" ") {
			t.Errorf("there is no metric %s", name)
		}
	}
}
