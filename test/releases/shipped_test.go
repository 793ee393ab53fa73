package releases

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/test/release"
)

// shipped is how distributions that cannot be run here ship sshd.
const shipped = "../sshd/testdata"

// TestShipped starts the sshd of each release as other distributions set it up, and
// compares what eicctl says of it with who can log in.
func TestShipped(t *testing.T) {
	dirs, err := filepath.Glob(shipped + "/*/etc")
	if err != nil || len(dirs) < 12 {
		t.Fatalf("%s has %q, %v", shipped, dirs, err)
	}
	for _, name := range chosen(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, dir := range dirs {
				distribution := filepath.Base(filepath.Dir(dir))
				t.Run(distribution, func(t *testing.T) {
					h := newHost(t, release.Host(name))
					h.becomeLike(distribution)
					h.compare()
				})
			}
		})
	}
}

// becomeLike takes away what Debian ships of sshd but the program, and starts that as
// the distribution does. Any command for keys that the distribution has gives other.
func (h *host) becomeLike(distribution string) {
	h.t.Helper()
	h.must("sh", "-c", `systemctl disable --now ssh.socket ssh.service
		rm -rf /etc/ssh/sshd_config /etc/ssh/sshd_config.d /etc/default/ssh /lib/systemd/system/ssh.service /lib/systemd/system/ssh.socket /lib/systemd/system/ssh*@.service
		mkdir /etc/ssh/sshd_config.d`)
	root := filepath.Join(shipped, distribution)
	if err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		h.write(strings.TrimPrefix(path, root), string(content))
		return err
	}); err != nil {
		h.t.Fatal(err)
	}
	h.must("useradd", "--system", "ec2-instance-connect")
	key, public := h.newKey()
	h.other = key
	for _, command := range []string{"/opt/aws/bin/eic_run_authorized_keys", "/usr/share/ec2-instance-connect/eic_run_authorized_keys", "/usr/bin/userdbctl"} {
		h.write(command, "#!/bin/sh\necho "+public+"\n")
		h.must("chmod", "755", command)
	}
	if distribution == "arch" {
		h.must("ln", "-s", "../sbin/sshd", "/usr/bin/sshd")
	}
	// Debian's sshd wants it, that of others another one.
	h.must("mkdir", "-p", "/run/sshd")
	h.must("systemctl", "daemon-reload")
	switch {
	case distribution == "alpine":
		// OpenRC has it run by itself.
		h.startSSHD()
	case h.exists("/usr/lib/systemd/system/ssh.socket") && h.suite != "bullseye": // whose sshd takes no socket
		h.must("systemctl", "start", "ssh.socket")
	case h.exists("/usr/lib/systemd/system/ssh.service"):
		h.must("systemctl", "start", "ssh.service")
	default:
		h.must("systemctl", "start", "sshd.service")
	}
}

func (h *host) exists(path string) bool {
	_, err := h.Files.Lstat(path[1:])
	return err == nil
}

// compare enables and disables the agent. The judge is who can log in at each step.
func (h *host) compare() {
	h.t.Helper()
	before := h.snapshot("/etc/ssh")
	h.install(newVersion)
	h.login(h.static)
	_, err := h.tryLogin(h.other)
	taken := err == nil
	var args []string
	if taken {
		h.exits(4, "eicctl", "sshd", "status")
		said := h.exits(4, "eicctl", "sshd", "enable")
		h.same("/etc/ssh", before, h.snapshot("/etc/ssh"))
		h.login(h.other)
		if !strings.Contains(said, "--migrate") {
			return
		}
		args = append(args, "--migrate")
	} else {
		h.exits(1, "eicctl", "sshd", "status")
	}
	h.must("eicctl", append([]string{"sshd", "enable"}, args...)...)
	h.must("eicctl", "sshd", "status")
	pushed, _ := h.push()
	h.login(pushed)
	h.login(h.static)
	h.noLogin(h.other)
	h.must("eicctl", "sshd", "disable")
	h.noLogin(pushed)
	h.login(h.static)
	if _, err := h.tryLogin(h.other); (err == nil) != taken {
		h.t.Errorf("the command that was there before: %v", err)
	}
	h.same("/etc/ssh", before, h.snapshot("/etc/ssh"))
}
