package serial

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/internal/unitfile"
	"github.com/eic-agent/eic-agent/test/need"
	"github.com/eic-agent/eic-agent/test/release"
)

// A machine is a release with its own systemd, and the programs.
type machine struct {
	*testing.T
	*release.Container
	*rand.Rand
}

func (m machine) must(name string, args ...string) string {
	m.Helper()
	out, err := m.Container.Run(name, args...)
	if err != nil {
		m.Fatal(err)
	}
	return out
}

// eicctl runs it, and returns what it says of the console.
func (m machine) eicctl(args ...string) (r Report, ok bool, out string) {
	out, err := m.Container.Run("/usr/bin/eicctl", append([]string{"serial", "--output=json"}, args...)...)
	if err == nil || args[0] == "status" {
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			m.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
	return r, err == nil, out
}

// starts reports whether systemd says that it starts the gate alone.
func (m machine) starts() (gate bool, out string) {
	out = m.must("systemctl", "show", "-p", "ExecStart", Unit)
	return strings.Count(out, "path=") == 1 && strings.Contains(out, "path="+Binary+" ;"), out
}

func (m machine) tree() string {
	return m.must("find", "/etc", "/run/systemd/system", "-printf", "%p %m %s %l\n")
}

// add writes a random drop-in or unit, and returns its path.
func (m machine) add() string {
	pick := func(list ...string) string { return list[m.IntN(len(list))] }
	dir := pick("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/usr/local/lib/systemd/system", "/etc/systemd/system.control")
	path := filepath.Join(dir, pick(Unit, template, "serial-.service", "console@.service", "console@ttyS0.service")+".d", pick("override.conf", "10-a.conf", "zz-site.conf", "zz-a.conf", "zzz.conf", dropInName))
	text := "[Service]\n" + pick("", "ExecStart=\n") + pick("ExecStart=-/sbin/agetty --noclear %I $TERM\n", "ExecStart=-/sbin/agetty --autologin root %I\n", "ExecStart=/bin/sh\n", "Environment=A=b\n", "", "StandardInput=tty\n", "Type=simple\n", "Type=oneshot\n", "ExecStartPre=/bin/true\n")
	if m.IntN(5) == 0 {
		path = filepath.Join(dir, Unit)
		text = "[Service]\nExecStart=" + pick("", "-/sbin/agetty --noclear %I\n", "-/bin/sh\n")
	}
	if err := errors.Join(m.Files.MkdirAll(strings.TrimPrefix(filepath.Dir(path), "/"), 0o755), m.Files.WriteFile(strings.TrimPrefix(path, "/"), []byte(text), 0o644)); err != nil {
		m.Fatal(err)
	}
	return path
}

func (m machine) remove(paths []string) {
	for _, path := range paths {
		m.must("rm", "-f", path)
		if dir := filepath.Dir(path); strings.HasSuffix(dir, ".d") {
			_, _ = m.Container.Run("rmdir", "--ignore-fail-on-non-empty", dir)
		}
	}
}

// No verdict contradicts systemd: each release's own is asked after each command, with
// random files.
func TestNoVerdictAgainstSystemd(t *testing.T) {
	need.Root(t)
	programs := t.TempDir()
	build := exec.Command("go", "build", "-o", programs, "../../../cmd/eicctl", "../../../cmd/eic-serial-getty")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range release.Names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, err := release.Host(name).Root(os.Stderr)
			if err != nil {
				t.Fatal(err)
			}
			c, err := release.Boot(root)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Stop()
			for _, program := range []string{"eicctl", "eic-serial-getty"} {
				text, err := os.ReadFile(filepath.Join(programs, program))
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Files.WriteFile("usr/bin/"+program, text, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			// Not the instance that this machine may be.
			if err := errors.Join(c.Files.Mkdir("etc/eic-agent", 0o755), c.Files.WriteFile("etc/eic-agent/config.toml", []byte("[instance]\nattest = \"imds\"\n"), 0o644)); err != nil {
				t.Fatal(err)
			}
			// Another name of the template.
			if err := c.Files.Symlink("/usr/lib/systemd/system/"+template, "etc/systemd/system/console@.service"); err != nil {
				t.Fatal(err)
			}
			seen := make(map[string]int)
			for seed := range uint64(12) {
				m := machine{t, c, rand.New(rand.NewPCG(seed, 0))}
				m.round(seen)
			}
			t.Log(seen)
			for _, what := range []string{"enabled", "refused", StateOverridden, StateStopped, "named"} {
				if seen[what] == 0 {
					t.Errorf("it was never %s: %v", what, seen)
				}
			}
		})
	}
}

func (m machine) round(seen map[string]int) {
	var added []string
	for range m.IntN(3) {
		added = append(added, m.add())
	}
	defer func() { m.remove(added) }()
	m.must("systemctl", "daemon-reload")
	before := m.tree()
	enabled, ok, out := m.eicctl("enable", "--when-unreachable", "lock")
	gate, says := m.starts()
	if gate != ok || ok && (!enabled.Enabled || enabled.State != StateStopped) {
		m.Fatalf("enable said %v:\n%s\nwith %q, and systemd\n%s", ok, out, added, says)
	}
	if !ok {
		seen["refused"]++
		if m.tree() != before {
			m.Fatalf("%s\nbut the files are\n%s\nand were\n%s", out, m.tree(), before)
		}
		return
	}
	seen["enabled"]++
	for range 1 + m.IntN(2) {
		path := m.add()
		added = append(added, path)
		if m.IntN(4) > 0 {
			m.must("systemctl", "daemon-reload")
		}
		r, _, out := m.eicctl("status")
		gate, says := m.starts()
		loaded := unitfile.ParseShow(m.must("systemctl", "show", "-p", "LoadState,Type,StandardInput", Unit))
		works := gate && loaded.Get("LoadState") == "loaded" && loaded.Get("Type") != "oneshot" && loaded.Get("StandardInput") == "null"
		if (r.State == StateStopped) && !works && loaded.Get("LoadState") == "loaded" || r.State == StateLocked || r.State == StatePending {
			m.Fatalf("status said\n%s\nwith %q, and systemd\n%s %v", out, added, says, loaded)
		}
		seen[r.State]++
		if r.State == StateOverridden && strings.Contains(out, filepath.Base(path)) {
			seen["named"]++
		}
	}
	if r, ok, out := m.eicctl("disable"); !ok || r.State != StateOff {
		m.Fatalf("disable said\n%s", out)
	}
	m.remove(added)
	m.must("systemctl", "daemon-reload")
	if gate, says := m.starts(); gate {
		m.Fatal(fmt.Sprint("after disable systemd has ", says))
	}
}
