package releases

import "strings"

// besideUserdb has userdbctl as sshd's command, as systemd ships it, and keys in
// systemd's user database.
func besideUserdb(h *host) {
	before := h.snapshot("/etc/ssh")
	key, public := h.newKey()
	h.write("/etc/userdb/alice.user", `{"userName": "alice", "uid": 1000, "gid": 1000, "homeDirectory": "/home/alice", "shell": "/bin/bash"}`)
	h.write("/etc/userdb/alice.user-privileged", `{"privileged": {"sshAuthorizedKeys": ["`+public+`"]}}`)
	h.login(key)

	h.install(newVersion)
	h.exits(4, "eicctl", "sshd", "status")
	said := h.exits(4, "eicctl", "sshd", "enable")
	const chain = "[chain]\ncommand = ['/usr/bin/userdbctl ssh-authorized-keys %u']\n"
	for _, part := range []string{"20-systemd-userdb.conf", chain, "It runs as root now"} {
		if !strings.Contains(said, part) {
			h.t.Errorf("enabling beside userdbctl does not say %q:\n%s", part, said)
		}
	}
	h.same("/etc/ssh", before, h.snapshot("/etc/ssh"))
	h.login(key)

	h.write("/etc/eic-agent/config.d/10-chain.toml", chain)
	h.must("eicctl", "sshd", "enable")
	h.must("eicctl", "sshd", "status")
	pushed, request := h.push()
	h.login(pushed)
	h.audited(request)
	h.explained(request)
	// userdbctl reads the keys of the database for root alone, and was said to.
	h.noLogin(key)
	h.healthy()

	h.must("eicctl", "sshd", "disable")
	h.exits(4, "eicctl", "sshd", "status")
	h.noLogin(pushed)
	h.login(key)
	h.same("/etc/ssh", before, h.snapshot("/etc/ssh"))
}
