package fingerprints

import (
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"math/big"
	"regexp"

	"golang.org/x/crypto/ssh"
)

const puttyFile = "PuTTY-User-Key-File-"

var errPuTTY = errors.New("it is a PuTTY key file that is damaged, or has a key that SSH does not take")

// A puttyGap is between the lines of a file, also where it lost its newlines or is cited
// in mail.
const puttyGap = `(?:[\s>]|\\[rn]?)+`

var (
	puttyHead = regexp.MustCompile(`(?s)Encryption: (\S+?)` + puttyGap + `Comment: (.*?)` + puttyGap + `Public-Lines: `)
	puttyBlob = regexp.MustCompile(`(Public|Private)-Lines: \d+` + puttyGap + `((?:[A-Za-z0-9+/]+={0,2}` + puttyGap + `)+)`)
	puttyGaps = regexp.MustCompile(puttyGap)
)

// parsePuTTY reads a key file of PuTTY, as EC2's create-key-pair writes it too. Its
// public key is never encrypted. The newlines may have become blanks.
func parsePuTTY(text string) (found, error) {
	blobs := make(map[string]string)
	for _, blob := range puttyBlob.FindAllStringSubmatch(text, -1) {
		blobs[blob[1]] = puttyGaps.ReplaceAllString(blob[2], "")
	}
	key, err := ofBlob(blobs["Public"])
	about := puttyHead.FindStringSubmatch(text)
	if err != nil || about == nil {
		return found{}, errPuTTY
	}
	key.Form, key.Comment = privateKey, about[2]
	one := found{key: key}
	if about[1] == "none" && key.Type() == ssh.KeyAlgoRSA {
		private, err := puttyRSA(key.Blob(), blobs["Private"])
		if err != nil {
			return found{}, errPuTTY
		}
		one.private = private
	}
	return one, nil
}

// puttyRSA reads the private half of an RSA key.
func puttyRSA(public []byte, encoded string) (*rsa.PrivateKey, error) {
	blob, err := base64.StdEncoding.DecodeString(encoded)
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
