package authkeys

import (
	"bytes"
	"context"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/keycache"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/test/vectors"
)

// A cached is an agent with a cache, on an instance where one key was pushed for
// alice and another for bob.
type cached struct {
	agent    *Agent
	metadata *fakeMetadata
	dir      string
	now      time.Time
	filters  map[string]fingerprint.Filter // by user
	lines    map[string]string
}

func newCached(t testing.TB, attest string) *cached {
	t.Helper()
	alice, bob := readVector(t, "record-ok"), readVector(t, "key-rsa2048")
	c := &cached{
		metadata: alice.metadata(),
		dir:      memoryDir(t),
		now:      alice.Now,
		filters:  map[string]fingerprint.Filter{"alice": filterOf(t, alice), "bob": filterOf(t, bob)},
		lines:    map[string]string{"alice": alice.Output[0] + "\n", "bob": bob.Output[0] + "\n"},
	}
	c.metadata.entries[keysPath+"alice/"] = alice.Body
	c.metadata.entries[keysPath+"bob/"] = bob.Body
	c.agent = &Agent{
		Now:      func() time.Time { return c.now },
		Config:   config.Default(),
		Metadata: c.metadata,
		Root:     fstest.MapFS{"sys/devices/virtual/dmi/id/board_asset_tag": {Data: []byte(alice.Instance)}},
		Roots:    func() (*x509.CertPool, error) { return alice.Pool(), nil },
	}
	c.agent.Config.Instance.Attest = attest
	t.Cleanup(func() { c.agent.Cache.Close() })
	c.reopen(t)
	return c
}

// memoryDir returns a directory of this account's, in memory where that can be, as the
// cache is in /run: some tests write thousands of files.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "eic-cache-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// reopen is what the next process does.
func (c *cached) reopen(t testing.TB) {
	t.Helper()
	cache, err := keycache.Open(c.dir)
	if err != nil {
		t.Fatal(err)
	}
	c.agent.Cache.Close()
	c.agent.Cache = cache
}

// filterOf selects the key of a vector's first record.
func filterOf(t testing.TB, v vector) fingerprint.Filter {
	t.Helper()
	for record := range keyrecord.Records(v.Body) {
		filter, err := fingerprint.ParseFilter(fingerprint.SHA256(record.Blob()))
		if err != nil {
			t.Fatal(err)
		}
		return filter
	}
	t.Fatal("the vector has no record")
	return fingerprint.Filter{}
}

// ask runs the agent and returns what it prints and how much it asked.
func (c *cached) ask(t testing.TB, user string, filter fingerprint.Filter) (lines string, requests int) {
	t.Helper()
	for len(c.metadata.asked) > 0 {
		<-c.metadata.asked
	}
	answer, err := c.agent.Run(context.Background(), user, filter)
	if err != nil {
		t.Errorf("%s: %v", user, err)
	}
	return string(answer.Lines), len(c.metadata.asked)
}

func TestCacheSparesRequests(t *testing.T) {
	t.Parallel()
	for _, mode := range []struct {
		attest string
		first  int // requests of the first login, without the session token
	}{{config.AttestAuto, 6}, {config.AttestIMDS, 7}} {
		c := newCached(t, mode.attest)
		for i, want := range []int{mode.first, 0, 0} {
			lines, requests := c.ask(t, "alice", c.filters["alice"])
			if lines != c.lines["alice"] || requests != want {
				t.Errorf("%s: call %d printed %q after %d requests, want %d", mode.attest, i+1, lines, requests, want)
			}
		}
		if lines, requests := c.ask(t, "bob", c.filters["bob"]); lines != c.lines["bob"] || requests != 1 {
			t.Errorf("%s: with the chain cached printed %q after %d requests, want 1", mode.attest, lines, requests)
		}
		// Without a fingerprint, or for another key, the service is asked.
		if _, requests := c.ask(t, "alice", fingerprint.Filter{}); requests != 1 {
			t.Errorf("%s: without a fingerprint %d requests, want 1", mode.attest, requests)
		}
		if lines, requests := c.ask(t, "alice", c.filters["bob"]); lines != "" || requests != 1 {
			t.Errorf("%s: for another key printed %q after %d requests, want 1", mode.attest, lines, requests)
		}
	}
}

// "No" is never remembered.
func TestKeyPushedAfterARefusal(t *testing.T) {
	t.Parallel()
	c := newCached(t, config.AttestAuto)
	body := c.metadata.entries[keysPath+"alice/"]
	delete(c.metadata.entries, keysPath+"alice/")
	if lines, _ := c.ask(t, "alice", c.filters["alice"]); lines != "" {
		t.Fatalf("printed %q", lines)
	}
	c.metadata.entries[keysPath+"alice/"] = body
	if lines, _ := c.ask(t, "alice", c.filters["alice"]); lines != c.lines["alice"] {
		t.Errorf("printed %q", lines)
	}
}

func TestServiceGoneAfterTheFirstCall(t *testing.T) {
	t.Parallel()
	for _, attest := range []string{config.AttestAuto, config.AttestIMDS} {
		c := newCached(t, attest)
		c.ask(t, "alice", c.filters["alice"])
		c.agent.Metadata = failingMetadata{}
		if answer, err := c.agent.Run(t.Context(), "alice", c.filters["alice"]); err != nil || string(answer.Lines) != c.lines["alice"] {
			t.Errorf("%s: printed %q, %v", attest, answer.Lines, err)
		}
		// The record's own end is the end of it.
		c.now = c.now.Add(45 * time.Second)
		answer, err := c.agent.Run(t.Context(), "alice", c.filters["alice"])
		if reason.Of(err) != reason.IMDSUnreachable || len(answer.Lines) != 0 {
			t.Errorf("%s: after its 45 seconds printed %q, %v", attest, answer.Lines, err)
		}
	}
}

type failingMetadata struct{}

func (failingMetadata) Get(context.Context, string, int) ([]byte, error) {
	return nil, reason.New(reason.IMDSUnreachable, "gone")
}

// Where the chain cannot be fetched it may be in the cache by now, from another run.
func TestSignerOfAnotherRun(t *testing.T) {
	t.Parallel()
	c := newCached(t, config.AttestAuto)
	c.agent.Metadata = &overtaken{c, t}
	if lines, _ := c.ask(t, "alice", c.filters["alice"]); lines != c.lines["alice"] {
		t.Errorf("printed %q", lines)
	}
}

// An overtaken service does not serve the chain any more, which another run has just
// stored.
type overtaken struct {
	*cached
	t *testing.T
}

func (o *overtaken) Get(ctx context.Context, path string, limit int) ([]byte, error) {
	if path != chainPath {
		return o.metadata.Get(ctx, path, limit)
	}
	v := vectors.Read(o.t, "record-ok")
	o.agent.Cache.StoreSigner(signerOf(v, v.Instance))
	return nil, reason.New(reason.IMDSError, "throttled")
}

// The administrator's word counts at once, whatever is cached.
func TestPolicyOverCache(t *testing.T) {
	t.Parallel()
	c := newCached(t, config.AttestAuto)
	c.ask(t, "alice", c.filters["alice"])
	c.agent.Config.Users.Deny = []string{"alice"}
	if lines, _ := c.ask(t, "alice", c.filters["alice"]); lines != "" {
		t.Errorf("denied, but printed %q", lines)
	}
	c.agent.Config.Users.Deny = nil
	c.agent.Config.Users.Map = []config.UserMap{{Caller: "arn:aws:iam::1:user/x", Users: []string{"*"}}}
	// The key may have been pushed anew, by somebody who is mapped.
	if lines, requests := c.ask(t, "alice", c.filters["alice"]); lines != "" || requests == 0 {
		t.Errorf("not mapped, but printed %q after %d requests", lines, requests)
	}
}

// AWS changes the signer while its predecessor is still cached.
func TestSignerRotated(t *testing.T) {
	t.Parallel()
	c := newCached(t, config.AttestAuto)
	c.ask(t, "alice", c.filters["alice"])
	rotated := readVector(t, "chain-rotated")
	for path, body := range rotated.metadata().entries {
		c.metadata.entries[path] = body
	}
	c.metadata.entries[keysPath+"carol/"] = rotated.Body
	if lines, _ := c.ask(t, "carol", filterOf(t, rotated)); lines != rotated.Output[0]+"\n" {
		t.Errorf("after the change printed %q", lines)
	}
	if _, requests := c.ask(t, "carol", filterOf(t, rotated)); requests != 0 {
		t.Errorf("the new signer is not cached: %d requests", requests)
	}
}

// Writing to the directory gains nothing: nothing is printed that
// would not be printed without a cache, and no key is lost.
func TestTamperedCache(t *testing.T) {
	t.Parallel()
	c := newCached(t, config.AttestIMDS)
	questions := []struct {
		user   string
		filter fingerprint.Filter
	}{
		{"alice", c.filters["alice"]}, {"bob", c.filters["alice"]}, {"root", c.filters["alice"]},
	}
	want := make([]string, len(questions))
	c.agent.Cache.Close()
	c.agent.Cache = nil
	for i, q := range questions {
		want[i], _ = c.ask(t, q.user, q.filter)
	}
	if want[0] == "" || want[1] != "" || want[2] != "" {
		t.Fatalf("without a cache: %q", want)
	}
	c.reopen(t)
	fill := func() []string {
		c.ask(t, "alice", c.filters["alice"])
		c.ask(t, "bob", c.filters["bob"])
		// Where an entry of root's would be, alice's can be put.
		c.agent.Cache.StoreRecords("root", []byte("x"))
		names, err := filepath.Glob(filepath.Join(c.dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(names, func(name string) bool { return strings.HasSuffix(name, ".lock") })
	}
	files := fill()
	if len(files) != 4 {
		t.Fatalf("the cache has %q", files)
	}

	for name, content := range tamperings(t, files) {
		for _, file := range files {
			os.RemoveAll(file)
			if err := content(file); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			c.reopen(t)
			for i, q := range questions {
				start := time.Now()
				if got, _ := c.ask(t, q.user, q.filter); got != want[i] {
					t.Errorf("%s in place of %s: for %s printed %q, want %q", name, filepath.Base(file), q.user, got, want[i])
				}
				if took := time.Since(start); took > time.Minute {
					t.Errorf("%s in place of %s: took %v", name, filepath.Base(file), took)
				}
			}
			os.RemoveAll(file)
			fill()
		}
	}
}

// tamperings returns what is put in the place of each file.
func tamperings(t testing.TB, files []string) map[string]func(path string) error {
	t.Helper()
	write := func(data []byte) func(string) error {
		return func(path string) error { return os.WriteFile(path, data, 0o600) }
	}
	all := map[string]func(string) error{
		"nothing":     write(nil),
		"junk":        write([]byte("junk")),
		"null":        write([]byte("null")),
		"zeros":       write(make([]byte, 100<<10)),
		"a link":      func(path string) error { return os.Symlink("/proc/self/exe", path) },
		"a self link": func(path string) error { return os.Symlink(path, path) },
		"a fifo":      func(path string) error { return unix.Mkfifo(path, 0o600) },
		"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"a gigabyte": func(path string) error {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(path, 1<<30)
		},
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all["the contents of "+filepath.Base(file)] = write(data)
		all["half of "+filepath.Base(file)] = write(data[:len(data)/2])
		all["a seal on "+filepath.Base(file)] = write(append(make([]byte, 32), data...))
	}
	seen := make(map[string]bool)
	for _, v := range vectors.All(t) {
		all["the records of "+v.Name] = write(append(make([]byte, 32), v.Body...))
		// Most vectors share the chain, which needs to be tried once.
		signer := stored(t, signerOf(v, v.Instance))
		if !seen[string(signer)] {
			seen[string(signer)] = true
			all["the chain of "+v.Name] = write(signer)
		}
	}
	all["another instance"] = write(stored(t, signerOf(vectors.Read(t, "record-ok"), "i-0fedcba9876543210")))
	all["many nulls"] = write(bytes.Repeat([]byte("null"), 1000))
	return all
}

// signerOf returns what the cache keeps of v on the instance of an id.
func signerOf(v vectors.Vector, instance string) keycache.Signer {
	signer := keycache.Signer{Region: v.Region, Domain: v.Domain, InstanceID: instance, Chain: v.Chain.Data}
	for _, s := range v.Staples {
		signer.Staples = append(signer.Staples, s.File.Data)
	}
	return signer
}

// stored returns the entry of a signer as the cache writes it.
func stored(t testing.TB, s keycache.Signer) []byte {
	t.Helper()
	dir := memoryDir(t)
	cache, err := keycache.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	cache.StoreSigner(s)
	data, err := os.ReadFile(filepath.Join(dir, "signer"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
