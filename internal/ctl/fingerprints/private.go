package fingerprints

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"math/big"

	"golang.org/x/crypto/ssh"

	"github.com/eic-agent/eic-agent/internal/fingerprint"
)

// parsePrivate reads a private key, or what a file of OpenSSH's own format says of
// its public half where the private one is encrypted or in a security key.
func parsePrivate(text []byte) (fingerprint.Key, crypto.Signer, error) {
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		public, ok := publicHalf(text)
		switch {
		case ok:
			key, err := ofPublic(public, privateKey)
			return key, nil, err
		case errors.As(err, new(*ssh.PassphraseMissingError)), bytes.HasPrefix(text, []byte("-----BEGIN ENCRYPTED ")):
			return fingerprint.Key{}, nil, errPassphrase
		}
		return fingerprint.Key{}, nil, errors.New("it is a private key that cannot be read here: give its public key")
	}
	key, err := ofPublic(signer.PublicKey(), privateKey)
	if err != nil {
		return fingerprint.Key{}, nil, err
	}
	// Only the fingerprint of an RSA pair is one of the private key.
	raw, err := ssh.ParseRawPrivateKey(text)
	if err != nil {
		return fingerprint.Key{}, nil, errors.New("it is a private key that cannot be read here: give its public key")
	}
	if private, ok := raw.(*rsa.PrivateKey); ok {
		return key, private, nil
	}
	return key, nil, nil
}

// opensshMagic begins a private key in OpenSSH's own format.
const opensshMagic = "openssh-key-v1\x00"

// publicHalf reads the public key of OpenSSH's own format, PROTOCOL.key, which is
// not encrypted.
func publicHalf(text []byte) (ssh.PublicKey, bool) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "OPENSSH PRIVATE KEY" || !bytes.HasPrefix(block.Bytes, []byte(opensshMagic)) {
		return nil, false
	}
	var container struct {
		Cipher, KDF, KDFOptions string
		Keys                    uint32
		Public                  []byte
		Rest                    []byte `ssh:"rest"`
	}
	if ssh.Unmarshal(block.Bytes[len(opensshMagic):], &container) != nil || container.Keys != 1 {
		return nil, false
	}
	public, err := ssh.ParsePublicKey(container.Public)
	return public, err == nil
}

func ofPublic(public ssh.PublicKey, form fingerprint.Form) (fingerprint.Key, error) {
	key, err := fingerprint.ParseKey(ssh.MarshalAuthorizedKey(public))
	if err != nil {
		return fingerprint.Key{}, errors.New("it has a key of a type that SSH does not have")
	}
	key.Form = form
	return key, nil
}

// dsaBits returns the length of the modulus of a DSA key.
func dsaBits(blob []byte) int {
	var key struct {
		Type       string
		P, Q, G, Y *big.Int
	}
	if ssh.Unmarshal(blob, &key) != nil {
		return 0
	}
	return key.P.BitLen()
}
