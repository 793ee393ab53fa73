package doctor

import (
	"slices"
	"testing"

	"github.com/eic-agent/eic-agent/internal/ctl/doctor"
)

// Hosts that are set up in another way than usual, and work.
func TestOddButHealthy(t *testing.T) {
	lines := func(more ...string) func(*testing.T) {
		return func(t *testing.T) { restart(t, append(commandLines(), more...)) }
	}
	for _, c := range []struct {
		name string
		set  func(*testing.T)
		user string
	}{
		{"the key for a further command", func(t *testing.T) {
			configured("[chain]\ncommand = [\"/bin/true %f %t %k\", \"/bin/true\"]\n")(t)
			calls(authkeys+" %u %f %t %k", agentUser)(t)
		}, user},
		{"no fingerprint, and a further command without tokens", func(t *testing.T) {
			configured("[chain]\ncommand = [\"/bin/true\"]\n")(t)
			calls(authkeys, agentUser)(t)
		}, user},
		{"the configuration with an equals sign", calls(authkeys+" --config="+configPath+" -- %u %f", agentUser), user},
		{"quotes", calls(authkeys+` "%u" '%f'`, agentUser), user},
		{"Match blocks", lines("Match User bob", "PasswordAuthentication no", "Match Address 10.0.0.0/8", "AuthenticationMethods publickey", "Match all", "X11Forwarding no"), user},
		{"Match with the same command", lines(append([]string{"Match User " + user}, commandLines()...)...), user},
		{"lists that name the user", lines("AllowUsers bob "+user, "AllowGroups *", "DenyUsers !"+user+" mallory"), user},
		{"several methods", lines("AuthenticationMethods publickey,keyboard-interactive publickey"), user},
		{"root", func(*testing.T) {}, "root"},
		{"root with keys only", lines("PermitRootLogin prohibit-password"), "root"},
		{"another port", func(t *testing.T) { restart(t, commandLines(), "-p", "2022", "-oPort=2023") }, user},
		{"the command on the command line", func(t *testing.T) {
			restart(t, nil, "-o", "AuthorizedKeysCommand "+authkeys+" %u %f", "-o", "AuthorizedKeysCommandUser="+agentUser)
		}, user},
		{"the metadata service over IPv6", configured("[imds]\nendpoint = \"http://[fd00:ec2::254]\"\n"), user},
		{"either metadata service", configured("[imds]\nendpoint = \"auto\"\n"), user},
		{"an expired password, without PAM", shell("chage -d 0 "+user, "chage -d 2026-01-01 "+user), user},
		{"no key is revoked", func(t *testing.T) {
			write(t, "/etc/ssh/revoked", "", 0o600)
			lines("RevokedKeys /etc/ssh/revoked")(t)
		}, user},
		{"a row for the user", configured("[[users.map]]\ncaller = \"arn:*:*:*:*:*\"\nusers = [\"bob\", \"al*\"]\n"), user},
		{"no cache", configured("[cache]\ndir = \"\"\n"), user},
		{"LogLevel DEBUG3", lines("LogLevel DEBUG3"), user},
		{"LogLevel VERBOSE, and less of another user", lines("LogLevel VERBOSE", "Match User bob", "LogLevel QUIET"), user},
		{"keys alone", lines("AuthenticationMethods publickey"), user},
		{"options joined to -o", func(t *testing.T) { restart(t, commandLines(), "-oCiphers=aes256-gcm@openssh.com", "-oMaxSessions=5") }, user},
		{"a crypto policy", func(t *testing.T) {
			write(t, "/etc/crypto-policies/back-ends/opensshserver.config", "PubkeyAcceptedAlgorithms ecdsa-sha2-nistp256,ssh-ed25519,rsa-sha2-256,rsa-sha2-512\nRequiredRSASize 2048\n", 0o644)
			restart(t, append([]string{"Include /etc/crypto-policies/back-ends/opensshserver.config"}, commandLines()...))
		}, user},
		{"config.d", further("[keys]\ntypes = [\"ssh-ed25519\", \"ssh-rsa\"]\n", 0o644), user},
		{"another sshd on another port, with the agent too", beside(), user},
		{"journald's settings in drop-ins", keeping("Storage=volatile\nMaxLevelStore=debug\n"), user},
		{"a limit that was never met", lines("MaxStartups 2:30:4"), user},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.set(t)
			// What root's shell has set is not the host's.
			t.Setenv("LC_ALL", "tr_TR.UTF-8")
			t.Setenv("POSIXLY_CORRECT", "1")
			t.Setenv("TZ", "Asia/Kathmandu")
			r := examine(t, c.user)
			if r.Problems > 0 || !slices.Equal(ids(r, doctor.Unknown), open()) {
				t.Errorf("not healthy:\n%s", show(r))
			}
		})
	}
}
