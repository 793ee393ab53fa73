package fingerprints

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

var errPassphrase = errors.New("it is a private key under a passphrase, in a form that does not show the public one: give its public key")

// blockName names what a PEM block holds that is not an SSH key.
func blockName(label string) string {
	switch {
	case strings.HasSuffix(label, "CERTIFICATE REQUEST"):
		return "an X.509 certificate request"
	case strings.HasSuffix(label, "CERTIFICATE"):
		return "an X.509 certificate"
	case strings.HasPrefix(label, "PGP"):
		return "OpenPGP (BEGIN " + label + ")"
	}
	return "PEM of another kind (BEGIN " + label + ")"
}

var (
	blockBegin = regexp.MustCompile(`[-–—]{2,5} ?BEGIN ([A-Z0-9 ]{1,64}?) ?[-–—]{2,5}`)
	ssh1Key    = regexp.MustCompile(`^\d{3,5} \d{1,10} \d{50,}`)
)

// looksLike says what text without a key is. Nothing of it is quoted: it may be secret.
func looksLike(text string) error {
	first, _, _ := strings.Cut(text, "\n")
	begin := blockBegin.FindStringSubmatch(text)
	switch {
	case begin != nil:
		return fmt.Errorf("its BEGIN %s has no END: it was cut off", begin[1])
	case strings.HasPrefix(text, "SSH PRIVATE KEY FILE FORMAT"), ssh1Key.MatchString(text):
		return errors.New("it is a key of SSH protocol 1, which nothing takes any more")
	case strings.HasPrefix(text, "untrusted comment:"):
		return errors.New("it is a key of signify or minisign, not of SSH")
	case strings.HasPrefix(text, "<"):
		return errors.New("it is a web page or XML, not a key")
	case strings.ContainsRune("{[", rune(text[0])) && json.Valid([]byte(text)):
		return looksLikeJSON(text)
	case len(sums(first)) > 0:
		return errors.New("it is a fingerprint, not a key: give it to --expect, with the file of the key")
	case strings.ContainsFunc(text, func(c rune) bool { return unicode.IsControl(c) && !unicode.IsSpace(c) || c == unicode.ReplacementChar }):
		return errors.New("it is binary data, and not a key in DER")
	}
	return errors.New("not a public key: expected an OpenSSH line, RFC 4716, PEM, DER in base64, or JSON that holds one")
}

func looksLikeJSON(text string) error {
	var value any
	_ = json.Unmarshal([]byte(text), &value) // is valid
	shown, jwk := false, false
	walk(value, func(name, text string) {
		shown = shown || isFingerprintMember(name)
		jwk = jwk || name == "kty"
	})
	switch {
	case shown:
		return errors.New("it is JSON with the fingerprint of a key, and without the key: give the fingerprint to --expect, with the file of the key")
	case jwk:
		return errors.New("it is a JSON Web Key, which is not read here: convert it to PEM")
	}
	return errors.New("it is JSON without a key")
}
