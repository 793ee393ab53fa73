package main

import (
	"fmt"
	"time"
)

// Where the agent looks for its configuration, with that of [chain], and the emulator's root.
const (
	configPath = "/etc/eic-agent/config.toml"
	rootsPath  = "/etc/eic-agent/test-root.pem"
	chainPath  = "/etc/eic-agent/config.d/10-chain.toml"
)

// chain keeps what sshd had before: systemd's own command.
const chain = "[chain]\ncommand = ['/usr/bin/userdbctl ssh-authorized-keys %u']\n"

// rootKey makes a key that lets root log in through authorized_keys.
func (w *world) rootKey() (key string, err error) {
	key, public, err := w.NewKey("root-key")
	if err != nil {
		return "", err
	}
	if _, err := w.Root("mkdir -p -m 700 /root/.ssh", time.Minute); err != nil {
		return "", err
	}
	return key, w.Write("/root/.ssh/authorized_keys", public+"\n", 0o600)
}

// trust is all the configuration that the agent gets.
func (w *world) trust() error {
	if err := w.Write(rootsPath, string(w.aws.RootsPEM()), 0o644); err != nil {
		return err
	}
	if w.modern {
		if err := w.Write(chainPath, chain, 0o644); err != nil {
			return err
		}
	}
	return w.Write(configPath, fmt.Sprintf("[trust]\nroots = %q\n", rootsPath), 0o644)
}
