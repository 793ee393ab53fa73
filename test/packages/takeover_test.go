package packages

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/test/pages"
)

// theirDropIn is how AWS's package for Debian and Ubuntu sets its command: where no
// file of sshd's configuration can change it.
const theirDropIn = "/lib/systemd/system/ssh.service.d/ec2-instance-connect.conf"

// buildTheirs builds a package like ec2-instance-connect in name and in what its
// scripts do to sshd and to the accounts.
func buildTheirs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"control": "Package: ec2-instance-connect\nVersion: 1.1.14\nArchitecture: all\nMaintainer: T <t@example.com>\nDescription: for a test\n",
		"preinst": "#!/bin/sh\nset -e\nuseradd --system ec2-instance-connect\n",
		"postinst": "#!/bin/sh\nset -e\n" +
			"mkdir -p " + filepath.Dir(theirDropIn) + "\n" +
			"cat >" + theirDropIn + " <<'END'\n[Service]\nExecStart=\n" +
			`ExecStart=/usr/sbin/sshd -D -o "AuthorizedKeysCommand /usr/share/ec2-instance-connect/run %%u %%f" -o "AuthorizedKeysCommandUser ec2-instance-connect" $SSHD_OPTS` +
			"\nEND\n",
		"prerm":  "#!/bin/sh\nset -e\nrm -f " + theirDropIn + "\nrmdir " + filepath.Dir(theirDropIn) + "\n",
		"postrm": "#!/bin/sh\nset -e\nuserdel ec2-instance-connect\n",
	} {
		if err := os.MkdirAll(dir+"/root/DEBIAN", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/root/DEBIAN/"+name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := dir + "/ec2-instance-connect.deb"
	output(t, "dpkg-deb", "--root-owner-group", "--build", dir+"/root", file)
	return file
}

// Dpkg and apt take AWS's package away first, so that its scripts give sshd back, and
// then set up the agent.
func TestDebTakesOver(t *testing.T) {
	t.Parallel()
	theirs := buildTheirs(t)
	for name, install := range map[string][]string{
		"dpkg": {"dpkg", "-i"},
		"apt":  {"apt-get", "-y", "--no-install-recommends", "install"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoot(t)
			r.run("dpkg", "-i", r.bring(theirs))
			out := r.run(install[0], append(install[1:], r.bring(deb("eic-agent", newVersion)))...)
			if got := r.status("ec2-instance-connect"); !strings.HasPrefix(got, "config-files") && got != "none" {
				t.Errorf("ec2-instance-connect is still there: %s", got)
			}
			if r.exists(theirDropIn) {
				t.Error("its drop-in is still there")
			}
			r.checkNoLogin()
			if want := "until you run: eicctl sshd enable"; !strings.Contains(out, want) {
				t.Errorf("nothing says that pushed keys do nothing now:\n%s", out)
			}

			// In one step, and what it would be told if it came back.
			r.run("dpkg", "--purge", "eic-agent")
			r.run("dpkg", "-i", "/tmp/"+filepath.Base(theirs))
			out = r.runWith([]string{"EIC_ENABLE=1"}, install[0], append(install[1:], "/tmp/"+filepath.Base(deb("eic-agent", newVersion)))...)
			if got := r.sshd(); !strings.Contains(got, ourCommand) {
				t.Errorf("sshd has not been taken over:\n%s\n%s", out, got)
			}
			if out, err := r.try(nil, "dpkg", "-i", "/tmp/"+filepath.Base(theirs)); err == nil || !strings.Contains(out, "conflict") {
				t.Errorf("ec2-instance-connect was installed again: %v\n%s", err, out)
			}
			if r.exists(theirDropIn) {
				t.Error("its drop-in has come back")
			}
		})
	}
}

// Rpm refuses to have both.
func TestRPMConflict(t *testing.T) {
	t.Parallel()
	theirs := buildRPM(t, "ec2-instance-connect", "%description\n.\n%files\n")
	r := newRPMRoot(t)
	r.mustRPM("-i", theirs)
	if out, err := r.rpm(nil, append([]string{"-i"}, agentRPMs(newVersion)...)...); err == nil || !strings.Contains(out, "conflicts with") {
		t.Errorf("installed beside ec2-instance-connect: %v\n%s", err, out)
	}
	r.mustRPM("-e", "ec2-instance-connect")
	r.installRPM("-i", newVersion)
	if out, err := r.rpm(nil, "-i", theirs); err == nil || !strings.Contains(out, "conflicts with") {
		t.Errorf("ec2-instance-connect was installed beside the agent: %v\n%s", err, out)
	}
}

// What docs/install.md has for hosts with rpm and dnf is typed.
func TestRPMPages(t *testing.T) {
	t.Parallel()
	typed := map[string]bool{
		"sudo EIC_ENABLE=1 dnf swap ec2-instance-connect eic-agent":              true, // TestDNFSwap
		"rpm -e eic-agent eic-agent-selinux && yum install ec2-instance-connect": true, // not tried, it says
	}
	written := pages.Commands(pages.Literal(t, "../../docs/install.md"), regexp.MustCompile(`^(sudo )?(EIC_ENABLE=1 )?(dnf|rpm) `))
	r := copyOf(t, newest)
	r.run("rpm", "-i", r.bring(buildDistribution(t)))
	r.write("/etc/dnf/dnf.conf", "[main]\nreleasever=1\nassumeyes=1\n", 0o644)
	for _, file := range agentRPMs(newVersion) {
		r.bring(file)
	}
	theirs := r.bring(buildRPM(t, "ec2-instance-connect", "%description\n.\n%files\n"))
	types := func(command string, enabled bool) {
		t.Helper()
		if !slices.Contains(written, command) {
			t.Errorf("docs/install.md does not have %s", command)
		}
		typed[command] = true
		out := r.run("sh", "-c", "cd /tmp; "+strings.ReplaceAll(command, "VERSION", newVersion))
		if got := r.sshd(); strings.Contains(got, ourCommand) != enabled {
			t.Errorf("%s: %s\nsshd has:\n%s", command, out, got)
		}
	}
	const both = "eic-agent-VERSION-1.x86_64.rpm %seic-agent-selinux-VERSION-1.noarch.rpm"
	const remove = "rpm -e eic-agent eic-agent-selinux"
	types("dnf install ./"+fmt.Sprintf(both, "./"), false)
	types(remove, false)
	types("EIC_ENABLE=1 dnf install -y ./"+fmt.Sprintf(both, "./"), true)
	types(remove, false)
	r.run("rpm", "-i", theirs)
	types("rpm -e ec2-instance-connect", false)
	types("EIC_ENABLE=1 rpm -i "+fmt.Sprintf(both, ""), true)
	for _, command := range written {
		if !typed[command] {
			t.Errorf("%q of docs/install.md is not typed", command)
		}
	}
}

const serialCheck = "/etc/systemd/system/multi-user.target.wants/eic-serial-check.service"

const serialDropIn = "/etc/systemd/system/serial-getty@ttyS0.service.d/zz-eic-serial-getty.conf"

// A removal goes through where eicctl does not work, and does not leave a serial port
// behind whose getty is gone.
func TestRemovalWithBrokenTool(t *testing.T) {
	t.Parallel()
	for name, packager := range map[string]struct {
		newRoot         func(*testing.T) *root
		install, remove func(*root) string
	}{
		"deb": {newRoot,
			func(r *root) string { return r.run("dpkg", "-i", r.bring(deb("eic-agent", newVersion))) },
			func(r *root) string { return r.run("dpkg", "--purge", "eic-agent") }},
		"rpm": {newRPMRoot,
			func(r *root) string { return r.installRPM("-i", newVersion) },
			func(r *root) string { return r.eraseRPM() }},
	} {
		t.Run(name, func(t *testing.T) {
			r := packager.newRoot(t)
			packager.install(r)
			r.write("/usr/bin/eicctl", "#!/bin/sh\nexit 3\n", 0o755)
			r.write(serialDropIn, "[Service]\nExecStart=\nExecStart=-/usr/bin/eic-serial-getty ttyS0\n", 0o644)
			r.write(serialCheck, "", 0o644)
			r.write("/run/systemd/system/x", "", 0o644)
			r.write("/usr/bin/systemctl", "#!/bin/sh\necho \"$@\" >>/run/systemctl\n", 0o755)
			out := packager.remove(r)
			if r.exists(serialDropIn) || r.exists(filepath.Dir(serialDropIn)) {
				t.Error("the drop-in of the serial port is left")
			}
			if r.exists(serialCheck) {
				t.Error("the check at boot is left")
			}
			if !strings.Contains(r.read("/run/systemctl"), "daemon-reload\n") {
				t.Errorf("systemd was not told: %q", r.read("/run/systemctl"))
			}
			if want := "remove AuthorizedKeysCommand /usr/bin/eic-authkeys"; !strings.Contains(out, want) {
				t.Errorf("nothing says that sshd was not restored:\n%s", out)
			}
			if r.exists("/usr/bin/eic-authkeys") {
				t.Error("not removed")
			}
		})
	}
}
