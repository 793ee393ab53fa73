package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rpm runs the machine's rpm on the root, whose database it is that counts.
func (r *root) rpm(env []string, args ...string) (string, error) {
	cmd := exec.Command("rpm", append([]string{"--root", r.dir, "--dbpath", "/var/lib/rpm"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (r *root) mustRPM(args ...string) string {
	r.t.Helper()
	out, err := r.rpm(nil, args...)
	if err != nil {
		r.t.Fatalf("rpm %q: %v\n%s", args, err, out)
	}
	return out
}

// agentRPMs are the packages that make up the agent.
func agentRPMs(version string) []string {
	return []string{rpm("eic-agent", version), rpmFile("eic-agent-selinux", version, "noarch")}
}

// installRPM installs or upgrades the agent.
func (r *root) installRPM(how, version string, options ...string) string {
	r.t.Helper()
	return r.mustRPM(slices.Concat([]string{how}, options, agentRPMs(version))...)
}

func (r *root) eraseRPM() string {
	r.t.Helper()
	return r.mustRPM("-e", "eic-agent", "eic-agent-selinux")
}

// newRPMRoot is a root in which rpm knows a distribution, with what the agent depends
// on and the directories that belong to others there.
func newRPMRoot(t *testing.T) *root {
	t.Helper()
	r := newRoot(t)
	r.mustRPM("-i", buildDistribution(t))
	return r
}

// buildDistribution builds a package that has what the agent depends on.
func buildDistribution(t *testing.T) string {
	t.Helper()
	return buildRPM(t, "distribution", `
Provides: systemd shadow-utils /bin/sh
%description
.
%install
mkdir -p %{buildroot}/usr/share/fish/vendor_completions.d %{buildroot}/usr/share/zsh/site-functions %{buildroot}/usr/share/licenses %{buildroot}/usr/share/selinux/packages
%files
/usr/share/fish
/usr/share/zsh/site-functions
/usr/share/licenses
/usr/share/selinux
`)
}

// buildRPM builds a package from what follows the head of a spec file.
func buildRPM(t *testing.T, name, spec string) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, name+".spec")
	head := "Name: " + name + "\nVersion: 1\nRelease: 1\nSummary: For a test\nLicense: Apache-2.0\nBuildArch: noarch\n"
	if err := os.WriteFile(file, []byte(head+spec), 0o644); err != nil {
		t.Fatal(err)
	}
	output(t, "rpmbuild", "-bb", "--quiet", "--define", "_topdir "+dir, "--define", "_dbpath "+dir+"/database", "--define", "_rpmdir "+dir, "--define", "_build_name_fmt %{NAME}.rpm", file)
	return filepath.Join(dir, name+".rpm")
}

func TestRPMFromInstallToRemoval(t *testing.T) {
	t.Parallel()
	r := newRPMRoot(t)
	before := r.left()
	r.installRPM("-i", oldVersion)
	r.checkInstalled(oldVersion)
	account := r.account("eic-agent")

	r.write("/etc/eic-agent/config.toml", administrators, 0o644)
	r.write("/run/eic-agent/token", "kept", 0o600)
	r.installRPM("-U", newVersion)
	r.checkInstalled(newVersion)
	if got := r.read("/etc/eic-agent/config.toml"); got != administrators {
		t.Errorf("the upgrade made the configuration %q", got)
	}
	if r.read("/run/eic-agent/token") != "kept" || r.account("eic-agent") != account {
		t.Errorf("the upgrade took the cache or the account: %q, was %q", r.account("eic-agent"), account)
	}
	// What was changed since is an error to it.
	if out, _ := r.rpm(nil, "-V", "eic-agent"); !strings.Contains(out, "/etc/eic-agent/config.toml") || strings.Count(out, "\n") != 1 {
		t.Errorf("rpm -V: %q", out)
	}

	r.eraseRPM()
	r.checkNoLogin()
	left := slices.DeleteFunc(r.left(), func(path string) bool { return slices.Contains(before, path) })
	// rpm keeps what an administrator wrote.
	if want := []string{"/etc/eic-agent", "/etc/eic-agent/config.toml.rpmsave"}; !slices.Equal(left, want) {
		t.Errorf("left after the removal: %q, want %q", left, want)
	}
}

// Amazon Linux 2 has a systemd without the tool that adds accounts from a file.
func TestRPMWithoutSysusers(t *testing.T) {
	t.Parallel()
	r := newRPMRoot(t)
	before := r.left()
	r.write("/usr/bin/systemd-sysusers", "#!/bin/sh\nexit 1\n", 0o755)
	r.installRPM("-i", newVersion)
	r.checkInstalled(newVersion)
	r.eraseRPM()
	left := slices.DeleteFunc(r.left(), func(path string) bool {
		return slices.Contains(before, path) || path == "/usr/bin/systemd-sysusers"
	})
	if len(left) > 0 {
		t.Errorf("left after the removal: %q", left)
	}
}

// withPolicy gives the root a policy, and a tool for it that writes down its arguments
// in /run/semodule and knows the modules in /run/modules.
func (r *root) withPolicy() {
	r.t.Helper()
	r.write(policyConfig, "SELINUX=enforcing\nSELINUXTYPE=targeted\n", 0o644)
	r.write("/var/lib/selinux/targeted/active/x", "", 0o644)
	r.write("/usr/sbin/semodule", "#!/bin/sh\nprintf '%s\\n' \"$*\" >>/run/semodule\ncase \"$*\" in *-lfull) cat /run/modules;; esac\n", 0o755)
	r.write("/usr/sbin/selinuxenabled", "#!/bin/sh\nexit 1\n", 0o755)
}

const (
	policyInstall = "-n -s targeted -X 200 -i /usr/share/selinux/packages/eic_agent.cil\n"
	policyList    = "-s targeted -lfull\n"
	policyRemove  = "-n -s targeted -X 200 -r eic_agent\n"
)

// Where the system has a policy, the module goes to it, and with the package it goes;
// but not one that an administrator has put there at another priority.
func TestRPMPolicy(t *testing.T) {
	t.Parallel()
	r := newRPMRoot(t)
	r.withPolicy()
	r.installRPM("-i", oldVersion)
	r.installRPM("-U", newVersion)
	want := policyInstall + policyInstall
	if got := r.read("/run/semodule"); got != want {
		t.Errorf("installed and upgraded with semodule %q, want %q", got, want)
	}
	for modules, remove := range map[string]string{"200 eic_agent   cil": policyRemove, "400 eic_agent   cil": ""} {
		r.write("/run/modules", "100 base        pp\n"+modules+"\n200 eic_agents  pp\n", 0o644)
		r.installRPM("-U", newVersion, "--replacepkgs")
		r.write("/run/semodule", "", 0o644)
		r.eraseRPM()
		if got, want := r.read("/run/semodule"), policyList+remove; got != want {
			t.Errorf("with %q removed with semodule %q, want %q", modules, got, want)
		}
	}
}

func TestRPMDependencies(t *testing.T) {
	t.Parallel()
	r := newRoot(t)
	out, err := r.rpm(nil, append([]string{"-i"}, agentRPMs(newVersion)...)...)
	if err == nil || !strings.Contains(out, "systemd is needed") {
		t.Errorf("installed where nothing is: %v\n%s", err, out)
	}
	r.mustRPM("-i", rpm("eic-emulator", newVersion))
}
