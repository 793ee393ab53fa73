package sshd

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What enable makes has its mode, whatever the umask: a pushed key logs in.
func TestUmask(t *testing.T) {
	for _, umask := range []string{"077", "000", "027"} {
		t.Run(umask, func(t *testing.T) {
			m := newMachine(t, "debian12")
			before := m.snapshot()
			user := m.newUser()
			key, public := m.newKey()
			m.push(user, public)
			m.must(os.RemoveAll("/var/lib/eic-agent"))
			out, err := exec.Command("sh", "-c", "umask "+umask+"; exec "+eicctl+" sshd enable --program "+authkeys).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			made := 0
			for path, state := range m.snapshot() {
				if before[path] != "" {
					continue
				}
				made++
				if want := map[bool]string{true: "drwxr-xr-x", false: "-rw-r--r--"}[strings.HasPrefix(state, "d")]; !strings.HasPrefix(state, want) {
					t.Errorf("%s is %.40s, want %s", path, state, want)
				}
			}
			if made == 0 {
				t.Error("nothing was made")
			}
			m.must(filepath.WalkDir("/var/lib/eic-agent", func(path string, e fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				st, err := e.Info()
				want := fs.FileMode(0o600)
				switch {
				case path == "/var/lib/eic-agent":
					want = fs.ModeDir | 0o755
				case e.IsDir():
					want = fs.ModeDir | 0o700
				}
				if err == nil && st.Mode() != want {
					t.Errorf("%s is %v, want %v", path, st.Mode(), want)
				}
				return err
			}))
			if !m.login(user, key) {
				t.Error("a pushed key does not log in")
			}
			m.disable(0)
			m.same(before)
		})
	}
}
