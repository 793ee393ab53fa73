package releases

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	hosts "github.com/eic-agent/eic-agent/test/host"
	"github.com/eic-agent/eic-agent/test/need"
	"github.com/eic-agent/eic-agent/test/release"
)

// own are the project's tests that are about sshd, systemd, journald and journalctl as a
// release has them. They run in roots of the newest releases, too: those named in its row, or with
// EIC_EACH=1 all.
var own = []struct {
	pkg  string
	runs []string
	skip string // tests that need programs which a root lacks
}{
	{"test/sshd", []string{"sid"}, "^$"},
	{"test/doctor", []string{"trixie"}, "^$"},
	{"test/e2e", []string{"sid"}, "^(TestMetrics|TestAlertRules)$"},
	{"internal/ctl/journal", []string{"trixie"}, "^$"},
	{"internal/ctl/sessions", []string{"trixie"}, "^$"},
	{"internal/ctl/policy", []string{"trixie"}, "^$"},
}

// TestOwn runs them there: built here, since the roots have no Go.
func TestOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bin := buildOwn(t, dir)
	for _, name := range chosen(t) {
		if !slices.Contains(release.Newer, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, err := release.Host(name).Root(os.Stderr)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range own {
				if need.Each() || slices.Contains(o.runs, name) {
					t.Run(o.pkg, func(t *testing.T) { runOwn(t, root, bin, o.pkg, o.skip) })
				}
			}
		})
	}
}

// buildOwn builds the tests and the programs into dir. It returns a tar archive of them
// and of the checkout.
func buildOwn(t *testing.T, dir string) (archive string) {
	t.Helper()
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	binaries := []string{"bin"}
	for _, o := range own {
		name := path.Base(o.pkg) + ".test"
		run("go", "test", "-c", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, name), "./"+o.pkg)
		binaries = append(binaries, name)
	}
	run("go", "build", "-tags", "nethttpomithttp2", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "bin")+"/", "./cmd/eic-authkeys", "./cmd/eic-serial-getty", "./cmd/eicctl", "./test/logins")
	archive = filepath.Join(dir, "own.tar")
	run("tar", "--create", "--file", archive, "test", "internal", "man", "systemd", "packaging", "docs")
	run("tar", append([]string{"--append", "--file", archive, "--directory", dir}, binaries...)...)
	return archive
}

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// failures returns what the tests that failed have printed.
func failures(out string) string {
	names := make(map[string]bool)
	for _, m := range failed.FindAllStringSubmatch(out, -1) {
		names[m[1]] = true
	}
	var b strings.Builder
	inside := false
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); len(words) == 3 && words[0] == "===" {
			inside = names[words[2]]
		}
		if inside || failed.MatchString(line) {
			b.WriteString(line)
		}
	}
	return b.String()
}

func runOwn(t *testing.T, root, archive, pkg, skip string) {
	c, err := release.Start(root)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	content, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	const src = "/srv/own"
	for _, args := range [][]string{{"mkdir", src}, {"tar", "--extract", "--directory", src, "--file", "-"}} {
		if out, err := c.Feed(string(content), args[0], args[1:]...); err != nil {
			t.Fatal(err, out)
		}
	}
	cmd := c.Command(t.Context(), "env", "--chdir="+src+"/"+pkg, hosts.InsideVariable+"="+src+"/bin", "EIC_REQUIRE=1",
		src+"/"+path.Base(pkg)+".test", "-test.v", "-test.timeout=60m", "-test.skip="+skip)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s\nthe end:\n%s", err, failures(string(out)), tail(string(out)))
	}
	if !strings.Contains(string(out), "\n--- PASS") {
		t.Error("nothing was tested")
	}
}

func tail(out string) string { return out[max(0, len(out)-4000):] }
