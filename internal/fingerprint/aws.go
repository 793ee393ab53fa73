package fingerprint

import (
	"crypto"
	"crypto/fips140"
	"crypto/md5"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"strings"

	"golang.org/x/crypto/ssh"
)

// EC2 returns the fingerprint that EC2 shows for the key after ImportKeyPair:
// for RSA the MD5 of the DER SubjectPublicKeyInfo, in 16 pairs of hex digits
// with colons; for ED25519 the SHA-256 of the SSH blob, in base64 with padding.
// Neither has a prefix. It is empty for a key that EC2 does not take, and for
// RSA where FIPS 140 is enforced, which rules MD5 out.
//
// The RSA value is not what `ssh-keygen -l -E md5` prints, although the API
// reference sounds like it: that is MD5.
func (k Key) EC2() string {
	switch k.Type() {
	case ssh.KeyAlgoED25519:
		sum := sha256.Sum256(k.Blob())
		return base64.StdEncoding.EncodeToString(sum[:])
	case ssh.KeyAlgoRSA:
		spki, err := x509.MarshalPKIXPublicKey(k.crypto())
		if err != nil || fips140.Enforced() {
			return ""
		}
		sum := md5.Sum(spki)
		return colons(sum[:])
	}
	return ""
}

// Lightsail returns the fingerprint that the emulator's Lightsail shows: EC2's.
// The API reference calls it "the RSA fingerprint" and says no more.
func (k Key) Lightsail() string { return k.EC2() }

// EC2Created returns the fingerprint that EC2 shows for a key pair that it made
// itself, which takes the private key: for RSA the SHA-1 of the DER PKCS #8
// private key, in 20 pairs of hex digits with colons; for ED25519 the same as
// for an imported key. It is empty for other keys, and for RSA where FIPS 140
// is enforced.
func EC2Created(private crypto.Signer) string {
	if private == nil {
		return ""
	}
	if _, ok := private.Public().(*rsa.PublicKey); !ok {
		key, err := newKey(private.Public(), "")
		if err != nil {
			return ""
		}
		return key.EC2()
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil || fips140.Enforced() {
		return ""
	}
	sum := sha1.Sum(der)
	return colons(sum[:])
}

// colons writes lower-case hex digits in pairs.
func colons(sum []byte) string {
	return strings.TrimPrefix(formatMD5(sum), md5Prefix)
}
