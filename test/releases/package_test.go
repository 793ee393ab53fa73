package releases

import "strings"

// upgradeAndPurge is the life of the package on a host that has it from a repository.
func upgradeAndPurge(h *host) {
	h.useRepository()
	before, everything := h.snapshot("/etc"), h.files()
	old := h.open(h.static)
	defer old.close()

	// Who has not enabled anything hears of nothing.
	h.install(oldVersion)
	h.quiet("removing", h.must("dpkg", "--remove", "eic-agent"))
	h.quiet("purging", h.must("dpkg", "--purge", "eic-agent"))
	h.same("/etc", before, h.snapshot("/etc"))

	h.quiet("installing", h.apt("install", "eic-agent"))
	h.trust()
	h.must("eicctl", "sshd", "enable")
	key, _ := h.push()
	h.login(key)
	pushed := h.open(key)
	defer pushed.close()
	enabled := h.snapshot("/etc")
	h.publish(newVersion)
	h.quiet("upgrading", h.apt("dist-upgrade"))
	if got := h.must("eicctl", "--version"); got != "eicctl "+newVersion+"\n" {
		h.t.Errorf("after the upgrade: %s", got)
	}
	h.same("/etc", enabled, h.snapshot("/etc"))
	pushed.alive("after the upgrade")
	key, _ = h.push()
	h.login(key)
	h.must("eicctl", "sshd", "status")

	h.apt("remove", "eic-agent")
	old.alive("after the removal")
	pushed.alive("after the removal")
	key, _ = h.push()
	h.noLogin(key)
	h.login(h.static)
	h.quiet("purging", h.apt("purge", "eic-agent"))
	h.login(h.static)
	h.same("/etc", before, h.snapshot("/etc"))
	h.same("/", everything, h.files())
}

// quiet shows that dpkg and the package's scripts have nothing to say but what dpkg
// says of every package.
func (h *host) quiet(what, said string) {
	h.t.Helper()
	for line := range strings.Lines(said) {
		for _, usual := range []string{"Selecting ", "(Reading ", "Preparing to ", "Unpacking ", "Setting up ", "Removing eic-agent", "Purging ", "Processing triggers for ",
			// apt, where there is no apt-utils.
			"debconf: delaying package configuration"} {
			if strings.HasPrefix(line, usual) {
				line = ""
				break
			}
		}
		if line != "" {
			h.t.Errorf("%s: %s", what, line)
		}
	}
}

// files lists the files of the host, but for what programs keep for themselves, and
// homes.
func (h *host) files() string {
	h.t.Helper()
	return h.must("sh", "-c", `find / -xdev \( -path /proc -o -path /root -o -path /home -o -path /var/log -o -path /var/cache -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /srv -o -path /var/lib/systemd \) -prune -o ! -name '*-' -printf '%p %y %m\n' | sort`)
}
