package console

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

// blobHostKey is the key of the host key in the state file.
const blobHostKey = "hostkey"

// Load makes the host key, unless the state file has one, and the SSH server that
// has it.
func (c *Console) Load(tx *world.Tx) error {
	if err := c.loadHostKey(c.o.World.Blob(blobHostKey)); err != nil || !c.enabled {
		return err
	}
	if c.hostKey == nil {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		c.hostKey = key
		tx.SetBlob(blobHostKey, der)
	}
	signer, err := ssh.NewSignerFromSigner(c.hostKey)
	if err != nil {
		return err
	}
	c.server = gateway.New(gateway.Config{
		HostKey: signer,
		Admit:   c.admit,
		Start:   c.start,
		Log: func(from net.Addr, user, line string) {
			c.event(Event{Event: note, Client: from.String(), Login: user, Detail: line})
		},
	})
	return nil
}

func (c *Console) loadHostKey(der []byte) error {
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
	c.hostKey = signer
	return nil
}

// Fingerprint returns the SHA-256 fingerprint of the host key, empty where there is
// no gateway.
func (c *Console) Fingerprint() string {
	key := c.hostPublicKey()
	if key == nil {
		return ""
	}
	return ssh.FingerprintSHA256(key)
}

func (c *Console) hostPublicKey() ssh.PublicKey {
	if !c.enabled {
		return nil
	}
	key, err := ssh.NewPublicKey(c.hostKey.Public())
	if err != nil {
		return nil // Load has made a signer of it
	}
	return key
}

// KnownHosts returns the line of a known_hosts file for the gateway, empty
// before Bind and where there is none.
func (c *Console) KnownHosts() []byte {
	address := c.Address()
	if address == "" {
		return nil
	}
	return []byte(knownhosts.Line([]string{address}, c.hostPublicKey()) + "\n")
}
