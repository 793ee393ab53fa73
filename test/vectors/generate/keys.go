package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"math/big"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// testKeys are authorized_keys lines of throwaway keys, without comment.
type testKeys struct {
	ed, ed2                   string
	rsa2048, rsa3072, rsa4096 string
	rsa1024, rsa2040          string
	p256, p384, p521          string
	skEd, skP256              string
	dsa, cert, unknown        string
	edKey                     ssh.PublicKey
}

// weakKey returns an RSA key of 1024 bits, which crypto/rsa makes only on request.
func weakKey() *rsa.PrivateKey {
	check(os.Setenv("GODEBUG", "rsa1024min=0"))
	defer os.Unsetenv("GODEBUG")
	return must(rsa.GenerateKey(rand.Reader, 1024))
}

func newTestKeys() testKeys {
	newRSA := func(bits int) string { return line(must(rsa.GenerateKey(rand.Reader, bits)).Public()) }
	newEC := func(c elliptic.Curve) *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(c, rand.Reader)) }
	newEd := func() ed25519.PublicKey {
		pub, _, err := ed25519.GenerateKey(rand.Reader)
		check(err)
		return pub
	}
	ed, p256 := newEd(), newEC(elliptic.P256())
	k := testKeys{
		ed: line(ed), ed2: line(newEd()),
		rsa1024: small(1024), rsa2040: small(2040), rsa2048: newRSA(2048), rsa3072: newRSA(3072), rsa4096: newRSA(4096),
		p256: line(p256.Public()), p384: line(newEC(elliptic.P384()).Public()), p521: line(newEC(elliptic.P521()).Public()),
		skEd: blobLine("sk-ssh-ed25519@openssh.com", ssh.Marshal(struct {
			Type string
			Key  []byte
			App  string
		}{"sk-ssh-ed25519@openssh.com", newEd(), "ssh:"})),
		dsa: blobLine("ssh-dss", ssh.Marshal(struct {
			Type       string
			P, Q, G, Y *big.Int
		}{"ssh-dss", number(1024), number(160), number(1000), number(1000)})),
		unknown: blobLine("ssh-new@example.com", ssh.Marshal(struct{ Type, Rest string }{"ssh-new@example.com", "anything"})),
	}
	k.edKey = must(ssh.NewPublicKey(ed))
	k.skP256 = blobLine("sk-ecdsa-sha2-nistp256@openssh.com", ssh.Marshal(struct {
		Type, Curve string
		Point       []byte
		App         string
	}{"sk-ecdsa-sha2-nistp256@openssh.com", "nistp256", must(newEC(elliptic.P256()).PublicKey.Bytes()), "ssh:"}))

	ca := must(ssh.NewSignerFromKey(newEC(elliptic.P256())))
	cert := &ssh.Certificate{Key: k.edKey, CertType: ssh.UserCert, ValidPrincipals: []string{"ec2-user"},
		ValidAfter: uint64(now.Add(-time.Hour).Unix()), ValidBefore: uint64(now.AddDate(1, 0, 0).Unix())}
	check(cert.SignCert(rand.Reader, ca))
	k.cert = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(cert)))
	return k
}

// number returns a random odd number of that many bits.
func number(bits int) *big.Int {
	n := must(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits-1))))
	return n.SetBit(n.SetBit(n, bits-1, 1), 0, 1)
}

// small returns an RSA key of a length that crypto/rsa does not make; nobody has
// its private half.
func small(bits int) string {
	return line(&rsa.PublicKey{N: number(bits), E: 65537})
}

func line(pub crypto.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(must(ssh.NewPublicKey(pub)))))
}

func blobLine(typ string, blob []byte) string {
	return typ + " " + base64.StdEncoding.EncodeToString(blob)
}

// blob returns the wire format of an authorized_keys line.
func blob(line string) []byte {
	return must(base64.StdEncoding.DecodeString(strings.Fields(line)[1]))
}
