package doctor

import (
	"testing"

	"github.com/eic-agent/eic-agent/test/host"
)

// calls has sshd call the agent like that.
func calls(line, account string) func(*testing.T) {
	return func(t *testing.T) {
		lines := []string{"AuthorizedKeysCommand " + line}
		if account != "" {
			lines = append(lines, "AuthorizedKeysCommandUser "+account)
		}
		restart(t, lines)
	}
}

// inFolder has sshd call a copy of the agent in a directory of its own.
func inFolder(then string) func(*testing.T) {
	const dir = "/run/host/opt/bin"
	return func(t *testing.T) {
		command(t, "mkdir -p "+dir+"; cp "+authkeys+" "+dir+"; "+then, "rm -r /run/host/opt")
		calls(dir+"/eic-authkeys %u %f", agentUser)(t)
	}
}

func commandFaults() []fault {
	const chmod = "chmod 0755 " + authkeys
	return []fault{
		one("the command is not there", calls(host.BinDir+"/gone/eic-authkeys %u", agentUser), "command-missing").leaving("command-runs"),
		one("the command belongs to another", shell("chown "+user+" "+authkeys, "chown root "+authkeys), "command-path-owner"),
		one("its directory belongs to another", inFolder("chown "+user+" /run/host/opt"), "command-path-owner"),
		one("everybody may write the command", shell("chmod 0757 "+authkeys, chmod), "command-path-writable"),
		one("its group may write the command", shell("chgrp games "+authkeys+"; chmod 0775 "+authkeys, "chgrp root "+authkeys+"; "+chmod), "command-path-writable"),
		one("everybody may write its directory", inFolder("chmod 1777 /run/host/opt"), "command-path-writable"),
		one("the command is a directory", func(t *testing.T) {
			command(t, "mkdir -p /run/host/opt/eic-authkeys", "rm -r /run/host/opt")
			calls("/run/host/opt/eic-authkeys %u", agentUser)(t)
		}, "command-not-a-file"),
		one("only root may run the command", shell("chmod 0700 "+authkeys, chmod), "command-not-executable"),
		one("only root may enter its directory", inFolder("chmod 0750 /run/host/opt"), "command-hidden"),
		one("the command is for another machine", func(t *testing.T) {
			write(t, "/run/host/opt/eic-authkeys", "\x7fELF\x02\x01\x01\x00 not for this one", 0o755)
			calls("/run/host/opt/eic-authkeys %u", agentUser)(t)
		}, "command-does-not-run"),
		one("the command is on a file system without programs", func(t *testing.T) {
			command(t, "mkdir -p /run/host/noexec && mount -t tmpfs -o noexec,mode=0755 tmpfs /run/host/noexec && cp "+authkeys+" /run/host/noexec", "umount /run/host/noexec")
			calls("/run/host/noexec/eic-authkeys %u", agentUser)(t)
		}, "command-does-not-run"),
		one("a token that sshd does not know", calls(authkeys+" %u %f %z", agentUser), "command-token"),
		one("the fingerprint in the user's place", calls(authkeys+" %f %u", agentUser), "command-arguments"),
		one("an option that the command does not have", calls(authkeys+" --verbose %u", agentUser), "command-arguments"),
		one("no such account", calls(authkeys+" %u", "eic-gone"), "command-user-missing").leaving("cache", "command-runs", "imds-as-user"),
		one("no such account, and a command of somebody else's", func(t *testing.T) {
			// There is nobody but root left to run it as, who must not.
			const mark, trap = "/run/host/run-as-root", "/run/host/opt/eic-authkeys"
			write(t, trap, "#!/bin/sh\ntouch "+mark+"\n", 0o755)
			command(t, "chown "+user+" "+trap, "[ ! -e "+mark+" ]")
			calls(trap+" %u", "eic-gone")(t)
		}, "command-user-missing", "command-path-owner").butFor("the program is not the agent"),
		one("the command as root", calls(authkeys+" %u", "root"), "command-user-root").leaving("cache"),
		one("the command as nobody", calls(authkeys+" %u", "nobody"), "command-user-shared"),
		one("no account in a Match block", func(t *testing.T) {
			restart(t, []string{"Match User " + user, "AuthorizedKeysCommand " + authkeys + " %u"})
		}, "command-user-unset"),
	}
}
