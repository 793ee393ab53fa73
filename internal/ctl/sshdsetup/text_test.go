package sshdsetup

import (
	"testing"

	"github.com/eic-agent/eic-agent/internal/sshd"
	"github.com/eic-agent/eic-agent/test/golden"
)

func TestText(t *testing.T) {
	t.Parallel()
	server := &sshd.Server{Program: "/usr/sbin/sshd", VersionText: "OpenSSH_9.2p1"}
	place := sshd.Setting{Keyword: sshd.KeywordCommand, File: "/etc/ssh/sshd_config.d/05-eic-agent.conf", Line: 2}
	enabled := &Report{
		Outcome: Enabled, Sshd: server,
		Effective: &sshd.Effective{Command: "/usr/bin/eic-authkeys %u %f", User: "eic-agent", CommandFrom: place, UserFrom: place, Owner: sshd.OwnerAgent},
		Changed:   []string{"wrote " + place.File + " (AuthorizedKeysCommand and AuthorizedKeysCommandUser)"},
		Reload:    "reloaded ssh.service",
		Warnings:  []string{"another sshd, process 9 (sshd-vsock.service), has no AuthorizedKeysCommand"},
	}
	golden.Compare(t, "enabled", enabled.Text())
	other := &sshd.Effective{Command: "/usr/bin/userdbctl ssh-authorized-keys %u", User: "root", CommandFrom: place, UserFrom: place, Owner: sshd.OwnerUserdb}
	golden.Compare(t, "conflict", (&Report{Outcome: Conflict, Sshd: server, Effective: other}).Text())
	golden.Compare(t, "disabled", (&Report{Outcome: Disabled, Sshd: &sshd.Server{Program: "/usr/sbin/sshd"}, Effective: &sshd.Effective{Owner: sshd.OwnerNone}}).Text())
}
