package fingerprint

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/crypto/ssh"
)

// A Form is a way to write a public key down.
type Form string

// The forms that ParseKey reads.
const (
	OpenSSH       Form = "openssh"        // `ssh-rsa AAAA... comment`
	RFC4716       Form = "rfc4716"        // ---- BEGIN SSH2 PUBLIC KEY ----
	PEM           Form = "pem"            // BEGIN PUBLIC KEY or BEGIN RSA PUBLIC KEY
	DERBase64     Form = "der-base64"     // base64 of a DER SubjectPublicKeyInfo
	OpenSSHBase64 Form = "openssh-base64" // base64 of an OpenSSH line
)

// maxKeyText is more than an RSA key of 16384 bits needs in any form.
const maxKeyText = 16 << 10

var errNoKey = errors.New("not a public key in OpenSSH, RFC 4716, PEM or base64 DER form")

// A Key is one bare SSH public key. The zero Key is none.
type Key struct {
	Form    Form   // in which it was read
	Comment string // that came along, without control characters
	public  ssh.PublicKey
}

// ParseKey reads one public key in any form that OpenSSH, EC2 and Lightsail
// take, and nothing else beside it: no options, no second key, no certificate,
// no private key. Space around it is ignored. Its type and size are not judged.
func ParseKey(text []byte) (Key, error) {
	if len(text) > maxKeyText {
		return Key{}, fmt.Errorf("a public key has at most %d bytes, not %d", maxKeyText, len(text))
	}
	text = bytes.TrimSpace(text)
	switch {
	case bytes.HasPrefix(text, []byte(rfc4716Begin)):
		return parseRFC4716(string(text))
	case bytes.HasPrefix(text, []byte("-----BEGIN ")):
		return parsePEM(text)
	case bytes.ContainsRune(text, ' '):
		return parseLine(text, OpenSSH)
	}
	der, err := base64.StdEncoding.Strict().AppendDecode(nil, text)
	if err != nil {
		return Key{}, errNoKey
	}
	if bytes.HasPrefix(der, []byte("ssh-")) {
		return parseLine(bytes.TrimRight(der, "\r\n"), OpenSSHBase64)
	}
	return parseDER(der, DERBase64)
}

// parseLine reads `type base64[ comment]`.
func parseLine(line []byte, form Form) (Key, error) {
	if bytes.ContainsFunc(line, unicode.IsControl) {
		return Key{}, errNoKey
	}
	typ, rest, _ := strings.Cut(string(line), " ")
	encoded, comment, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	key, err := parseBlob(encoded, form, comment)
	if err != nil {
		return Key{}, err
	}
	if key.Type() != typ {
		return Key{}, errNoKey
	}
	return key, nil
}

func parseBlob(encoded string, form Form, comment string) (Key, error) {
	blob, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return Key{}, errNoKey
	}
	public, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return Key{}, errNoKey
	}
	if _, ok := public.(*ssh.Certificate); ok {
		return Key{}, errors.New("a certificate is not a public key")
	}
	if !bytes.Equal(public.Marshal(), blob) {
		return Key{}, errNoKey // what is not needed to say it, another key could say too
	}
	return Key{Form: form, Comment: strings.TrimSpace(comment), public: public}, nil
}

const (
	rfc4716Begin = "---- BEGIN SSH2 PUBLIC KEY ----"
	rfc4716End   = "---- END SSH2 PUBLIC KEY ----"
)

// parseRFC4716 reads the form of RFC 4716, section 3. Lines of any length are
// taken, as OpenSSH takes them.
func parseRFC4716(text string) (Key, error) {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	last := len(lines) - 1
	if lines[0] != rfc4716Begin || last < 1 || lines[last] != rfc4716End {
		return Key{}, errNoKey
	}
	var encoded, comment strings.Builder
	for i := 1; i < last; i++ {
		tag, value, isHeader := strings.Cut(lines[i], ":")
		if !isHeader {
			encoded.WriteString(strings.TrimSpace(lines[i]))
			continue
		}
		if encoded.Len() > 0 {
			return Key{}, errNoKey
		}
		for strings.HasSuffix(value, `\`) && i+1 < last {
			i++
			value = value[:len(value)-1] + lines[i]
		}
		if strings.EqualFold(tag, "Comment") {
			comment.WriteString(strings.Trim(strings.TrimSpace(value), `"`))
		}
	}
	if strings.ContainsFunc(comment.String(), unicode.IsControl) {
		return Key{}, errNoKey
	}
	return parseBlob(encoded.String(), RFC4716, comment.String())
}

func parsePEM(text []byte) (Key, error) {
	block, rest := pem.Decode(text)
	switch {
	case block == nil || len(bytes.TrimSpace(rest)) > 0:
		return Key{}, errNoKey
	case strings.Contains(block.Type, "PRIVATE"):
		return Key{}, errors.New("this is a private key: the public key is what others need")
	case block.Type == "RSA PUBLIC KEY":
		public, err := x509.ParsePKCS1PublicKey(block.Bytes)
		if err != nil {
			return Key{}, errNoKey
		}
		return newKey(public, PEM)
	}
	return parseDER(block.Bytes, PEM)
}

func parseDER(der []byte, form Form) (Key, error) {
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return Key{}, errNoKey
	}
	return newKey(public, form)
}

// newKey makes a Key of what crypto/x509 has read. crypto/x509 accepts RSA exponents
// that no SSH implementation does, so the key is read again as SSH would.
func newKey(public any, form Form) (Key, error) {
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return Key{}, errNoKey
	}
	if _, err := ssh.ParsePublicKey(key.Marshal()); err != nil {
		return Key{}, errNoKey
	}
	return Key{Form: form, public: key}, nil
}

// Type returns the SSH name of the key's type, such as ssh-rsa; of the zero
// Key, "".
func (k Key) Type() string {
	if k.public == nil {
		return ""
	}
	return k.public.Type()
}

// Blob returns the key in SSH wire format; of the zero Key, nil.
func (k Key) Blob() []byte {
	if k.public == nil {
		return nil
	}
	return k.public.Marshal()
}

// Line returns `type base64`, without a comment or a newline.
func (k Key) Line() string {
	return k.Type() + " " + base64.StdEncoding.EncodeToString(k.Blob())
}

// RSABits returns the length of an RSA modulus in bits, and 0 for other keys.
func (k Key) RSABits() int {
	if public, ok := k.crypto().(*rsa.PublicKey); ok {
		return public.N.BitLen()
	}
	return 0
}

func (k Key) crypto() any {
	if c, ok := k.public.(ssh.CryptoPublicKey); ok {
		return c.CryptoPublicKey()
	}
	return nil
}
