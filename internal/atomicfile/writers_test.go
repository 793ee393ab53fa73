package atomicfile

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What our programs make has a mode that is set: by this package, or where it is said here
// why it is right whatever the umask.
func TestEveryWriter(t *testing.T) {
	t.Parallel()
	makes := regexp.MustCompile(`os\.(WriteFile|Mkdir|MkdirAll|Create)\(|\bO_CREATE?\b|unix\.Mk(dir|nod|fifo)`)
	right := map[string]string{
		"cmd/eic-emulator/serve.go":               "0644, and the program sets umask 022",
		"internal/emulator/statelog/lock_unix.go": "0600, of which umask 022 takes nothing",
		"internal/keycache/keycache.go":           "0600, of which umask 022 takes nothing",
		"internal/keycache/lead.go":               "0600, of which umask 022 takes nothing",
		"internal/serialgate/used.go":             "0600, of which umask 022 takes nothing",
		"internal/audit/losses.go":                "0600, of which umask 022 takes nothing",
		"internal/ctl/sshdsetup/change.go":        "sets the mode",
		"internal/ctl/doctor/cache.go":            "asks as whom it could be made, and removes it",
		"internal/sshd/ask.go":                    "sets the mode; the host key is 0600",
		"internal/sshd/place.go":                  "0600, of which umask 022 takes nothing",
	}
	found := make(map[string]bool)
	for _, top := range []string{"../../cmd", "../../internal"} {
		err := filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "/atomicfile/") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name := strings.TrimPrefix(path, "../../")
			if m := makes.Find(text); m != nil {
				found[name] = true
				if right[name] == "" {
					t.Errorf("%s makes something by %s: see package atomicfile", name, m)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name := range right {
		if !found[name] {
			t.Errorf("%s makes nothing any more", name)
		}
	}
	// They rely on it.
	for _, name := range []string{"cmd/eicctl/main.go", "cmd/eic-emulator/main.go", "cmd/eic-authkeys/main.go", "internal/serialgate/start.go"} {
		if text, err := os.ReadFile("../../" + name); err != nil || !strings.Contains(string(text), "unix.Umask(0o022)") {
			t.Errorf("%s does not set the umask: %v", name, err)
		}
	}
}
