package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Lintian, that of Debian 12 and that of sid, has nothing to say of the source package and of the binary
// packages but what an override next to the package explains. Each override is needed by one of
// them: one that is not would hide what comes later.
func TestLintian(t *testing.T) {
	t.Parallel()
	files := []string{deb("eic-agent", newVersion), deb("eic-emulator", newVersion), folder(newVersion) + "/eic-agent_" + newVersion + "-1.dsc"}
	var said [2]string
	for i, root := range []string{"", copyOf(t, newestLintian).dir} {
		cmd := exec.Command("/usr/bin/setpriv", slices.Concat(unprivileged, lintian(t, root, files))...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		cmd.Dir = "/" // where everybody may be
		cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		said[i] = string(out)
	}
	for _, out := range said {
		if !strings.Contains(out, "\nO: ") {
			t.Errorf("lintian finds nothing that is overridden:\n%s", out)
		}
		for line := range strings.Lines(out) {
			if line = strings.TrimSpace(line); line != "" && line[0] != 'O' && line[0] != 'N' {
				t.Errorf("lintian: %s", line)
			}
		}
	}
	overrides, err := filepath.Glob("../../packaging/deb/*lintian-overrides")
	overrides = append(overrides, "../../packaging/deb/source/lintian-overrides")
	if err != nil || len(overrides) < 3 {
		t.Fatalf("overrides: %q, %v", overrides, err)
	}
	for _, file := range overrides {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			// A * stands for anything.
			begin, _, _ := strings.Cut(strings.TrimSpace(line), "*")
			if begin != "" && begin[0] != '#' && !strings.Contains(said[0]+said[1], "O: "+strings.TrimSpace(begin)) {
				t.Errorf("%s: lintian does not need the override %q", file, line)
			}
		}
	}
}

// unprivileged are the arguments of setpriv for who runs lintian.
var unprivileged = []string{"--reuid=65534", "--regid=65534", "--clear-groups"}

// lintian returns the command that looks at the files, which it copies to where everybody may read
// them, below root. What only one of the two versions finds is overridden for both.
func lintian(t *testing.T, root string, files []string) []string {
	t.Helper()
	dir, err := os.MkdirTemp(root+"/tmp", "lintian-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	// The source package is several files.
	shell(t, "../..", `cp "$@"; cp "${3%/*}"/*.orig.tar.* "${3%/*}"/*.debian.tar.* "${@: -1}"; chown -R 65534:65534 "${@: -1}"`, append(files, dir)...)
	command := []string{"env", "HOME=/nonexistent", "TMPDIR=" + strings.TrimPrefix(dir, root), "lintian", "--pedantic", "--show-overrides",
		"--suppress-tags", "unused-override,mismatched-override,alien-tag", "--tag-display-limit", "0", "--fail-on", "none"}
	for _, file := range files {
		command = append(command, filepath.Join(strings.TrimPrefix(dir, root), filepath.Base(file)))
	}
	return command
}
