package sshd

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Furnish sees to it that sshd can be asked and its configuration be tested also
// where it has no host keys and no directory for privilege separation, as in an
// image that is being built. undo takes away what it made. On a system on which
// systemd runs the directory stays: an sshd that starts meanwhile needs it.
func (s *Server) Furnish(ctx context.Context) (undo func(), err error) {
	var remove []string
	undo = func() {
		s.spareKey = ""
		for _, path := range remove {
			os.RemoveAll(path)
		}
	}
	for range 3 {
		err := s.Test(ctx)
		if err == nil {
			return undo, nil
		}
		said := err.Error()
		_, dir, missing := strings.Cut(said, "Missing privilege separation directory: ")
		switch {
		case missing && filepath.IsAbs(dir):
			// The directories above it are part of every system.
			if err := os.Mkdir(s.Path(dir), 0o755); err != nil {
				undo()
				return nil, err
			}
			if !s.Systemd {
				remove = append(remove, s.Path(dir))
			}
		case strings.Contains(said, "no hostkeys available") && s.spareKey == "":
			path, err := s.makeKey()
			if err != nil {
				undo()
				return nil, err
			}
			remove = append(remove, filepath.Dir(s.Path(path)))
			s.spareKey = path
		default:
			return undo, nil // it is not for want of these
		}
	}
	return undo, nil
}

// makeKey makes a host key in a directory of its own and returns its path.
func (s *Server) makeKey() (string, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(s.Path("/run"), "eicctl-")
	if err != nil {
		return "", fmt.Errorf("making a host key to test with: %v", err)
	}
	path := filepath.Join(dir, "host_key")
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		os.RemoveAll(dir)
		return "", err
	}
	return inside(s.Root, path), nil
}
