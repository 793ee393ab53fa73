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
	} {
		t.Run(c.name, func(t *testing.T) {
			c.set(t)
			r := examine(t, c.user)
			if r.Problems > 0 || !slices.Equal(ids(r, doctor.Untold), untold()) {
				t.Errorf("not healthy:\n%s", show(r))
			}
		})
	}
}
