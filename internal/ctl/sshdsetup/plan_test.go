package sshdsetup

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/sshd"
)

// system makes a system in a directory, with this configuration of the agent.
func system(t *testing.T, toml string) Options {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the files have to belong to root")
	}
	defer syscall.Umask(syscall.Umask(0o022))
	root := t.TempDir()
	for path, text := range map[string]string{
		"/etc/passwd":           "root:x:0:0::/:/bin/sh\neic-agent:x:990:990::/:/bin/false\n",
		"/usr/bin/eic-authkeys": "#!/bin/sh\n",
		"/etc/ssh/sshd_config":  "HostKey /etc/ssh/key\nMatch User x\n",
		config.DefaultPath:      toml,
	} {
		if err := os.MkdirAll(filepath.Dir(root+path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root+path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return Options{Root: root, Program: "/usr/bin/eic-authkeys", Config: config.DefaultPath, User: "eic-agent"}
}

// An sshd that does not know the Z of expiry-time is not given it.
func TestOldVersions(t *testing.T) {
	o := system(t, "[users]\n")
	for _, c := range []struct {
		version sshd.Version
		changes int
	}{{sshd.Version{Major: 7, Minor: 4}, 1}, {sshd.Version{Major: 9, Minor: 0}, 1}, {sshd.Version{Major: 9, Minor: 1}, 3}, {sshd.Version{}, 1}} {
		server := &sshd.Server{Root: o.Root, Version: c.version, ConfigFile: sshd.DefaultConfig}
		cfg, refusal := o.checkNeeds(t.Context(), server)
		if refusal != nil {
			t.Fatalf("%v: %+v", c.version, refusal)
		}
		files, err := server.Config()
		if err != nil {
			t.Fatal(err)
		}
		p, refusal, err := o.makePlan(server, files, sshd.Effective{}, cfg)
		if err != nil || refusal != nil {
			t.Fatal(refusal, err)
		}
		if len(p.changes) != c.changes || p.changes[0].Path != sshd.DefaultConfig {
			t.Errorf("%v: %+v", c.version, p.changes)
		}
	}

	o = system(t, "[keys]\nexpiry_time = true\n")
	_, refusal := o.checkNeeds(t.Context(), &sshd.Server{Root: o.Root, Version: sshd.Version{Major: 9, Minor: 0}})
	if refusal == nil || refusal.Outcome != Refused || !strings.Contains(refusal.Problem, "expiry_time") {
		t.Errorf("%+v", refusal)
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	o := Options{Program: "/usr/bin/eic-authkeys", Config: config.DefaultPath}
	c := config.Default()
	if got := o.command(c); got != "/usr/bin/eic-authkeys %u %f" {
		t.Error(got)
	}
	o.Config = "/etc/x.toml"
	for _, line := range []string{"/x %t", "/x %k"} {
		c.Chain.Command = []string{"/y %u", line}
		if got := o.command(c); got != "/usr/bin/eic-authkeys --config /etc/x.toml %u %f %t %k" {
			t.Errorf("%s: %s", line, got)
		}
	}
}
