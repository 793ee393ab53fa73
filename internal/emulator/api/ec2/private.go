package ec2

import (
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"

	"golang.org/x/crypto/ssh"
)

// privatePEM returns a private key as EC2 does: PKCS #1 for RSA, OpenSSH's own
// form for ED25519.
func privatePEM(key crypto.Signer) (string, error) {
	if k, ok := key.(*rsa.PrivateKey); ok {
		return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)})), nil
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(block)), nil
}

// privatePPK returns a private key as PuTTY keeps it, without a passphrase, in
// version 2 of its format, which every version of PuTTY reads.
func privatePPK(key crypto.Signer, public ssh.PublicKey, comment string) (string, error) {
	const encryption = "none"
	var private []byte
	switch k := key.(type) {
	case *rsa.PrivateKey:
		private = ssh.Marshal(struct{ D, P, Q, Inverse *big.Int }{k.D, k.Primes[0], k.Primes[1], k.Precomputed.Qinv})
	case ed25519.PrivateKey:
		private = ssh.Marshal(struct{ Seed []byte }{k.Seed()})
	default:
		return "", fmt.Errorf("PuTTY's format is not made for %T", key)
	}
	secret := sha1.Sum([]byte("putty-private-key-file-mac-key"))
	mac := hmac.New(sha1.New, secret[:])
	mac.Write(ssh.Marshal(struct {
		Type, Encryption, Comment string
		Public, Private           []byte
	}{public.Type(), encryption, comment, public.Marshal(), private}))
	var b strings.Builder
	fmt.Fprintf(&b, "PuTTY-User-Key-File-2: %s\nEncryption: %s\nComment: %s\n", public.Type(), encryption, comment)
	writeBlob(&b, "Public-Lines", public.Marshal())
	writeBlob(&b, "Private-Lines", private)
	fmt.Fprintf(&b, "Private-MAC: %s\n", hex.EncodeToString(mac.Sum(nil)))
	return b.String(), nil
}

func writeBlob(b *strings.Builder, name string, blob []byte) {
	const width = 64
	text := base64.StdEncoding.EncodeToString(blob)
	fmt.Fprintf(b, "%s: %d\n", name, (len(text)+width-1)/width)
	for ; len(text) > width; text = text[width:] {
		b.WriteString(text[:width] + "\n")
	}
	b.WriteString(text + "\n")
}
