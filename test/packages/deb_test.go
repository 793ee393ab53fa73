package packages

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Files that dpkg and the tools for accounts keep for themselves: logs, backups of
// what they write, and the database, whose entry for the package is looked at.
func housekeeping(path string) bool {
	return slices.ContainsFunc([]string{
		"/etc/.pwd.lock", "/etc/passwd-", "/etc/shadow-", "/etc/group-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-",
		"/var/lib/dpkg/lock", "/var/lib/dpkg/status-old", "/var/lib/dpkg/diversions-old", "/var/lib/dpkg/triggers/Lock",
		"/var/log/dpkg.log", "/var/lib/rpm", manualUpdates, policyConfig, "/var/log/lastlog", "/var/log/faillog",
	}, func(known string) bool { return path == known || strings.HasPrefix(path, known+"/") })
}

// left is what is not as it was on the machine.
func (r *root) left() []string {
	r.t.Helper()
	return slices.DeleteFunc(r.changed(""), housekeeping)
}

// account returns the passwd entry of a user, "" if there is none.
func (r *root) account(name string) string {
	r.t.Helper()
	for line := range strings.Lines(r.read("/etc/passwd")) {
		if strings.HasPrefix(line, name+":") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// checkInstalled says what is wrong with an installed agent that nothing was done with.
func (r *root) checkInstalled(version string) {
	r.t.Helper()
	if got, want := r.run("eic-authkeys", "--version"), "eic-authkeys "+version+"\n"; got != want {
		r.t.Errorf("eic-authkeys --version: %q, want %q", got, want)
	}
	account := strings.Split(r.account("eic-agent"), ":")
	if len(account) != 7 || account[5] != "/nonexistent" || !strings.HasSuffix(account[6], "/nologin") {
		r.t.Fatalf("the account is %q", account)
	}
	info, err := os.Stat(r.dir + "/run/eic-agent")
	if err != nil {
		r.t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if info.Mode().Perm() != 0o700 || owner.Uid == 0 || owner.Gid == 0 {
		r.t.Errorf("/run/eic-agent has mode %v and belongs to %d:%d", info.Mode(), owner.Uid, owner.Gid)
	}
	if !strings.Contains(r.run("journalctl", "--list-catalog"), "eic-agent: ") {
		r.t.Error("the journal's catalog does not know the agent's messages")
	}
	r.checkNoLogin()
}

// checkNoLogin finds whatever could change who is let in.
//
// The units of the check at boot and of the record of sessions are there, and nothing
// starts them: a link in a .wants directory does, which counts as a change.
func (r *root) checkNoLogin() {
	r.t.Helper()
	for _, dir := range []string{"/etc/ssh", "/etc/pam.d", "/etc/systemd", "/lib/systemd/system", "/usr/lib/systemd/system", "/root", "/home"} {
		changed := slices.DeleteFunc(r.changed(dir), func(path string) bool {
			return slices.Contains([]string{bootCheck, "eic-sessions.service"}, filepath.Base(path)) && filepath.Base(filepath.Dir(path)) == "system"
		})
		if len(changed) > 0 {
			r.t.Errorf("changed: %q", changed)
		}
	}
}

func (r *root) status(name string) string {
	out, err := r.try(nil, "dpkg-query", "-W", "-f=${db:Status-Status} ${Version}", name)
	if err != nil {
		return "none"
	}
	return out
}

// bootCheck is the unit that eicctl serial enable has started at boot.
const bootCheck = "eic-serial-check.service"

const administrators = "[users]\ndeny = [\"root\"]\n"

func TestDebFromInstallToPurge(t *testing.T) {
	t.Parallel()
	r := newRoot(t)
	r.run("dpkg", "-i", r.bring(deb("eic-agent", oldVersion)))
	r.checkInstalled(oldVersion)
	account := r.account("eic-agent")

	// Again, as after a failure: the scripts find all done.
	r.run("dpkg", "-i", "/tmp/"+filepath.Base(deb("eic-agent", oldVersion)))
	r.run("/var/lib/dpkg/info/eic-agent.postinst", "configure", oldVersion+"-1")
	r.checkInstalled(oldVersion)

	r.write("/etc/eic-agent/config.toml", administrators, 0o644)
	r.write("/run/eic-agent/token", "kept", 0o600)
	r.write("/run/eic-serial-getty/used", "kept", 0o600)
	r.run("dpkg", "-i", r.bring(deb("eic-agent", newVersion)))
	r.checkInstalled(newVersion)
	if got := r.read("/etc/eic-agent/config.toml"); got != administrators {
		t.Errorf("the upgrade made the configuration %q", got)
	}
	if r.read("/run/eic-agent/token") != "kept" || r.account("eic-agent") != account {
		t.Errorf("the upgrade took the cache or the account: %q, was %q", r.account("eic-agent"), account)
	}

	r.run("dpkg", "--remove", "eic-agent")
	r.checkNoLogin()
	for _, path := range []string{"/usr/bin/eic-authkeys", "/usr/bin/eicctl", "/run/eic-agent", "/run/eic-serial-getty", "/usr/lib/sysusers.d/eic-agent.conf"} {
		if r.exists(path) {
			t.Errorf("%s is left after the removal", path)
		}
	}
	if got := r.read("/etc/eic-agent/config.toml"); got != administrators {
		t.Errorf("the removal made the configuration %q", got)
	}
	if r.account("eic-agent") == "" {
		t.Error("the account, which files may belong to, is gone before the purge")
	}

	r.write("/var/lib/eic-agent/state", "x", 0o600)
	r.run("dpkg", "--purge", "eic-agent")
	if got := r.status("eic-agent"); got != "none" {
		t.Errorf("dpkg still knows it: %s", got)
	}
	if left := r.left(); len(left) > 0 {
		t.Errorf("left after the purge: %q", left)
	}
}

// Purged at once, without a removal before.
func TestDebPurge(t *testing.T) {
	t.Parallel()
	r := newRoot(t)
	r.run("dpkg", "-i", r.bring(deb("eic-agent", newVersion)), r.bring(deb("eic-emulator", newVersion)))
	r.run("dpkg", "--purge", "eic-agent", "eic-emulator")
	if left := r.left(); len(left) > 0 {
		t.Errorf("left after the purge: %q", left)
	}
	// The scripts of a purge that is repeated find nothing to do.
	r.run("dpkg", "-i", "/tmp/"+filepath.Base(deb("eic-agent", newVersion)))
	r.run("dpkg", "--remove", "eic-agent")
	r.run("/var/lib/dpkg/info/eic-agent.postrm", "purge")
	r.run("dpkg", "--purge", "eic-agent")
	if left := r.left(); len(left) > 0 {
		t.Errorf("left after the second purge: %q", left)
	}
}

// What cannot be done is said, and fails the installation; it can be repeated.
func TestDebLoud(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"/usr/bin/systemd-sysusers", "/usr/bin/systemd-tmpfiles"} {
		r := newRoot(t)
		r.write(tool, "#!/bin/sh\necho broken >&2\nexit 1\n", 0o755)
		out, err := r.try(nil, "dpkg", "-i", r.bring(deb("eic-agent", newVersion)))
		if err == nil || !strings.Contains(out, "broken") {
			t.Errorf("installing with a broken %s: %v\n%s", tool, err, out)
		}
		content, err := os.ReadFile(machine + tool)
		if err != nil {
			t.Fatal(err)
		}
		r.write(tool, string(content), 0o755)
		r.run("dpkg", "--configure", "eic-agent")
		r.checkInstalled(newVersion)
	}
}

// A script that is called in a way that it does not know does nothing.
func TestDebScriptsUnknown(t *testing.T) {
	t.Parallel()
	r := newRoot(t)
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		out, err := r.try(nil, "/bin/sh", r.bring("../../packaging/deb/eic-agent."+script), "something")
		if err == nil || !strings.Contains(out, "unknown argument: something") {
			t.Errorf("%s something: %v %q", script, err, out)
		}
	}
	if left := r.left(); len(left) > 0 {
		t.Errorf("changed: %q", left)
	}
}

// What autopkgtest runs on an installed package passes.
func TestAutopkgtest(t *testing.T) {
	t.Parallel()
	r := newRoot(t)
	r.run("dpkg", "-i", r.bring(deb("eic-agent", newVersion)), r.bring(deb("eic-emulator", newVersion)))
	if out := r.run("sh", r.bring("../../packaging/deb/tests/login")); !strings.Contains(out, "the pushed key logged in") {
		t.Errorf("it says\n%s", out)
	}
}
