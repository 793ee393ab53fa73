// Package fingerprint names SSH public keys by their fingerprints, in the forms
// in which OpenSSH prints them.
package fingerprint

import (
	"crypto/fips140"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

const (
	sha256Prefix = "SHA256:"
	md5Prefix    = "MD5:"
)

// SHA256 returns the fingerprint of an SSH wire-format key blob as ssh-keygen
// prints it: "SHA256:" and base64 without padding.
func SHA256(blob []byte) string {
	sum := sha256.Sum256(blob)
	return sha256Prefix + base64.RawStdEncoding.EncodeToString(sum[:])
}

// MD5 returns the fingerprint of an SSH wire-format key blob as `ssh-keygen -E
// md5` prints it: "MD5:" and 16 pairs of lower-case hex digits with colons. It
// is empty where FIPS 140 is enforced, which rules MD5 out.
func MD5(blob []byte) string {
	if fips140.Enforced() {
		return ""
	}
	sum := md5.Sum(blob)
	return formatMD5(sum[:])
}

func formatMD5(sum []byte) string {
	var b strings.Builder
	b.WriteString(md5Prefix)
	for i, octet := range sum {
		if i > 0 {
			b.WriteByte(':')
		}
		b.WriteString(hex.EncodeToString([]byte{octet}))
	}
	return b.String()
}

// A Filter selects keys by fingerprint. The zero Filter selects every key.
type Filter struct {
	want string
}

// ParseFilter reads a fingerprint as sshd gives it for %f: SHA256:... or, with
// `FingerprintHash md5`, MD5:... . The empty string is the filter that selects
// every key.
func ParseFilter(text string) (Filter, error) {
	switch {
	case text == "":
		return Filter{}, nil
	case strings.HasPrefix(text, sha256Prefix):
		sum, err := base64.RawStdEncoding.Strict().DecodeString(text[len(sha256Prefix):])
		if err == nil && len(sum) == sha256.Size {
			return Filter{text}, nil
		}
	case strings.HasPrefix(text, md5Prefix):
		sum, err := hex.DecodeString(strings.ReplaceAll(text[len(md5Prefix):], ":", ""))
		if err == nil && len(sum) == md5.Size && strings.EqualFold(formatMD5(sum), text) {
			return Filter{formatMD5(sum)}, nil
		}
	}
	return Filter{}, fmt.Errorf("%.80q is not a fingerprint (SHA256:... or MD5:...)", text)
}

// IsZero reports whether f selects every key.
func (f Filter) IsZero() bool { return f.want == "" }

// Matches reports whether f selects the key of an SSH wire-format blob. Where
// FIPS 140 is enforced an MD5 filter cannot be computed and selects every key:
// sshd compares the keys themselves, so the filter only saves it work.
func (f Filter) Matches(blob []byte) bool {
	switch {
	case f.want == "":
		return true
	case strings.HasPrefix(f.want, md5Prefix):
		return fips140.Enforced() || MD5(blob) == f.want
	default:
		return SHA256(blob) == f.want
	}
}
