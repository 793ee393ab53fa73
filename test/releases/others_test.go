package releases

import (
	"fmt"
	"slices"
	"strings"

	hosts "github.com/eic-agent/eic-agent/test/host"
)

const otherCommand = "[Service]\nExecStart=\nExecStart=-/usr/sbin/sshd -i -oauthorizedkeyscommand=/usr/bin/false -o \"AuthorizedKeysCommandUser nobody\"\nStandardInput=socket\nRuntimeDirectory=sshd\nRuntimeDirectoryPreserve=yes\n"

// otherByAccept has a socket start sshd with another command, which its unit has on the
// command line.
func otherByAccept(h *host) {
	h.write("/etc/systemd/system/sshd@.service.d/other.conf", otherCommand)
	byAccept(h)
}

// besideOther tells which command answers the next connection, whatever ssh.service would
// use.
func besideOther(h *host) {
	before := h.snapshot("/etc/ssh")
	h.install(newVersion)
	for _, verb := range []string{"status", "enable"} {
		if said := h.exits(4, "eicctl", "sshd", verb); !strings.Contains(said, "/usr/bin/false") || !strings.Contains(said, "other.conf") {
			h.t.Errorf("%s does not name the command and its file:\n%s", verb, said)
		}
	}
	h.same("/etc/ssh", before, h.snapshot("/etc/ssh"))
	h.login(h.static)

	h.must("rm", "/etc/systemd/system/sshd@.service.d/other.conf")
	h.must("systemctl", "daemon-reload")
	h.must("eicctl", "sshd", "enable")
	key, _ := h.push()
	h.login(key)
	h.must("eicctl", "sshd", "status")
	h.must("eicctl", "sshd", "disable")
	h.noLogin(key)
}

// besideGenerated has an sshd with another command at the socket that
// systemd-ssh-generator makes, where the release has one, or at one of our own, beside the
// one that is enabled.
func besideGenerated(h *host) {
	h.write("/etc/systemd/system/second@.service", otherCommand)
	h.write("/etc/systemd/system/second.socket", "[Socket]\nListenStream=2022\nAccept=yes\n")
	_, err := h.Run("systemctl", "is-active", "sshd-unix-local.socket")
	generated := err == nil
	if generated {
		h.write("/etc/systemd/system/sshd@.service.d/other.conf", otherCommand)
	}
	h.must("systemctl", "daemon-reload")
	h.must("systemctl", "start", "second.socket")
	h.install(newVersion)
	h.must("eicctl", "sshd", "enable")
	status := h.must("eicctl", "sshd", "status")
	if !strings.Contains(status, "another sshd, second@.service, which second.socket starts for each connection, runs another command: /usr/bin/false") {
		h.t.Errorf("status does not name the second sshd:\n%s", status)
	}
	const unixLocal = "another sshd, sshd@.service, which sshd-unix-local.socket starts for each connection, "
	if generated && !strings.Contains(status, unixLocal+"runs another command: /usr/bin/false") {
		h.t.Errorf("status does not name the generated sshd:\n%s", status)
	}
	key, _ := h.push()
	h.login(key)
	if generated {
		if out, err := h.unixLogin(key); err == nil || !strings.Contains(out, "Permission denied (publickey") {
			h.t.Errorf("the generated sshd does not run the other command: %v, %s", err, out)
		}
		h.must("rm", "/etc/systemd/system/sshd@.service.d/other.conf")
		h.must("systemctl", "daemon-reload")
		if status := h.must("eicctl", "sshd", "status"); !strings.Contains(status, unixLocal+"runs eic-agent's command: /usr/bin/eic-authkeys") {
			h.t.Errorf("status does not name the generated sshd:\n%s", status)
		}
		if out, err := h.unixLogin(key); err != nil || !strings.HasSuffix(out, "alice\n") {
			h.t.Errorf("no login at the generated sshd: %v, %s", err, out)
		}
	}
	h.must("eicctl", "sshd", "disable")
	h.noLogin(key)
	if generated {
		if out, err := h.unixLogin(key); err == nil || !strings.Contains(out, "Permission denied (publickey") {
			h.t.Errorf("the generated sshd still runs eic-authkeys: %v, %s", err, out)
		}
	}
}

// unixLogin logs alice in at the AF_UNIX socket that systemd-ssh-generator makes.
func (h *host) unixLogin(key string) (string, error) {
	args := h.ssh(key, "id", "-un")
	args = slices.Insert(args, 1, "-o", "ProxyCommand=/usr/lib/systemd/systemd-ssh-proxy unix/run/ssh-unix-local/socket %p", "-o", "ProxyUseFdpass=yes")
	return h.Run(args[0], args[1:]...)
}

// replaced has the programs of sshd replaced while it runs, as an upgrade does that does
// not restart it.
func replaced(h *host) {
	h.install(newVersion)
	old := h.open(h.static)
	defer old.close()
	// The same program, so that the listener still answers.
	h.must("sh", "-c", "cp -p /usr/sbin/sshd /usr/sbin/sshd.new && mv /usr/sbin/sshd.new /usr/sbin/sshd")
	if said := h.exits(1, "eicctl", "sshd", "status"); !strings.Contains(said, "/usr/sbin/sshd was replaced since") || !strings.Contains(said, "systemctl restart ssh.service") {
		h.t.Errorf("status does not name the program and the fix:\n%s", said)
	}
	h.must("eicctl", "sshd", "enable") // which has it run the new one
	if said := h.must("eicctl", "sshd", "status"); strings.Contains(said, "replaced") {
		h.t.Errorf("after a reload status says:\n%s", said)
	}
	old.alive("after the reload")
	// As old as the listener, but not of its version: under a mount.
	for _, program := range []string{"/usr/lib/openssh/sshd-session", "/usr/lib/openssh/sshd-auth"} {
		if _, err := h.Run("test", "-e", program); err != nil {
			continue
		}
		h.must("mount", "--bind", "/usr/bin/false", program)
		said := h.exits(3, "eicctl", "sshd", "status")
		for _, part := range []string{program + " is not of the version of sshd", "does not accept connections", "systemctl restart ssh.service"} {
			if !strings.Contains(said, part) {
				h.t.Errorf("status does not say %q:\n%s", part, said)
			}
		}
		h.must("umount", program)
		h.must("eicctl", "sshd", "status")
	}
	// What serves a connection is of another version: each connection is reset.
	session := "/usr/lib/openssh/sshd-session"
	if _, err := h.Run("test", "-e", session); err != nil {
		h.must("eicctl", "sshd", "disable")
		return
	}
	h.must("sh", "-c", "mv "+session+" "+session+".kept && cp /usr/bin/false "+session)
	if said := h.exits(3, "eicctl", "sshd", "status"); !strings.Contains(said, session+" was replaced since") || !strings.Contains(said, "does not accept connections") {
		h.t.Errorf("status does not name sshd-session:\n%s", said)
	}
	h.must("mv", session+".kept", session)
	h.must("systemctl", "restart", "ssh.service")
	old.alive("after the restart")
	key, _ := h.push()
	h.login(key)
	h.must("eicctl", "sshd", "disable")
	h.noLogin(key)
}

// byHand has sshd run without a unit, as in a container.
func byHand(h *host) {
	h.must("systemctl", "disable", "--now", "ssh.service")
	h.must("mkdir", "-p", "/run/sshd")
	h.startSSHD("-oPidFile=none")
}

// startSSHD starts sshd without systemd. It returns before it listens, which the kernel shows
// by its port and state in hexadecimal (proc_pid_net(5)).
func (h *host) startSSHD(args ...string) {
	h.t.Helper()
	h.must("/usr/sbin/sshd", args...)
	h.must("timeout", fmt.Sprint(hosts.Patience.Seconds()), "sh", "-c", "until grep -q ':0016 00000000:0000 0A' /proc/net/tcp; do sleep 0.1; done")
}

// controlGroup has systemd end everything of the service with it; sessions go on in scopes
// of logind's.
func controlGroup(h *host) {
	h.write("/etc/systemd/system/ssh.service.d/kill.conf", "[Service]\nKillMode=control-group\n")
	h.must("systemctl", "daemon-reload")
	bySocket(h)
}
