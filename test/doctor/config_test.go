package doctor

import (
	"os"
	"testing"

	"github.com/eic-agent/eic-agent/test/host"
)

// configured adds to the healthy configuration.
func configured(more string) func(*testing.T) {
	return func(t *testing.T) { write(t, configPath, config+more, 0o644) }
}

// instead is a whole configuration.
func instead(text string) func(*testing.T) {
	return func(t *testing.T) { write(t, configPath, text, 0o644) }
}

// further puts a file beside the configuration.
func further(text string, mode os.FileMode) func(*testing.T) {
	return func(t *testing.T) {
		if err := os.MkdirAll("/etc/eic-agent/config.d", 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove("/etc/eic-agent/config.d") })
		write(t, "/etc/eic-agent/config.d/50-site.toml", text, mode)
	}
}

func configFaults() []fault {
	return []fault{
		one("the configuration is no TOML", configured("[users\n"), "config-broken").leaving("cache", "clock", "imds", "instance", "record", "signer", "users"),
		one("a key that there is not", configured("[keys]\ntypos = 1\n"), "config-broken"),
		one("a value that is none", configured("[imds]\ntimeout = \"1h\"\n"), "config-broken"),
		one("the configuration belongs to another", shell("chown "+user+" "+configPath, "chown root "+configPath), "config-unsafe"),
		one("others may write the configuration", shell("chmod 0666 "+configPath, "chmod 0644 "+configPath), "config-unsafe"),
		one("only root may read the configuration", shell("chmod 0600 "+configPath, "chmod 0644 "+configPath), "config-unreadable").leaving("cache", "clock", "imds", "record", "signer"),
		one("only root may enter its directory", shell("chmod 0700 /etc/eic-agent", "chmod 0755 /etc/eic-agent"), "config-unreadable"),
		one("a further file has an error", further("[keys]\ntypos = 1\n", 0o644), "config-broken"),
		one("others may write a further file", further("", 0o646), "config-unsafe"),
		one("only root may read a further file", further("", 0o600), "config-unreadable").leaving("cache", "clock", "imds", "record", "signer"),
		one("the configuration that the command names is not there", calls(authkeys+" --config /etc/gone.toml %u", agentUser), "config-missing"),
		one("the roots are not there", instead("[trust]\nroots = \"/etc/eic-agent/gone.pem\"\n"), "roots-missing").leaving("signer"),
		one("others may write the roots", shell("chmod 0666 "+rootsPath, "chmod 0644 "+rootsPath), "roots-unsafe"),
		one("expiry_time for an sshd that is too old", func(t *testing.T) {
			standIn(t, "sshd", "#!/bin/sh\n[ \"$1\" = -V ] && { echo OpenSSH_8.9p1 >&2; exit; }\nexec "+realSbin+"/sshd \"$@\"\n")
			configured("[keys]\nexpiry_time = true\n")(t)
		}, "expiry-time-unsupported"),
		one("[users] is not enforced", configured("[users]\nenforce = false\n"), "users-not-enforced"),
		one("[users] is not enforced, by a further file", further("[users]\nenforce = false\ndeny = [\"nobody-*\"]\n", 0o644), "users-not-enforced"),
		one("a further command that is not there", configured("[chain]\ncommand = [\"/usr/bin/gone %u\"]\n"), "chain-missing"),
		one("a further command that others may write", func(t *testing.T) {
			write(t, host.BinDir+"/further", "#!/bin/sh\n", 0o757)
			configured("[chain]\ncommand = [\"" + host.BinDir + "/further %u\"]\n")(t)
		}, "chain-unsafe"),
		one("a further command that needs the key", configured("[chain]\ncommand = [\"/bin/true %u %k\"]\n"), "chain-arguments"),
		one("the roots are no certificates", func(t *testing.T) { write(t, rootsPath, "nothing\n", 0o644) }, "roots-broken"),
	}
}
