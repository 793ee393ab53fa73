package fingerprints

import (
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"math/big"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
)

const puttyFile = "PuTTY-User-Key-File-"

var errPuTTY = errors.New("it is a PuTTY key file that is damaged, or has a key that SSH does not take")

// parsePuTTY reads a key file of PuTTY, as EC2's create-key-pair writes it too. Its
// public key is never encrypted.
func parsePuTTY(text string) (found, error) {
	fields, lines := make(map[string]string), strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		name, value, _ := strings.Cut(strings.TrimSpace(lines[i]), ": ")
		if strings.HasSuffix(name, "-Lines") {
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 || n >= len(lines)-i {
				return found{}, errPuTTY
			}
			value = strings.Join(lines[i+1:i+1+n], "\n")
			i += n
		}
		if _, ok := fields[name]; !ok {
			fields[name] = value
		}
	}
	key, err := ofBlob(fields["Public-Lines"])
	if err != nil {
		return found{}, errPuTTY
	}
	key.Form, key.Comment = privateKey, fields["Comment"]
	one := found{key: key}
	if fields["Encryption"] == "none" && key.Type() == ssh.KeyAlgoRSA {
		private, err := puttyRSA(key.Blob(), fields["Private-Lines"])
		if err != nil {
			return found{}, errPuTTY
		}
		one.private = private
	}
	return one, nil
}

// puttyRSA reads the private half of an RSA key.
func puttyRSA(public []byte, encoded string) (*rsa.PrivateKey, error) {
	blob, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(encoded), ""))
	if err != nil {
		return nil, err
	}
	var ofPublic struct {
		Type string
		E, N *big.Int
	}
	var ofPrivate struct {
		D, P, Q, Inverse *big.Int
		Padding          []byte `ssh:"rest"`
	}
	if err := errors.Join(ssh.Unmarshal(public, &ofPublic), ssh.Unmarshal(blob, &ofPrivate)); err != nil {
		return nil, err
	}
	private := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: ofPublic.N, E: int(ofPublic.E.Int64())}, D: ofPrivate.D,
		Primes: []*big.Int{ofPrivate.P, ofPrivate.Q},
	}
	if err := private.Validate(); err != nil {
		return nil, err
	}
	private.Precompute()
	return private, nil
}
