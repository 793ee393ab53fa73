package fingerprints

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// Expected is a fingerprint that somebody pasted.
type Expected struct {
	sum []byte // of 16 bytes: MD5, of 20: SHA-1, of 32: SHA-256
}

// ParseExpected reads a fingerprint in any form in which one is shown: with or
// without its prefix, padding and colons, in either case of hex digits, and also
// as the whole line of ssh-keygen -l.
func ParseExpected(text string) (Expected, error) {
	var found []Expected
	for field := range strings.FieldsSeq(strings.Trim(strings.TrimSpace(text), `"'`)) {
		if sum := decode(field); sum != nil {
			found = append(found, Expected{sum})
		}
	}
	if len(found) != 1 {
		return Expected{}, fmt.Errorf("%.100q is not one fingerprint: it is 32 or 40 hex digits, or 43 characters of base64", text)
	}
	return found[0], nil
}

// decode returns the bytes of a fingerprint, or nil for any other text.
func decode(text string) []byte {
	size := 0 // which the prefix asks for
	prefix, rest, ok := strings.Cut(text, ":")
	if ok {
		switch strings.ToUpper(prefix) {
		case "MD5":
			text, size = rest, md5.Size
		case "SHA1":
			text, size = rest, sha1.Size
		case "SHA256":
			text, size = rest, sha256.Size
		}
	}
	sum, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil || (len(sum) != md5.Size && len(sum) != sha1.Size) {
		sum, err = base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(text, "="))
		if err != nil || (len(sum) != sha256.Size && (len(sum) != sha1.Size || size != sha1.Size)) {
			return nil
		}
	}
	if size != 0 && len(sum) != size {
		return nil
	}
	return sum
}

// Matches returns the places where the key's fingerprint is the one expected.
func (e Expected) Matches(r *Report) []Shown {
	var matches []Shown
	for _, s := range r.Fingerprints {
		if s.Fingerprint != "" && bytes.Equal(decode(s.Fingerprint), e.sum) {
			matches = append(matches, s)
		}
	}
	return matches
}

// Hint says, where the fingerprint matches none of r, why it may still be the
// key's, or is "".
func (e Expected) Hint(r *Report) string {
	for _, s := range r.Fingerprints {
		if s.Note == noMD5 && len(e.sum) != sha256.Size {
			return "MD5 and SHA-1 are not computed here, where FIPS 140 is enforced"
		}
		if s.Where == ec2Created && s.Fingerprint == "" && len(e.sum) == sha1.Size && s.Note == onlyByPrivate {
			return "it has the form of a pair made by EC2, which only the private key tells: give its file"
		}
	}
	return ""
}

// Is reports whether fingerprint, in any form in which one is shown, is the one
// expected.
func (e Expected) Is(fingerprint string) bool {
	sum := decode(fingerprint)
	return sum != nil && bytes.Equal(sum, e.sum)
}

// OfPrivate reports whether it has the form of what EC2 shows of a pair that it
// made, which is the SHA-1 of the private key.
func (e Expected) OfPrivate() bool { return len(e.sum) == sha1.Size }
