// Package doctor sets up faults on a private host, one at a time, and has `eicctl
// doctor` name them.
package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/ctl/doctor"
	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/host"
)

const (
	agentUser  = "eic-agent"
	user       = "alice"
	authkeys   = host.BinDir + "/eic-authkeys"
	eicctl     = host.BinDir + "/eicctl"
	configPath = "/etc/eic-agent/config.toml"
	rootsPath  = "/etc/eic-agent/roots.pem"
	cacheDir   = "/run/eic-agent"
	boardPath  = "/sys/devices/virtual/dmi/id/board_asset_tag"
	publicKey  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINohITzWz6NQDHgCdHYsQt3t+BsQLWjJiasKh09vNjsC"
	longKey    = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDDlc1w+uGlCli4N5a2sCKvUg/v8bBtDT57XBLTKRdHkjzVSTfhBecw8CmfjKRKXDMXHUsGdSPNiNnnBTZwWaSyXBWBFXDhM9a5IwL+wYmytBypBur6XlX1/ubTwZrHpyIBlYFc2qzHH4jd9oOfJH7HDXwF8mnpPliiCWMXwca5zpbYgag7MCfcgn/cMjRHIMnMPSncMiuyYCAM5VMETXAtNcg/B7tYFY0K30V7ubzvOPM4sj9wVs5BHNuhbSkuAsa6dzrU9MZ8gCgZ8tzi2kpLAaTmowdqSxLzzTYfgw4snQWjdYXr5BkeLJdedoQUOAENIFekpXn+GdL8ZrTUWNcB"
	shortKey   = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDFTDz5SHeC6LZpRqnVSUjNGwxijTVEngFpBpodhlInVqwxoDNKB4IlVNdZpgx3Pb3EPnakPMCEEScXwlC9i2bhQ/mP2lABOC9sM8Trh9Rz2+rJ7QSRvgOFx6YbtTr/A1sWWHkr3TRe3uqtq7Ul3NqKLFz5xNYyVfm5MkHUzlIpqw=="
)

// w is the world of all tests here: a healthy host.
var w *world

type world struct {
	*host.Host
	emulator  *emulator.Server
	clock     atomic.Int64 // nanoseconds that the emulator's clock is ahead
	imds      atomic.Pointer[http.HandlerFunc]
	sshd      server
	otherwise bool // sshd runs otherwise until the test ends, or not at all
	journald  *os.Process
}

func TestMain(m *testing.M) {
	os.Exit(host.Main(m, func(h *host.Host) (err error) {
		w, err = furnish(h)
		return err
	}, "cmd/eic-authkeys", "cmd/eic-serial-getty", "cmd/eicctl"))
}

func furnish(h *host.Host) (*world, error) {
	w := &world{Host: h}
	var err error
	if w.journald, err = h.StartJournald(); err != nil {
		return nil, err
	}
	if err := h.AddSystemUser(agentUser); err != nil {
		return nil, err
	}
	if _, err := h.AddUser(user); err != nil {
		return nil, err
	}
	for _, cidr := range []string{"169.254.169.254/32", "fd00:ec2::254/128"} {
		if err := h.AddAddress(cidr); err != nil {
			return nil, err
		}
	}
	w.emulator, err = emulator.New(emulator.Options{
		Permissive: true,
		Now:        func() time.Time { return time.Now().Add(time.Duration(w.clock.Load())) },
	})
	if err != nil {
		return nil, err
	}
	w.serve(nil)
	for _, address := range []string{"169.254.169.254:80", "[fd00:ec2::254]:80"} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return nil, err
		}
		go http.Serve(listener, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { (*w.imds.Load())(rw, r) }))
	}
	for path, content := range map[string]string{
		boardPath:  emulator.DefaultInstanceID + "\n",
		rootsPath:  string(w.emulator.RootsPEM()),
		configPath: config,
	} {
		if err := h.SetFile(path, content, 0o644); err != nil {
			return nil, err
		}
	}
	if err := w.makeCache(); err != nil {
		return nil, err
	}
	return w, w.startServer(commandLines())
}

const config = "[trust]\nroots = \"" + rootsPath + "\"\n"

func (w *world) makeCache() error {
	account, err := w.Account(agentUser)
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(cacheDir, 0o700), os.Chmod(cacheDir, 0o700), os.Chown(cacheDir, int(account.Uid), int(account.Gid)))
}

// serve puts a handler in the place of the metadata service; nil is the
// emulator's.
func (w *world) serve(h http.HandlerFunc) {
	if h == nil {
		h = w.emulator.IMDSHandler(emulator.DefaultInstanceID).ServeHTTP
	}
	w.imds.Store(&h)
}

// examine runs eicctl doctor as root does.
func examine(t *testing.T, args ...string) doctor.Report {
	t.Helper()
	start := time.Now()
	cmd := exec.Command(eicctl, append([]string{"doctor", "--json"}, args...)...)
	out, err := cmd.Output()
	code := cmd.ProcessState.ExitCode()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var r doctor.Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("exit %d, printed %q, said %q: %v", code, out, exit.Stderr, err)
	}
	want := 0
	switch {
	case r.Problems > 0:
		want = 1
	case r.Unknown > 0:
		want = 3
	}
	if code != want {
		t.Errorf("exit %d, want %d with %d problems and %d unknown", code, want, r.Problems, r.Unknown)
	}
	if took := time.Since(start); took > host.Patience {
		t.Errorf("took %v", took)
	} else if testing.Verbose() {
		t.Logf("%v", took)
	}
	return r
}

// examineFor examines until the report is as it should be, at most five times: on a busy
// machine a check may run into a time limit of its own.
func examineFor(t *testing.T, user string, is func(doctor.Report) bool) doctor.Report {
	t.Helper()
	r := examine(t, user)
	for range 4 {
		if is(r) {
			break
		}
		r = examine(t, user)
	}
	return r
}

// isHealthy reports whether nothing is wrong, and nothing open but what stays so.
func isHealthy(r doctor.Report) bool {
	return r.Problems == 0 && slices.Equal(ids(r, doctor.Unknown), open())
}

// ids returns the findings of a status, each once, in order.
func ids(r doctor.Report, status string) []string {
	var list []string
	for _, f := range r.Findings {
		if f.Status == status && !slices.Contains(list, f.ID) {
			list = append(list, f.ID)
		}
	}
	slices.Sort(list)
	return list
}

// show prints a report.
func show(r doctor.Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%-14s %-10s %s: %s\n", f.Status, f.Area, f.ID, f.Text)
		if f.Fix != "" {
			fmt.Fprintf(&b, "%26s fix: %s\n", "", f.Fix)
		}
	}
	return b.String()
}

// open are the checks that stay unknown on a healthy host: a private
// host has the machine's clock.
func open() []string {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil || t.Status&unix.STA_UNSYNC != 0 {
		return []string{"clock-sync"}
	}
	return nil
}

func healthy(t *testing.T) {
	t.Helper()
	r := examineFor(t, user, isHealthy)
	if got := ids(r, doctor.Problem); len(got) > 0 {
		t.Errorf("problems on a healthy host: %q\n%s", got, show(r))
	}
	if got := ids(r, doctor.Unknown); !slices.Equal(got, open()) {
		t.Errorf("unknown on a healthy host: %q, want %q\n%s", got, open(), show(r))
	}
}

func TestHealthy(t *testing.T) {
	healthy(t)
	r := examine(t)
	if r.Problems > 0 || !slices.Equal(ids(r, doctor.Unknown), open()) {
		t.Errorf("without a user:\n%s", show(r))
	}
}

// An ordinary user learns little, and nothing wrong.
func TestNotRoot(t *testing.T) {
	t.Run("as usual", notRoot)
	command(t, "chmod 0600 "+sshdConfig, "chmod 0644 "+sshdConfig)
	t.Run("with a closed configuration of sshd", notRoot)
}

func notRoot(t *testing.T) {
	account, err := w.Account(user)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(eicctl, "doctor", user)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account}
	out, err := cmd.CombinedOutput()
	text := string(out)
	if cmd.ProcessState.ExitCode() != 3 || strings.Contains(text, "PROBLEM") {
		t.Errorf("%v, printed\n%s", err, text)
	}
	for _, line := range []string{
		"user \"alice\": no problem found, ",
		"  ?        sshd: checking whether sshd is running needs root",
		"  ok       imds: the metadata service at http://169.254.169.254 answers ",
		"  ?        imds-as-user: ",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("it does not say %q:\n%s", line, text)
		}
	}
}

// The text for people has every finding, and nothing that a terminal would act on.
func TestText(t *testing.T) {
	configured("[users]\ndeny = [\"al*\"]\n")(t)
	out, _ := exec.Command(eicctl, "doctor", user).Output()
	for _, want := range []string{
		"user \"alice\": 1 problem, ", "\n\nsshd\n  ok       sshd: /usr/sbin/sshd (OpenSSH ",
		"\n  PROBLEM  user-denied: [users] in " + configPath + " denies pushed keys for alice\n           hint: ",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the text has no %q:\n%s", want, out)
		}
	}
	out, _ = exec.Command(eicctl, "doctor", "a\x1b[2J\r\u202eb").CombinedOutput()
	if strings.ContainsFunc(string(out), func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }) {
		t.Errorf("printed %q", out)
	}
}

// A signal ends it soon, without half of an answer.
func TestInterrupted(t *testing.T) {
	var asked sync.Once
	come := make(chan struct{})
	blind(func(*http.Request) bool {
		asked.Do(func() { close(come) })
		return true
	})(t)
	var stdout, stderr strings.Builder
	cmd := exec.Command(eicctl, "doctor", user)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-come
	cmd.Process.Signal(unix.SIGTERM)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 3 || stdout.Len() > 0 || stderr.String() != "eicctl: error: interrupted\n" {
		t.Errorf("exit %d, printed %q, said %q", code, &stdout, &stderr)
	}
}
