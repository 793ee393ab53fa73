package machine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// loginTime is how long a login may take: to distinguish a stuck one from a slow
// one on a machine without KVM.
const loginTime = 10 * time.Minute

// NewKey makes a key pair. It returns the path of the private key and the
// public key's line, without its comment.
func (m *Machine) NewKey(name string) (path, public string, err error) {
	path = filepath.Join(m.dir, name)
	cmd := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("ssh-keygen: %w: %s", err, out)
	}
	text, err := os.ReadFile(path + ".pub")
	return path, strings.TrimSpace(string(text)), err
}

// SSHCommand is the command line that logs in as user. It offers the private
// keys in this order and nothing else.
func (m *Machine) SSHCommand(user string, keys ...string) ([]string, error) {
	known := filepath.Join(m.dir, "known_hosts")
	if _, err := os.Stat(known); err != nil {
		host, err := m.Root("cat /etc/ssh/ssh_host_ed25519_key.pub", time.Minute)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(known, fmt.Appendf(nil, "[127.0.0.1]:%d %s", m.sshPort, host), 0o644); err != nil {
			return nil, err
		}
	}
	args := []string{"ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
		"-o", "UserKnownHostsFile=" + known, "-o", "StrictHostKeyChecking=yes", "-p", strconv.Itoa(m.sshPort)}
	for _, key := range keys {
		args = append(args, "-i", key)
	}
	return append(args, user+"@127.0.0.1"), nil
}

// SSH runs a command as user with the real ssh, which offers the private keys
// in this order and nothing else. It returns what the command printed.
func (m *Machine) SSH(user, command string, keys ...string) (string, error) {
	args, err := m.SSHCommand(user, keys...)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), loginTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], append(args[1:], command)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("ssh: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}
