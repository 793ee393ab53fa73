package host

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// SSHDRecords match what sshd logs: from 9.8 on it has a program for each session.
var SSHDRecords = []string{"SYSLOG_IDENTIFIER=sshd", "SYSLOG_IDENTIFIER=sshd-session"}

// NoPenalties are the lines by which sshd does not drop an address after a few failures,
// as 9.8 and later does.
var NoPenalties = sync.OnceValue(func() []string {
	if run("/usr/sbin/sshd", "-G", "-f", "/dev/null", "-o", "PerSourcePenalties=no") != nil {
		return nil
	}
	return []string{"PerSourcePenalties no"}
})

// An SSHD is a running OpenSSH server.
type SSHD struct {
	h       *Host
	Port    int
	dir     string
	process *os.Process
}

// StartSSHD starts a real sshd on 127.0.0.1 with the given lines added to its
// configuration. It logs to the host's journal.
func (h *Host) StartSSHD(lines ...string) (*SSHD, error) {
	h.sshds++
	s := &SSHD{h: h, Port: 2200 + h.sshds, dir: filepath.Join(h.dir, "sshd"+strconv.Itoa(h.sshds))}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		return nil, err
	}
	hostKey := filepath.Join(s.dir, "host_key")
	if err := run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", hostKey); err != nil {
		return nil, err
	}
	public, err := os.ReadFile(hostKey + ".pub")
	if err != nil {
		return nil, err
	}
	known := fmt.Sprintf("[127.0.0.1]:%d %s", s.Port, public)
	if err := os.WriteFile(s.knownHosts(), []byte(known), 0o644); err != nil {
		return nil, err
	}
	// The caller's lines come first: sshd takes the first value of a keyword.
	config := strings.Join(append(append(lines, NoPenalties()...),
		"Port "+strconv.Itoa(s.Port), "ListenAddress 127.0.0.1", "HostKey "+hostKey, "PidFile none", "UsePAM no",
		"PasswordAuthentication no", "KbdInteractiveAuthentication no", "LogLevel VERBOSE",
	), "\n") + "\n"
	file := filepath.Join(s.dir, "sshd_config")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, err
	}
	if err := run("/usr/sbin/sshd", "-t", "-f", file); err != nil {
		return nil, err
	}
	cmd := exec.Command("/usr/sbin/sshd", "-D", "-f", file)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.process = cmd.Process
	return s, h.Eventually("sshd listens", func() bool {
		conn, err := net.DialTimeout("tcp", s.Address(), time.Second)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
}

// Address returns host and port.
func (s *SSHD) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)) }

// Stop ends the server; open sessions go on.
func (s *SSHD) Stop() {
	s.process.Signal(unix.SIGTERM)
	s.process.Wait()
}

func (s *SSHD) knownHosts() string { return filepath.Join(s.dir, "known_hosts") }

// SSH runs command as user with the real ssh, which offers the private keys in
// this order and nothing else. It returns what the command printed.
func (s *SSHD) SSH(user, command string, keys ...string) (string, error) {
	args := []string{"-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
		"-o", "UserKnownHostsFile=" + s.knownHosts(), "-o", "StrictHostKeyChecking=yes", "-p", strconv.Itoa(s.Port)}
	for _, key := range keys {
		args = append(args, "-i", key)
	}
	args = append(args, user+"@127.0.0.1", command)
	cmd := exec.Command("/usr/bin/ssh", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("ssh: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// NewKey makes a key pair with ssh-keygen. It returns the path of the private
// key and the public key's line, without its comment.
func (h *Host) NewKey(name, keyType string, bits int) (path, public string, err error) {
	path = filepath.Join(h.dir, name)
	args := []string{"-q", "-t", keyType, "-N", "", "-C", "", "-f", path}
	if bits != 0 {
		args = append(args, "-b", strconv.Itoa(bits))
	}
	if err := run("ssh-keygen", args...); err != nil {
		return "", "", err
	}
	text, err := os.ReadFile(path + ".pub")
	return path, strings.TrimSpace(string(text)), err
}
