package packages

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

const ourCommand = "authorizedkeyscommand /usr/bin/eic-authkeys %u %f\n"

// sshd returns the settings that the root's sshd would start with, in lower case: OpenSSH 10.4 and
// later print keywords as the manual has them.
func (r *root) sshd() string {
	r.t.Helper()
	r.run("mkdir", "-p", "/run/sshd")
	return strings.ToLower(r.run("/usr/sbin/sshd", "-T"))
}

// With EIC_ENABLE=1 the agent is in sshd at once, as for an image that is built. The
// removal takes it out again.
func TestDebEnable(t *testing.T) {
	t.Parallel()
	r := newRoot(t)
	before := r.sshd()
	r.runWith([]string{"EIC_ENABLE=1"}, "dpkg", "-i", r.bring(deb("eic-agent", oldVersion)))
	if got := r.sshd(); !strings.Contains(got, ourCommand) || !strings.Contains(got, "authorizedkeyscommanduser eic-agent\n") {
		t.Errorf("enabled, but sshd has:\n%s", got)
	}
	enabled := r.changed("/etc")
	r.run("dpkg", "-i", r.bring(deb("eic-agent", newVersion)))
	if got := r.sshd(); !strings.Contains(got, ourCommand) {
		t.Errorf("after the upgrade sshd has:\n%s", got)
	}
	if got := r.changed("/etc"); strings.Join(got, " ") != strings.Join(enabled, " ") {
		t.Errorf("the upgrade changed %q, had %q", got, enabled)
	}
	r.run("dpkg", "--remove", "eic-agent")
	if got := r.sshd(); got != before {
		t.Errorf("after the removal sshd has:\n%s", got)
	}
	r.checkNoLogin()
	r.run("dpkg", "--purge", "eic-agent")
	if left := r.left(); len(left) > 0 {
		t.Errorf("left after the purge: %q", left)
	}
}

func TestRPMEnable(t *testing.T) {
	t.Parallel()
	r := newRPMRoot(t)
	before := r.sshd()
	if out, err := r.rpm([]string{"EIC_ENABLE=1"}, append([]string{"-i"}, agentRPMs(oldVersion)...)...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := r.sshd(); !strings.Contains(got, ourCommand) || !strings.Contains(got, "authorizedkeyscommanduser eic-agent\n") {
		t.Errorf("enabled, but sshd has:\n%s", got)
	}
	r.installRPM("-U", newVersion)
	if got := r.sshd(); !strings.Contains(got, ourCommand) {
		t.Errorf("after the upgrade sshd has:\n%s", got)
	}
	r.eraseRPM()
	if got := r.sshd(); got != before {
		t.Errorf("after the removal sshd has:\n%s", got)
	}
	r.checkNoLogin()
}

// Where another command has sshd, the agent does not take it, and the installation
// does not look as if it had.
func TestEnableRefused(t *testing.T) {
	t.Parallel()
	const theirs = "AuthorizedKeysCommand /usr/bin/sss_ssh_authorizedkeys\nAuthorizedKeysCommandUser nobody\n"
	enable := []string{"EIC_ENABLE=1"}

	r := newRoot(t)
	config := r.read("/etc/ssh/sshd_config")
	r.write("/etc/ssh/sshd_config", theirs+config, 0o644)
	out, err := r.try(enable, "dpkg", "-i", r.bring(deb("eic-agent", newVersion)))
	if err == nil || !strings.Contains(out, "sss_ssh_authorizedkeys") {
		t.Errorf("installed beside another command: %v\n%s", err, out)
	}
	if got := r.read("/etc/ssh/sshd_config"); got != theirs+config {
		t.Errorf("sshd_config became:\n%s", got)
	}
	// Corrected, it goes on from there.
	r.write("/etc/ssh/sshd_config", config, 0o644)
	r.runWith(enable, "dpkg", "--configure", "eic-agent")
	if got := r.sshd(); !strings.Contains(got, ourCommand) {
		t.Errorf("after the correction sshd has:\n%s", got)
	}

	// rpm has no way back from there: it warns.
	r = newRPMRoot(t)
	r.write("/etc/ssh/sshd_config", theirs+config, 0o644)
	out, err = r.rpm(enable, append([]string{"-i"}, agentRPMs(newVersion)...)...)
	if !strings.Contains(out, "sss_ssh_authorizedkeys") || !strings.Contains(out, "scriptlet failed") {
		t.Errorf("nothing is said of another command: %v\n%s", err, out)
	}
	if got := r.read("/etc/ssh/sshd_config"); got != theirs+config {
		t.Errorf("sshd_config became:\n%s", got)
	}
}

// The drop-in that is in effect while the serial console is held is one that systemd
// takes, and the removal of the package gives the port back.
func TestSerialDropIn(t *testing.T) {
	t.Parallel()
	r := newRoot(t)
	r.run("dpkg", "-i", r.bring(deb("eic-agent", newVersion)))
	r.run("eicctl", "serial", "enable", "--when-unreachable", "lock")
	if !strings.Contains(r.read(serialDropIn), "/usr/bin/eic-serial-getty") {
		t.Errorf("the drop-in says\n%s", r.read(serialDropIn))
	}
	if out := r.run("systemd-analyze", "verify", "--man=no", "serial-getty@ttyS0.service"); strings.Contains(out, "eic-serial-getty") {
		t.Errorf("systemd says\n%s", out)
	}
	r.run("dpkg", "--purge", "eic-agent")
	if left := r.left(); len(left) > 0 {
		t.Errorf("left after the purge: %q", left)
	}
}

// Both kinds of package, with what dpkg and rpm say of changed files.
var packagers = map[string]struct {
	newRoot                  func(*testing.T) *root
	install, upgrade, remove func(*root) string
	verify                   func(*root) string
}{
	"deb": {newRoot,
		func(r *root) string { return r.run("dpkg", "-i", r.bring(deb("eic-agent", oldVersion))) },
		func(r *root) string { return r.run("dpkg", "-i", r.bring(deb("eic-agent", newVersion))) },
		func(r *root) string { return r.run("dpkg", "--remove", "eic-agent") },
		func(r *root) string { return r.run("dpkg", "--verify", "eic-agent") }},
	"rpm": {newRPMRoot,
		func(r *root) string { return r.installRPM("-i", oldVersion) },
		func(r *root) string { return r.installRPM("-U", newVersion) },
		func(r *root) string { return r.eraseRPM() },
		func(r *root) string { return r.mustRPM("-V", "eic-agent") }},
}

// Enabling changes no configuration file of the package: nothing is asked on an upgrade,
// and nothing but what an administrator wrote is kept on a removal.
func TestEnabledIsUnchanged(t *testing.T) {
	t.Parallel()
	for name, p := range packagers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := p.newRoot(t)
			before := r.left()
			p.install(r)
			config := r.read("/etc/eic-agent/config.toml")
			r.run("eicctl", "sshd", "enable")
			r.run("eicctl", "serial", "enable", "--when-unreachable", "lock")
			if out := p.verify(r); out != "" {
				t.Errorf("enabled, it finds changed:\n%s", out)
			}
			out := p.upgrade(r)
			if got := r.read("/etc/eic-agent/config.toml"); got != config || strings.Contains(out, "onfiguration file") || strings.Contains(out, "rpmnew") {
				t.Errorf("the upgrade made the configuration %q and said\n%s", got, out)
			}
			if out := p.verify(r); out != "" {
				t.Errorf("after the upgrade it finds changed:\n%s", out)
			}
			p.remove(r)
			for _, path := range r.left() {
				if !slices.Contains(before, path) && (strings.HasPrefix(path, "/etc/ssh/") || strings.HasPrefix(path, "/etc/systemd/") || strings.HasPrefix(path, "/etc/eic-agent/config.d")) {
					t.Errorf("left after the removal: %s", path)
				}
			}
			if name == "rpm" && r.exists("/etc/eic-agent") {
				t.Error("/etc/eic-agent is left after the removal")
			}
		})
	}
}

// The scripts say nothing of what was never enabled.
func TestRemovalIsQuiet(t *testing.T) {
	t.Parallel()
	for name, p := range packagers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := p.newRoot(t)
			p.install(r)
			p.upgrade(r)
			out := p.remove(r)
			for line := range strings.Lines(out) {
				// What dpkg says of itself, and Debian's rpm.
				if !regexp.MustCompile(`^(\(Reading database|Removing eic-agent|Processing triggers|Not building database|rpm: |warning: private mounts in chroot|$)`).MatchString(strings.TrimSpace(line)) {
					t.Errorf("it says %q", line)
				}
			}
			// What was is said.
			p.install(r)
			r.run("eicctl", "sshd", "enable")
			r.run("eicctl", "serial", "enable", "--when-unreachable", "lock")
			if out := p.remove(r); !strings.Contains(out, "removed "+serialDropIn) || !strings.Contains(out, "sshd:") || strings.Contains(out, "problem") {
				t.Errorf("of what was enabled it says\n%s", out)
			}
		})
	}
}
