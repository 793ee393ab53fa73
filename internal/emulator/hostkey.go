package emulator

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"net"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/eic-agent/eic-agent/internal/emulator/gateway"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// newHostKey makes the host key, unless the state file has one, and the SSH server that
// has it.
func (s *Server) newHostKey(tx *world.Tx) error {
	if err := s.loadHostKey(s.world.Blob(blobHostKey)); err != nil {
		return err
	}
	if s.gateway == nil {
		return nil
	}
	if s.hostKey == nil {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		s.hostKey = key
		tx.SetBlob(blobHostKey, der)
	}
	signer, err := ssh.NewSignerFromSigner(s.hostKey)
	if err != nil {
		return err
	}
	s.gateway.server = gateway.New(gateway.Config{
		HostKey: signer,
		Admit:   s.admitConsole,
		Start:   s.startConsole,
		Log: func(from net.Addr, user, line string) {
			s.gatewayEvent(GatewayEvent{Event: gatewayNote, Client: from.String(), Login: user, Detail: line})
		},
	})
	return nil
}

func (s *Server) loadHostKey(der []byte) error {
	if len(der) == 0 {
		return nil
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return errors.New("the gateway's host key cannot sign")
	}
	s.hostKey = signer
	return nil
}

// GatewayFingerprint returns the SHA-256 fingerprint of the gateway's host key,
// empty where there is no gateway.
func (s *Server) GatewayFingerprint() string {
	key := s.hostPublicKey()
	if key == nil {
		return ""
	}
	return ssh.FingerprintSHA256(key)
}

func (s *Server) hostPublicKey() ssh.PublicKey {
	if s.gateway == nil {
		return nil
	}
	key, err := ssh.NewPublicKey(s.hostKey.Public())
	if err != nil {
		return nil // newHostKey has made a signer of it
	}
	return key
}

// KnownHosts returns the line of a known_hosts file for the gateway, empty
// before Listen and where there is none.
func (s *Server) KnownHosts() []byte {
	address := s.GatewayAddr()
	if address == "" {
		return nil
	}
	return []byte(knownhosts.Line([]string{address}, s.hostPublicKey()) + "\n")
}

// WriteKnownHosts writes KnownHosts to a file.
func (s *Server) WriteKnownHosts(path string) error { return WriteFile(path, s.KnownHosts(), 0o644) }
