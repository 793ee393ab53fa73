package fingerprints

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Expected is a fingerprint that somebody pasted.
type Expected struct {
	sum []byte // of 16 bytes: MD5, of 20: SHA-1, of 32: SHA-256
}

// ParseExpected reads a fingerprint in any form in which one is shown: with or
// without its prefix, padding and separators, in either case of hex digits, as the
// whole line of ssh-keygen -l or of sshd's log, and in the JSON of the AWS CLI.
func ParseExpected(text string) (Expected, error) {
	switch list := sums(text); len(list) {
	case 0:
	case 1:
		return Expected{list[0]}, nil
	default:
		return Expected{}, fmt.Errorf("expected one fingerprint, not %d", len(list))
	}
	if keys, _ := find(text, 0); len(keys) > 0 {
		return Expected{}, errors.New("that is a key, not a fingerprint: expected one as eicctl fingerprint prints them")
	}
	return Expected{}, fmt.Errorf("%.100q is not one fingerprint: it is 32, 40 or 64 hex digits, or 43 characters of base64", text)
}

// sums returns the different fingerprints in text.
func sums(text string) (list [][]byte) {
	// A shell takes the zeros out of UTF-16, and leaves its mark.
	text = normalize(strings.TrimPrefix(strings.TrimPrefix(text, "\xff\xfe"), "\xfe\xff"))
	add := func(text string) {
		for field := range strings.FieldsSeq(text) {
			sum := decode(strings.Trim(field, "\"'`,;.()[]<>"))
			if sum != nil && !slices.ContainsFunc(list, func(s []byte) bool { return bytes.Equal(s, sum) }) {
				list = append(list, sum)
			}
		}
	}
	var value any
	if strings.HasPrefix(text, "{") && json.Unmarshal([]byte(text), &value) == nil {
		walk(value, func(name, text string) {
			if isFingerprintMember(name) {
				add(text)
			}
		})
		return list
	}
	if add(text); len(list) == 0 {
		add(strings.Join(strings.Fields(text), "")) // 7f 7c e3 ...
	}
	return list
}

// isFingerprintMember reports whether a member of JSON is a fingerprint: KeyFingerprint
// of EC2, fingerprint of Lightsail and Terraform.
func isFingerprintMember(name string) bool {
	return strings.Contains(strings.ToLower(name), "fingerprint")
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
	digits := strings.ReplaceAll(text, ":", "")
	if len(text) > 2 && len(text)%3 == 2 && strings.Count(text, "-") == len(text)/3 && text[2] == '-' { // 7f-7c-e3, not a UUID
		digits = strings.ReplaceAll(text, "-", "")
	}
	sum, err := hex.DecodeString(digits)
	if err != nil || (len(sum) != md5.Size && len(sum) != sha1.Size && len(sum) != sha256.Size) {
		text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
		sum, err = base64.RawStdEncoding.Strict().DecodeString(text)
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
			return "it has the form of a pair made by EC2, which needs the private key: give its file"
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
