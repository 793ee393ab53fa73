package keyrecord

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"unicode"

	"golang.org/x/crypto/ssh"

	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// TypeRSA is the one key type of which keys have different sizes.
const TypeRSA = ssh.KeyAlgoRSA

// SupportedTypes returns the key types that a record may carry: what sshd takes
// as a plain key today. DSA keys and certificates are never among them.
func SupportedTypes() []string {
	return []string{
		ssh.KeyAlgoED25519,
		ssh.KeyAlgoRSA,
		ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256,
	}
}

// A keyLine is the key line of a record, read but not judged.
type keyLine struct {
	typ  string
	blob []byte // SSH wire format, as long as it names typ
}

// parse reads `<key type> <base64>[ comment]`. Options before the type are
// malformed: the record says who may log in, not how.
func (k *keyLine) parse(line []byte) *reason.Error {
	if len(line) == 0 {
		return malformed("the record has no key line")
	}
	if bytes.IndexFunc(line, unicode.IsControl) >= 0 {
		return malformed("the key line has a control character")
	}
	typ, rest, _ := bytes.Cut(line, []byte(" "))
	text, _, _ := bytes.Cut(bytes.TrimLeft(rest, " "), []byte(" "))
	blob, err := base64.StdEncoding.Strict().AppendDecode(nil, text)
	if err != nil || !names(blob, typ) {
		return malformed("the key line is not exactly one public key: it begins with %.32q", line)
	}
	k.typ, k.blob = string(typ), blob
	return nil
}

// names reports whether an SSH wire-format blob begins with the string typ, as
// every public key blob does with its type (RFC 4253, section 6.6).
func names(blob, typ []byte) bool {
	if len(blob) < 4 || len(typ) == 0 {
		return false
	}
	n := binary.BigEndian.Uint32(blob)
	return uint64(n) == uint64(len(typ)) && bytes.HasPrefix(blob[4:], typ)
}

// selectedBy reports whether the filter selects the key, by the fingerprint that
// sshd computes of it: of the key as sshd encodes it, and for a certificate of the
// key in it.
func (k keyLine) selectedBy(f fingerprint.Filter) bool {
	if f.Matches(k.blob) {
		return true
	}
	pub, err := ssh.ParsePublicKey(k.blob)
	if err != nil {
		return false
	}
	if cert, ok := pub.(*ssh.Certificate); ok {
		pub = cert.Key
	}
	encoded := pub.Marshal()
	return !bytes.Equal(encoded, k.blob) && f.Matches(encoded)
}

// check judges type and size. The key that it returns is valid, but nothing
// says yet who pushed it.
func (k keyLine) check(types []string, minRSABits int) (ssh.PublicKey, *reason.Error) {
	if fault := checkType(k.typ, types); fault != nil {
		return nil, fault
	}
	pub, err := ssh.ParsePublicKey(k.blob)
	if err != nil {
		return nil, malformed("the %s key is not valid: %.120q", k.typ, err.Error())
	}
	if fault := checkSize(rsaBits(pub), minRSABits); fault != nil {
		return nil, fault
	}
	return pub, nil
}

func checkType(typ string, types []string) *reason.Error {
	if !slices.Contains(SupportedTypes(), typ) || !slices.Contains(types, typ) {
		return reason.New(reason.KeyType, fmt.Sprintf("keys of type %.64q are not allowed", typ))
	}
	return nil
}

// checkSize judges an RSA key by its size, which is 0 for any other key.
func checkSize(bits, least int) *reason.Error {
	if bits > 0 && bits < least {
		return reason.New(reason.KeyTooShort, fmt.Sprintf("the RSA key has %d bits, fewer than %d", bits, least))
	}
	return nil
}

// rsaBits returns the size of an RSA key, and 0 for any other key.
func rsaBits(pub ssh.PublicKey) int {
	if c, ok := pub.(ssh.CryptoPublicKey); ok {
		if key, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok {
			return key.N.BitLen()
		}
	}
	return 0
}
