// Bench measures what a login pays for the agent, side by side with an empty Go
// program and with curl fetching one session token: `make bench`. With -other it
// measures another AuthorizedKeysCommand as well, which finds the metadata service
// at its real address.
package main

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/host"
)

const (
	agentUser  = "eic-agent"
	instanceID = emulator.DefaultInstanceID
	pushedUser = "alice"
	address    = "169.254.169.254"
)

func main() {
	runs := flag.Int("runs", 100, "runs of each case")
	other := flag.String("other", "", "measure this AuthorizedKeysCommand too: `COMMAND` with arguments, to which USER FINGERPRINT are added")
	flag.Parse()
	code, err := host.Run(func(h *host.Host) int {
		if err := bench(h, *runs, strings.Fields(*other)); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			return 1
		}
		return 0
	}, "cmd/eic-authkeys", "test/bench/empty", "test/bench/libraries")
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	os.Exit(code)
}

// faultsByCause is what `perf record -e page-faults -c 1 -g` and programs that link one
// library each told on 2026-11-29.
const faultsByCause = `
Where the page faults come from (medians of 50 runs on a busy machine, go1.26.8, 2026-11-29):

| program | page faults |
| --- | ---: |
| empty Go program | 144 |
| with github.com/coreos/go-systemd/v22/journal | 182 |
| with github.com/pelletier/go-toml/v2 | 181 |
| with crypto/x509 | 212 |
| with golang.org/x/crypto/ocsp | 214 |
| with golang.org/x/crypto/ssh | 247 |
| with net/http, which the next two link | 252 |
| with github.com/aws/aws-sdk-go-v2/feature/ec2/imds | 253 |
| with go.uber.org/zap | 258 |
| with all of them | 287 |
| eic-authkeys --version | 300 |
| second call of the same login | 350 |

A program that only links net/http has 1.75 times the page faults of an empty one, from tables for
compression, TLS, MIME, DNS and FIPS 140 that package initialization fills and a run never reads.
With these libraries, "with all of them" is the minimum for a second call. It adds its own code and
data (13), the configuration (6), the roots (10), the signing chain and its staples (14), the
journal (4), and their heap and stacks.

Tried and rejected: without Go's Green Tea collector (324 page faults, an empty program 135) or
without a random heap base (344, 141) the ratio is the same.
`

// A bencher measures programs against one metadata service.
type bencher struct {
	server   *emulator.Server
	account  *syscall.Credential
	endpoint string
	latency  atomic.Int64 // nanoseconds before each answer
	closing  atomic.Bool  // close each connection after one answer
}

// readRecord has the emulator sign the pushed record, which it does when that is read first:
// AWS serves signed records.
func (b *bencher) readRecord() error {
	ask := func(method, path, header, value string) (*httptest.ResponseRecorder, error) {
		r := httptest.NewRequest(method, "http://169.254.169.254/latest/"+path, nil)
		r.Header.Set(header, value)
		answer := httptest.NewRecorder()
		b.server.IMDSHandler(instanceID).ServeHTTP(answer, r)
		if answer.Code != http.StatusOK {
			return nil, fmt.Errorf("%s: %d", path, answer.Code)
		}
		return answer, nil
	}
	token, err := ask(http.MethodPut, "api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60")
	if err != nil {
		return err
	}
	_, err = ask(http.MethodGet, "meta-data/managed-ssh-keys/active-keys/"+pushedUser+"/", "X-aws-ec2-metadata-token", token.Body.String())
	return err
}

// A program is a row of the table.
type program struct {
	name string
	args []string
	// prepare is called before each run.
	prepare func() error
	times   []time.Duration
	cpu     []time.Duration
	faults  []int64 // page faults
}

func bench(h *host.Host, runs int, other []string) error {
	b, err := newBencher(h)
	if err != nil {
		return err
	}
	config := h.Path("bench.toml")
	if err := b.server.WriteConfigFor(config, b.endpoint); err != nil {
		return err
	}
	if err := attestByBoard(h, config); err != nil {
		return err
	}
	cache, err := b.addCache(h, config)
	if err != nil {
		return err
	}
	agent := host.BinDir + "/eic-authkeys"
	_, public, err := h.NewKey("key", "ed25519", 0)
	if err != nil {
		return err
	}
	push := func() error {
		if err := b.server.Withdraw(instanceID, pushedUser); err != nil {
			return err
		}
		if _, err := b.server.Push(instanceID, pushedUser, public, emulator.DefaultCallerARN); err != nil {
			return err
		}
		return b.readRecord()
	}
	fingerprint, err := fingerprintOf(h)
	if err != nil {
		return err
	}

	fmt.Println("# Performance")
	fmt.Println("\nWritten by `make bench`: eic-authkeys on a private host, its instance named by the board,")
	fmt.Println("beside an empty Go program and curl fetching one session token in the same run.")
	fmt.Println()
	fmt.Printf("%d runs of each program in turn, %s, %d processors, %s.\n", runs, runtime.Version(), runtime.NumCPU(), time.Now().UTC().Format("2006-01-02"))
	fmt.Println("Wall time, CPU time and page faults are medians. `of empty` is the ratio to the empty Go program, `of curl` that to")
	fmt.Println("curl in the same table; the ratios hardly depend on the machine.")
	fmt.Println("The third row is the cost of linking the AWS SDK's client, x/crypto, go-systemd, zap and go-toml.")
	fmt.Print(faultsByCause)
	login := []string{agent, "--config", config, pushedUser, fingerprint}
	for _, mode := range []struct {
		latency time.Duration
		closing bool
	}{{0, false}, {0, true}, {2 * time.Millisecond, false}, {20 * time.Millisecond, false}} {
		b.latency.Store(int64(mode.latency))
		b.closing.Store(mode.closing)
		programs := []*program{
			{name: "empty Go program", args: []string{host.BinDir + "/empty"}},
			{name: "curl, one session token", args: []string{"/usr/bin/curl", "-sf", "-o", "/dev/null", "-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60", b.endpoint + "/latest/api/token"}},
			{name: "its libraries linked, nothing done", args: []string{host.BinDir + "/libraries"}},
			{name: "eic-authkeys --version", args: []string{agent, "--version"}},
			{name: "no key pushed, nothing cached", args: []string{agent, "--config", config, "bob", fingerprint}, prepare: cache.forget("*")},
			{name: "no key pushed, token cached", args: []string{agent, "--config", config, "bob", fingerprint}},
			{name: "first login, nothing cached", args: login, prepare: all(push, cache.forget("*"))},
			{name: "first login, chain cached", args: login, prepare: all(push, cache.forget("token", "keys-*"))},
			{name: "first login, chain and token cached", args: login, prepare: all(push, cache.forget("keys-*"))},
			{name: "second call of the same login", args: login},
		}
		if len(other) > 0 {
			programs = append(programs,
				&program{name: other[0] + ", no key pushed", args: slices.Concat(other, []string{"bob", fingerprint})},
				&program{name: other[0] + ", first login", args: slices.Concat(other, []string{pushedUser, fingerprint}), prepare: push},
				&program{name: other[0] + ", second call of the same login", args: slices.Concat(other, []string{pushedUser, fingerprint})})
		}
		title := fmt.Sprintf("Metadata service that answers after %d ms", mode.latency.Milliseconds())
		if mode.closing {
			title += ", and closes each connection as the real one does"
		}
		if err := b.table(title, programs, runs); err != nil {
			return err
		}
	}
	return nil
}

func newBencher(h *host.Host) (*bencher, error) {
	if _, err := h.StartJournald(); err != nil {
		return nil, err
	}
	if err := h.AddSystemUser(agentUser); err != nil {
		return nil, err
	}
	server, err := emulator.New(emulator.Options{RSA: true})
	if err != nil {
		return nil, err
	}
	b := &bencher{server: server}
	imds := server.IMDSHandler(instanceID)
	if err := h.AddAddress(address + "/32"); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", address+":80")
	if err != nil {
		return nil, err
	}
	b.endpoint = "http://" + address
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(b.latency.Load()))
		if b.closing.Load() {
			w.Header().Set("Connection", "close")
		}
		imds.ServeHTTP(w, r)
	}))
	b.account, err = h.Account(agentUser)
	return b, err
}

// A cacheDir is the agent's cache.
type cacheDir string

// addCache gives the agent a cache.
func (b *bencher) addCache(h *host.Host, config string) (cacheDir, error) {
	dir := h.Path("cache")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	if err := os.Chown(dir, int(b.account.Uid), int(b.account.Gid)); err != nil {
		return "", err
	}
	text, err := os.ReadFile(config)
	if err != nil {
		return "", err
	}
	return cacheDir(dir), os.WriteFile(config, bytes.ReplaceAll(text, []byte(`dir = ""`), fmt.Appendf(nil, "dir = %q", dir)), 0o644)
}

// forget returns a preparation that removes entries.
func (c cacheDir) forget(patterns ...string) func() error {
	return func() error {
		for _, p := range patterns {
			entries, err := filepath.Glob(filepath.Join(string(c), p))
			if err != nil {
				return err
			}
			for _, e := range entries {
				if err := os.Remove(e); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

func all(preparations ...func() error) func() error {
	return func() error {
		for _, p := range preparations {
			if err := p(); err != nil {
				return err
			}
		}
		return nil
	}
}

// attestByBoard makes the host a Nitro instance.
func attestByBoard(h *host.Host, config string) error {
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	if err := os.WriteFile(config, bytes.ReplaceAll(text, []byte(`"imds"`), []byte(`"auto"`)), 0o644); err != nil {
		return err
	}
	return h.SetFile("/sys/devices/virtual/dmi/id/board_asset_tag", instanceID+"\n", 0o444)
}

func fingerprintOf(h *host.Host) (string, error) {
	out, err := exec.Command("ssh-keygen", "-l", "-f", h.Path("key")).Output()
	if err != nil {
		return "", err
	}
	return strings.Fields(string(out))[1], nil
}

// table measures the programs in turn, so that what else the machine does hits
// all of them, and prints a table.
func (b *bencher) table(title string, programs []*program, runs int) error {
	for range runs {
		for _, p := range programs {
			if err := b.run(p); err != nil {
				return err
			}
		}
	}
	fmt.Printf("\n## %s\n\n", title)
	fmt.Println("| program | wall | of empty | of curl | CPU | page faults | of empty | peak memory | system calls | IMDS requests |")
	fmt.Println("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	empty, curl := programs[0], median(programs[1].times)
	for _, p := range programs {
		requests, peak, calls, err := b.once(p)
		if err != nil {
			return err
		}
		wall, faults := median(p.times), median(p.faults)
		fmt.Printf("| %s | %.1f ms | %.2f | %.2f | %.1f ms | %d | %.2f | %.1f MiB | %d | %d |\n", p.name, ms(wall), ratio(wall, median(empty.times)), ratio(wall, curl), ms(median(p.cpu)),
			faults, ratio(faults, median(empty.faults)), float64(peak)/1024, calls, requests)
	}
	return nil
}

func (b *bencher) command(args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: b.account}
	return cmd
}

func (b *bencher) run(p *program) error {
	if p.prepare != nil {
		if err := p.prepare(); err != nil {
			return err
		}
	}
	cmd := b.command(p.args...)
	cmd.Stdout = io.Discard
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	p.times = append(p.times, time.Since(start))
	p.cpu = append(p.cpu, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		p.faults = append(p.faults, usage.Minflt+usage.Majflt)
	}
	return nil
}

// once measures what does not vary from run to run.
func (b *bencher) once(p *program) (requests, peakKiB, calls int, err error) {
	if p.prepare != nil {
		if err := p.prepare(); err != nil {
			return 0, 0, 0, err
		}
	}
	b.server.ResetRequests()
	out, err := b.command(append([]string{"/usr/bin/time", "-q", "-f", "%M"}, p.args...)...).CombinedOutput()
	if err != nil {
		return 0, 0, 0, fmt.Errorf("%s: %w: %s", p.name, err, out)
	}
	requests = b.server.RequestCount()
	lines := strings.Fields(string(out))
	if peakKiB, err = strconv.Atoi(lines[len(lines)-1]); err != nil {
		return 0, 0, 0, err
	}
	report, err := os.CreateTemp("", "strace")
	if err != nil {
		return 0, 0, 0, err
	}
	defer os.Remove(report.Name())
	if err := report.Chown(int(b.account.Uid), int(b.account.Gid)); err != nil {
		return 0, 0, 0, err
	}
	if p.prepare != nil {
		if err := p.prepare(); err != nil {
			return 0, 0, 0, err
		}
	}
	out, err = b.command(append([]string{"/usr/bin/strace", "-f", "-q", "-o", report.Name(), "-e", "signal=none"}, p.args...)...).CombinedOutput()
	if err != nil {
		return 0, 0, 0, fmt.Errorf("strace %s: %w: %s", p.name, err, out)
	}
	trace, err := os.ReadFile(report.Name())
	if err != nil {
		return 0, 0, 0, err
	}
	for line := range strings.SplitSeq(string(trace), "\n") {
		if strings.Contains(line, "(") && !strings.Contains(line, "<... ") {
			calls++
		}
	}
	return requests, peakKiB, calls, nil
}

func median[T cmp.Ordered](list []T) T {
	list = slices.Clone(list)
	slices.Sort(list)
	return list[len(list)/2]
}

func ratio[T time.Duration | int64](a, b T) float64 { return float64(a) / float64(b) }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
