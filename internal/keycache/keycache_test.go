package keycache

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/test/need"
)

func newCache(t *testing.T) (*Cache, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c, dir
}

func TestEntries(t *testing.T) {
	t.Parallel()
	c, _ := newCache(t)
	if _, ok := c.load("a", 100); ok {
		t.Error("an entry that nobody stored")
	}
	c.store("a", []byte("one"))
	c.store("a", []byte("two"))
	if data, ok := c.load("a", 3); !ok || string(data) != "two" {
		t.Errorf("loaded %q, %v", data, ok)
	}
	if _, ok := c.load("a", 2); ok {
		t.Error("an entry beyond the limit")
	}
	c.remove("a")
	if _, ok := c.load("a", 100); ok {
		t.Error("an entry that was removed")
	}
}

func TestNilCache(t *testing.T) {
	t.Parallel()
	c, err := Open("")
	if c != nil || err != nil {
		t.Fatalf("Open of no path: %v, %v", c, err)
	}
	c.StoreToken("t", time.Now().Add(time.Hour))
	c.StoreSigner(Signer{Region: "r"})
	c.StoreRecords("u", []byte("x"))
	c.DropToken()
	if _, _, ok := c.Token(time.Now()); ok {
		t.Error("a token")
	}
	if _, ok := lastSigner(c); ok {
		t.Error("a signer")
	}
	if _, ok := c.Records("u"); ok {
		t.Error("records")
	}
	waited, done := c.LeadSigner(t.Context())
	if waited {
		t.Error("waited for nobody")
	}
	done()
}

func TestUnusableDirectories(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	for name, prepare := range map[string]func(path string) error{
		"missing":        func(string) error { return nil },
		"file":           func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"group-readable": func(p string) error { return mkdir(p, 0o750) },
		"world":          func(p string) error { return mkdir(p, 0o777) },
		"link": func(p string) error {
			if err := mkdir(p+".target", 0o700); err != nil {
				return err
			}
			return os.Symlink(p+".target", p)
		},
		"fifo": func(p string) error { return unix.Mkfifo(p, 0o600) },
	} {
		path := filepath.Join(base, name)
		if err := prepare(path); err != nil {
			t.Fatal(err)
		}
		if c, err := Open(path); c != nil || err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: Open gave %v, %v", name, c, err)
		}
	}
	if os.Geteuid() == 0 {
		path := filepath.Join(base, "foreign")
		if err := mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, 1, 1); err != nil {
			t.Fatal(err)
		}
		if c, err := Open(path); c != nil || err == nil {
			t.Errorf("foreign: Open gave %v, %v", c, err)
		}
	}
}

func mkdir(path string, mode os.FileMode) error {
	if err := os.Mkdir(path, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// What lies in the directory in place of an entry is no entry, and holds nobody
// up.
func TestHostileEntries(t *testing.T) {
	t.Parallel()
	c, dir := newCache(t)
	c.store("good", []byte("entry"))
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("entry"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, prepare := range map[string]func(path string) error{
		"link":      func(p string) error { return os.Symlink(outside, p) },
		"self-link": func(p string) error { return os.Symlink(p, p) },
		"fifo":      func(p string) error { return unix.Mkfifo(p, 0o600) },
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"readable": func(p string) error {
			return errors.Join(os.WriteFile(p, []byte("entry"), 0o600), os.Chmod(p, 0o644))
		},
		"huge": func(p string) error {
			if err := os.WriteFile(p, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(p, 1<<30)
		},
		"device": func(p string) error {
			err := unix.Mknod(p, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5)))
			if err == unix.EPERM {
				return nil // not root: there is nothing then
			}
			return err
		},
	} {
		path := filepath.Join(dir, name)
		if err := prepare(path); err != nil {
			t.Fatal(err)
		}
		if data, ok := c.load(name, 100); ok {
			t.Errorf("%s: loaded %q", name, data)
		}
		c.store(name, []byte("new"))
		if data, ok := c.load(name, 100); name != "directory" && (!ok || string(data) != "new") {
			t.Errorf("%s: after a store loaded %q, %v", name, data, ok)
		}
	}
	if data, err := os.ReadFile(outside); err != nil || string(data) != "entry" {
		t.Errorf("a store wrote through a link: %q, %v", data, err)
	}
}

func TestLeftoverOfAKilledRun(t *testing.T) {
	t.Parallel()
	c, dir := newCache(t)
	c.store("a", []byte("one"))
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v: want one file", entries, err)
	}
	// A run of our number, killed between create and rename.
	leftover := filepath.Join(dir, ".new-"+strconv.Itoa(os.Getpid())+"-a")
	if err := os.WriteFile(leftover, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.store("a", []byte("two"))
	if data, _ := c.load("a", 100); string(data) != "two" {
		t.Errorf("loaded %q", data)
	}
	if _, err := os.Stat(leftover); !os.IsNotExist(err) {
		t.Errorf("the leftover is still there: %v", err)
	}
}

// A full disk costs the entry and leaves the old one.
func TestFullDisk(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=0700"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	c.store("a", []byte("old"))
	c.store("a", bytes.Repeat([]byte("x"), 100<<10))
	if data, ok := c.load("a", 1<<20); !ok || string(data) != "old" {
		t.Errorf("loaded %d bytes, %v", len(data), ok)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	c, dir := newCache(t)
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	c.StoreToken("secret", now.Add(time.Minute))
	if token, left, ok := c.Token(now); !ok || token != "secret" || left != time.Minute {
		t.Errorf("%q, %v, %v", token, left, ok)
	}
	for _, later := range []time.Duration{50 * time.Second, time.Minute, time.Hour} {
		if _, _, ok := c.Token(now.Add(later)); ok {
			t.Errorf("the token is used %v later", later)
		}
	}
	st, err := os.Stat(filepath.Join(dir, "token"))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the token's file: %v, %v", st.Mode(), err)
	}
	c.DropToken()
	if _, _, ok := c.Token(now); ok {
		t.Error("the token is used after it was dropped")
	}
	for _, junk := range []string{"", "{", "{}", `{"Token":""}`, `"x"`, "null"} {
		c.store("token", []byte(junk))
		if token, _, ok := c.Token(now); ok {
			t.Errorf("%q gives the token %q", junk, token)
		}
	}
}

func TestRecordsAreSealedToTheirUser(t *testing.T) {
	t.Parallel()
	c, dir := newCache(t)
	c.StoreRecords("alice", []byte("records"))
	got, ok := c.Records("alice")
	if !ok {
		t.Fatal("no records: this account has no user keyring (keyctl)")
	}
	if string(got) != "records" {
		t.Errorf("got %q", got)
	}
	if _, ok := c.Records("bob"); ok {
		t.Error("records of alice for bob")
	}
	read := func(user string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, recordsName(user)))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	put := func(user string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, recordsName(user)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sealed := read("alice")
	put("root", sealed)
	if _, ok := c.Records("root"); ok {
		t.Error("alice's entry was moved to root's place")
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		put("alice", changed)
		if _, ok := c.Records("alice"); ok {
			t.Errorf("byte %d was changed", i)
		}
	}
	for n := range len(sealed) {
		put("alice", sealed[:n])
		if _, ok := c.Records("alice"); ok {
			t.Errorf("cut off after %d bytes", n)
		}
	}
	put("alice", append(sealed, '\n'))
	if _, ok := c.Records("alice"); ok {
		t.Error("a byte was added")
	}
	c.StoreRecords("carol", make([]byte, maxRecords+1))
	if _, ok := c.Records("carol"); ok {
		t.Error("more than the bound was kept")
	}
}

func lastSigner(c *Cache) (Signer, bool) {
	for s := range c.Signers() {
		return s, true
	}
	return Signer{}, false
}

// The signer before the last one is kept, too; fresh staples are no other signer.
func TestPreviousSigner(t *testing.T) {
	t.Parallel()
	c, _ := newCache(t)
	store := func(chain, staple string) {
		c.StoreSigner(Signer{Chain: []byte(chain), Staples: [][]byte{[]byte(staple)}})
	}
	for _, test := range []struct{ chain, staple, want string }{
		{"a", "1", "a1"}, {"a", "2", "a2"}, {"b", "3", "b3 a2"}, {"b", "4", "b4 a2"}, {"c", "5", "c5 b4"}, {"b", "6", "b6 c5"},
	} {
		store(test.chain, test.staple)
		var got []string
		for s := range c.Signers() {
			got = append(got, string(s.Chain)+string(s.Staples[0]))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("after %s%s there are %q, want %q", test.chain, test.staple, got, test.want)
		}
	}
}

func TestSigner(t *testing.T) {
	t.Parallel()
	c, _ := newCache(t)
	want := Signer{Region: "us-east-1", Domain: "amazonaws.com", InstanceID: "i-0123456789abcdef0", Chain: []byte("chain"), Staples: [][]byte{[]byte("a"), []byte("b")}}
	c.StoreSigner(want)
	got, ok := lastSigner(c)
	if !ok || got.Region != want.Region || got.Domain != want.Domain || got.InstanceID != want.InstanceID || string(got.Chain) != "chain" || len(got.Staples) != 2 {
		t.Errorf("got %+v, %v", got, ok)
	}
	c.StoreSigner(Signer{Chain: make([]byte, maxSigner)})
	if got, _ := lastSigner(c); string(got.Chain) != "chain" {
		t.Error("an entry beyond the bound was kept")
	}
	good := string(want.encode())
	for _, junk := range []string{"", "{", "\x00\x00", "\xff\xff\xff\xff", good[:len(good)-1], good + "\x00", "\x00\x00\x00\x00"} {
		c.store("signer", []byte(junk))
		if _, ok := lastSigner(c); ok {
			t.Errorf("%q is a signer", junk)
		}
	}
}

// One leads, the others wait for it and no longer.
func TestLead(t *testing.T) {
	t.Parallel()
	leader, dir := newCache(t)
	waited, done := leader.lead(t.Context(), "x")
	if waited {
		t.Fatal("the first waited")
	}
	const followers = 20
	var wait sync.WaitGroup
	var ready sync.WaitGroup
	for range followers {
		c, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		c.left.left = time.Minute
		ready.Add(1)
		wait.Go(func() {
			ready.Done()
			waited, done := c.lead(context.Background(), "x")
			defer done()
			if _, ok := c.load("result", 10); !waited || !ok {
				t.Errorf("waited %v, found the result: %v", waited, ok)
			}
		})
	}
	ready.Wait()
	leader.store("result", []byte("y"))
	// A caller that comes too late to wait leads next: it is no follower.
	waitUntilBlocked(t, dir, followers)
	done()
	wait.Wait()
}

// waitUntilBlocked waits until so many wait for the lock, as the kernel says.
func waitUntilBlocked(t *testing.T, dir string, n int) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "x.lock"), &st); err != nil {
		t.Fatal(err)
	}
	inode := ":" + strconv.Itoa(int(st.Ino)) + " "
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		locks, err := os.ReadFile("/proc/locks")
		if err != nil {
			t.Fatal(err)
		}
		blocked := 0
		for line := range strings.Lines(string(locks)) {
			if strings.Contains(line, "->") && strings.Contains(line, inode) {
				blocked++
			}
		}
		if blocked == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d wait for the lock, want %d:\n%s", blocked, n, locks)
		}
	}
}

func TestPatienceIsForTheWholeRun(t *testing.T) {
	t.Parallel()
	leader, dir := newCache(t)
	for _, name := range []string{"x", "y"} {
		if waited, _ := leader.lead(t.Context(), name); waited {
			t.Fatal("the leader waited")
		}
	}
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	c.left.left = 30 * time.Millisecond
	start := time.Now()
	for range 10 {
		for _, name := range []string{"x", "y"} {
			waited, done := c.lead(t.Context(), name)
			done()
			if !waited {
				t.Error("led while the leader still does")
			}
		}
	}
	if c.left.left != 0 {
		t.Errorf("%v of patience left", c.left.left)
	}
	if took := time.Since(start); took < 30*time.Millisecond || took > 5*time.Second {
		t.Errorf("waited %v in all, with a patience of 30 ms", took)
	}
}

// A leader that was killed or stopped blocks nobody.
func TestLeaderDies(t *testing.T) {
	t.Parallel()
	_, dir := newCache(t)
	holder := exec.Command("flock", "--no-fork", filepath.Join(dir, "x.lock"), "sh", "-c", "echo held; exec sleep 60")
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	c.left.left = 20 * time.Millisecond
	if waited, done := c.lead(t.Context(), "x"); !waited {
		t.Error("led beside a leader")
	} else {
		done()
	}
	holder.Process.Kill()
	holder.Wait()
	// The first attempt, given up, may still have to notice.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		waited, done := c.lead(t.Context(), "x")
		done()
		if !waited {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("still waits for a leader that is dead")
		}
	}
}

func FuzzDecodeSigner(f *testing.F) {
	f.Add(Signer{Region: "us-east-1", Chain: []byte("chain"), Staples: [][]byte{nil, []byte("x")}}.encode())
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, ok := decodeSigner(data)
		if ok && !bytes.Equal(s.encode(), data) {
			t.Errorf("%q is read as %+v", data, s)
		}
	})
}
