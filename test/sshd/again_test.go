package sshd

import (
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// An enable that is to do something else than the one before, and cannot, leaves what
// the one before did.
func TestEnableAnewRefused(t *testing.T) {
	m := newMachine(t, "al2")
	before := m.snapshot()
	m.enable(0, "--migrate")
	text := m.read(config)
	m.write(config, text+"[chain]\ncommand = ['/bin/true %k']\n")
	enabled := m.snapshot()
	if r := m.enable(4); !strings.Contains(r.stderr, "--migrate") || strings.Contains(r.stdout, "taken away") {
		t.Errorf("said %q, printed %q", r.stderr, r.stdout)
	}
	m.same(enabled)
	m.status(0)
	m.rewrite(config, text)
	m.disable(0)
	m.same(before)
}

// Nor does one that sshd does not come out of.
func TestEnableAnewRolledBack(t *testing.T) {
	m := newMachine(t, "debian12")
	defer m.write(stub, m.read("systemctl"))
	before := m.snapshot()
	m.enable(0)
	text := m.read(config)
	m.write(config, text+"[chain]\ncommand = ['/bin/true %k']\n")
	enabled := m.snapshot()
	m.write(stub, strings.Replace(m.read("systemctl"), "\nreload)\n", "\nreload)\n\t[ ! -e $run/once ] && touch $run/once && { echo no way >&2; exit 1; }\n", 1))
	if r := m.enable(3); !strings.Contains(r.stderr, "rolled back") {
		t.Errorf("said %q", r.stderr)
	}
	m.same(enabled)
	m.status(0)
	m.rewrite(config, text)
	m.disable(0)
	m.same(before)
}

// A disable that was ended before sshd knew of it is finished by the next one.
func TestDisableInterrupted(t *testing.T) {
	for name, signal := range map[string]unix.Signal{"killed": unix.SIGKILL, "terminated": unix.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, "debian12", func(m *machine) { m.run("mkfifo", units+"/hang") })
			defer m.write(stub, m.read("systemctl"))
			before := m.snapshot()
			m.enable(0)
			m.write(stub, strings.Replace(m.read("systemctl"), "\nreload)\n", "\nreload)\n\techo > $run/hang; sleep 1000\n", 1))
			cmd := exec.Command(eicctl, "sshd", "disable")
			m.must(cmd.Start())
			m.read(units + "/hang") // it is there
			if r := m.eicctl("disable", "--json"); r.code != 3 || !strings.Contains(r.stdout, `"problem": "another eicctl`) || !strings.Contains(r.stderr, "another eicctl") {
				t.Errorf("a second one beside it: exit %d, %q, %q", r.code, r.stdout, r.stderr)
			}
			m.must(cmd.Process.Signal(signal))
			if err := cmd.Wait(); err == nil {
				t.Error("it ended well")
			}
			m.write(stub, m.read("systemctl"))
			m.write(units+"/log", "")
			m.disable(0)
			if log := m.read(units + "/log"); !strings.Contains(log, "reload") {
				t.Errorf("sshd was not reloaded, but told %q", log)
			}
			m.same(before)
			m.write(units+"/log", "")
			m.disable(0)
			if log := m.read(units + "/log"); log != "" {
				t.Errorf("sshd was told %q for nothing", log)
			}
		})
	}
}

// That the command is there still is not called disabled: where what enable wrote can
// no longer be distinguished from the rest, and where the command was there before.
func TestDisableLeaves(t *testing.T) {
	for name, c := range map[string]struct{ before, after func(m *machine) }{
		"the end mark is gone": {func(*machine) {}, func(m *machine) {
			m.write(dropIn, strings.Replace(m.read(dropIn), "# END eic-agent\n", "", 1))
		}},
		"by hand": {func(m *machine) {
			m.write(dropIn, "AuthorizedKeysCommand "+authkeys+" %u %f\nAuthorizedKeysCommandUser "+agentUser+"\n")
		}, func(*machine) {}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, "debian12", c.before)
			m.enable(0)
			c.after(m)
			want := m.read(dropIn)
			if r := m.disable(1); !strings.Contains(r.stderr, dropIn+" line ") {
				t.Errorf("said %q", r.stderr)
			}
			if got := m.read(dropIn); got != want {
				t.Errorf("the file has %q", got)
			}
			m.status(0)
		})
	}
}
