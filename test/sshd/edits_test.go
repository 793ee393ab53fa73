package sshd

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What an administrator has written into our places, before or after enable, is in
// effect while the agent is, and stays.
func TestEditsStay(t *testing.T) {
	const mine = "# mine\nPermitRootLogin no\n"
	t.Run("before", func(t *testing.T) {
		m := newMachine(t, "debian12", func(m *machine) { m.write(dropIn, mine) })
		before := m.snapshot()
		m.enable(0)
		if got := m.read(dropIn); !strings.Contains(got, authkeys) || !strings.HasSuffix(got, "PermitRootLogin no\n") {
			t.Errorf("the file has %q", got)
		}
		m.enable(0)
		m.disable(0)
		m.same(before)
	})
	for name, path := range map[string]string{"in the drop-in": dropIn, "in the block": "/etc/ssh/sshd_config"} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, "debian12", func(m *machine) {
				if path != dropIn {
					m.write(path, "UsePAM yes\n#eic-agent: was here\n")
				}
			})
			m.enable(0)
			m.write(path, strings.Replace(m.read(path), "# END eic-agent\n", "PermitRootLogin no\n# END eic-agent\n", 1))
			m.run("/usr/sbin/sshd", "-t")
			if r := m.disable(0); !strings.Contains(r.stdout, path+" was changed since") {
				t.Errorf("printed %q", r.stdout)
			}
			want := "PermitRootLogin no\n"
			if path != dropIn {
				want += "UsePAM yes\n#eic-agent: was here\n"
			}
			if got := m.read(path); got != want {
				t.Errorf("left is %q, want %q", got, want)
			}
			m.run("/usr/sbin/sshd", "-t")
			m.disable(0)
		})
	}
}

// What enable sets in the agent's configuration is in a file of its own; config.toml, which
// belongs to the package and the administrator, is not touched.
func TestOwnSettings(t *testing.T) {
	m := newMachine(t, "debian12")
	text := m.read(config)
	m.enable(0)
	if got := m.read(settings); !strings.HasSuffix(got, "[keys]\nexpiry_time = true\n") {
		t.Errorf("%s has %q", settings, got)
	}
	m.write(config, text+"[keys]\nmin_rsa_bits = 4096\n")
	m.enable(0)
	m.disable(0)
	if got := m.read(config); got != text+"[keys]\nmin_rsa_bits = 4096\n" {
		t.Errorf("the configuration is %q", got)
	}
	if _, err := os.Stat(settings); err == nil {
		t.Errorf("%s is left", settings)
	}
	// What the administrator says counts.
	m.write(config, text+"[keys]\nexpiry_time = false\n")
	if r := m.enable(0); !strings.Contains(r.stdout, config+" sets [keys] expiry_time") {
		t.Errorf("printed %q", r.stdout)
	}
	if _, err := os.Stat(settings); err == nil {
		t.Errorf("%s overrides the administrator", settings)
	}
	m.disable(0)
}

// A configuration that sshd refuses is not given to the running one, which would end
// of it where nothing tests it first.
func TestDisableWithBrokenConfiguration(t *testing.T) {
	m := newMachine(t, "debian12")
	m.must(os.RemoveAll("/run/systemd/system"))
	session := m.openSession()
	m.enable(0)
	m.write("/etc/ssh/sshd_config.d/90-typo.conf", "NoSuchKeyword yes\n")
	r := m.disable(3)
	if !strings.Contains(r.stderr, "was not reloaded") || !strings.Contains(r.stderr, "90-typo.conf") {
		t.Errorf("said %q", r.stderr)
	}
	session.lives()
	m.must(os.Remove("/etc/ssh/sshd_config.d/90-typo.conf"))
	user := m.newUser()
	key, public := m.newKey()
	m.must(os.MkdirAll("/home/"+user+"/.ssh", 0o755))
	m.write("/home/"+user+"/.ssh/authorized_keys", public+"\n")
	if !m.login(user, key) {
		t.Error("sshd has ended")
	}
}

// The command of AWS's package is found in the unit, and in a drop-in of one that is
// not there, also where systemd does not run.
func TestUnitInImage(t *testing.T) {
	for _, dir := range []string{"/usr/lib/systemd/system", "/lib/systemd/system", "/etc/systemd/system"} {
		for _, unit := range []string{"installed", "missing"} {
			t.Run(strings.ReplaceAll(dir[1:], "/", "-")+" "+unit, func(t *testing.T) {
				m := newMachine(t, "ubuntu2404")
				m.run("systemctl", "stop", m.unit)
				m.must(os.RemoveAll("/run/systemd/system"))
				if unit == "missing" {
					m.must(os.Remove("/usr/lib/systemd/system/ssh.service"))
				}
				m.write(dir+"/ssh.service.d/ec2-instance-connect.conf", awsOverride)
				before := m.snapshot()
				m.status(4)
				if r := m.enable(4); !strings.Contains(r.stderr, "ec2-instance-connect.conf line 3") {
					t.Errorf("said %q", r.stderr)
				}
				m.same(before)
				m.enable(0, "--migrate")
				m.status(0)
				m.disable(0)
				m.same(before)
			})
		}
	}
}

// In a chroot the sshd of the host, which shows in /proc, is nobody's business.
func TestChroot(t *testing.T) {
	m := newMachine(t, "debian12")
	const root = "/run/chroot"
	for _, dir := range []string{"usr", "etc", "proc", "dev", "run/host", "var/lib"} {
		m.must(os.MkdirAll(root+"/"+dir, 0o755))
	}
	defer os.RemoveAll(root)
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		m.must(os.Symlink("usr/"+dir, root+"/"+dir))
	}
	for _, dir := range []string{"/usr", "/etc", "/proc", "/dev", "/run/host"} {
		m.must(unix.Mount(dir, root+dir, "", unix.MS_BIND, ""))
		defer unix.Unmount(root+dir, unix.MNT_DETACH)
	}
	out := m.run("chroot", root, eicctl, "sshd", "enable", "--program", authkeys)
	if !strings.Contains(out, "not reloaded: sshd does not run") {
		t.Errorf("printed %q", out)
	}
	if log := m.read(units + "/log"); log != "" {
		t.Errorf("systemctl was told %q", log)
	}
	m.run("chroot", root, eicctl, "sshd", "disable")
}
