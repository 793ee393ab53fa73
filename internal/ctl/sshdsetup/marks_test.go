package sshdsetup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is written in is taken out again, and leaves every byte.
func TestInsertAndStrip(t *testing.T) {
	t.Parallel()
	ours := block("/usr/bin/eic-authkeys %u %f", "eic-agent")
	for text, before := range map[string]string{
		"Port 22\n":                       "",
		"# comment\n\n  \nPort 22\nx\n":   "# comment\n\n  \n",
		"# comment\r\nMatch all\r\nx\r\n": "# comment\r\n",
		"#Port 22\n":                      "#Port 22\n",
		"":                                "",
	} {
		got := string(insert([]byte(text), ours))
		if rest, ok := strings.CutPrefix(got, before); !ok || !strings.HasPrefix(rest, string(ours)) {
			t.Errorf("%q becomes %q", text, got)
		}
		if back := string(strip([]byte(got))); back != text {
			t.Errorf("%q comes back as %q", text, back)
		}
	}
	// Only the missing line feed at the end is not known any more.
	if back := string(strip(insert([]byte("# x"), ours))); back != "# x\n" {
		t.Errorf("came back as %q", back)
	}
	// What somebody has added to the block is not ours.
	edited := strings.Replace(string(ours), endMark, "PermitRootLogin no\n"+endMark, 1)
	if back := string(strip([]byte("Port 22\n" + edited + "X 1\n"))); back != "Port 22\nPermitRootLogin no\nX 1\n" {
		t.Errorf("came back as %q", back)
	}
	// A block that does not end may hold what is not ours.
	if text := beginMark + "\nPort 22\n"; string(strip([]byte(text))) != text {
		t.Error("a block without an end was taken away")
	}
}

func TestRetire(t *testing.T) {
	t.Parallel()
	const command, user = "\tAuthorizedKeysCommand /x\n", "AuthorizedKeysCommandUser=y"
	const text = "a\n" + command + retiredMark + "leave this to us\n" + command + user
	got := string(retire([]byte(text), []int{2, 5}))
	if want := "a\n" + retiredMark + command + retiredMark + "leave this to us\n" + command + retiredMark + user; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if back := string(strip([]byte(got))); back != text {
		t.Errorf("came back as %q", back)
	}
}

// A change is undone whether it was done or not, and never twice.
func TestUndo(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("owners are set as root")
	}
	root := t.TempDir()
	path := filepath.Join(root, "file")
	backup := func(string) ([]byte, error) { return []byte("old\n"), nil }
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	write("old\n")
	edited, err := edit(root, "/file", "", []byte("new\n"))
	if err != nil {
		t.Fatal(err)
	}
	removed, err := remove(root, "/file", "")
	if err != nil {
		t.Fatal(err)
	}
	created := create("/file", "", []byte("new\n"))
	for _, c := range []struct {
		name   string
		change Change
		now    string // "" for no file
		want   string
		note   bool
	}{
		{"edit, not done", edited, "old\n", "old\n", false},
		{"edit, done", edited, "new\n", "old\n", false},
		{"edit, changed since", edited, "new\nmore\n" + retiredMark + "AuthorizedKeysCommand x\n", "new\nmore\nAuthorizedKeysCommand x\n", true},
		{"edit, gone since", edited, "", "", true},
		{"remove, not done", removed, "old\n", "old\n", false},
		{"remove, done", removed, "", "old\n", false},
		{"remove, there again", removed, "other\n", "other\n", true},
		{"create, not done", created, "", "", false},
		{"create, done", created, "new\n", "", false},
		{"create, changed since", created, "new\nmore\n", "new\nmore\n", true},
		{"create, only ours left", created, string(block("x", "y")) + "\n", "", false},
	} {
		os.Remove(path)
		if c.now != "" {
			write(c.now)
		}
		note, err := c.change.undo(root, backup)
		got, _ := os.ReadFile(path)
		if err != nil || string(got) != c.want || (note != "") != c.note {
			t.Errorf("%s: %q, note %q, %v, want %q", c.name, got, note, err, c.want)
		}
	}
	// A backup that is not what was there is not put there.
	write("new\n")
	if _, err := edited.undo(root, func(string) ([]byte, error) { return []byte("evil\n"), nil }); err == nil {
		t.Error("a broken backup is restored")
	}
	// What is not there any more as it was planned on is not changed.
	write("other\n")
	for _, c := range []Change{edited, removed, created} {
		if err := c.apply(root); err == nil {
			t.Errorf("%s: a change in the meantime is overwritten", c.Action)
		}
	}
}

func TestStore(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("the state belongs to root")
	}
	root := t.TempDir()
	s, err := openStore(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openStore(root); err != errBusy {
		t.Errorf("a second one: %v", err)
	}
	dir := filepath.Join(root, StateDir)
	for _, name := range []string{"backup-0123456789ab-0", temporary + "1"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := s.load(); r != nil || err != nil {
		t.Errorf("loaded %v, %v", r, err)
	}
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
		t.Errorf("left behind are %v, %v", left, err)
	}
	s.close()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := openStore(root); err == nil {
		t.Error("a directory that others can write is taken")
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", dir); err != nil {
		t.Fatal(err)
	}
	if _, err := openStore(root); err == nil {
		t.Error("a link is taken")
	}
}
