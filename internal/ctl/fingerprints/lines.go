package fingerprints

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/eic-agent/eic-agent/internal/fingerprint"
)

// candidate is a key in a line: its type and its blob. Before it may stand options,
// host names, the marker of known_hosts, or the syntax of JSON, YAML or Terraform.
var candidate = regexp.MustCompile(`(?:^|[^A-Za-z0-9@._-]|\\n)((?:ssh|ecdsa|sk)-[A-Za-z0-9@.-]+)\s+([A-Za-z0-9+/]{16,}={0,2})`)

// findLines returns the keys of authorized_keys, known_hosts and the like. The error is
// about the first line that looks like a key and is none.
func findLines(text string) (keys []found, err error) {
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		ofLine, looks := keysOf(line)
		for _, key := range ofLine {
			keys = append(keys, found{key: key, line: number})
		}
		if len(ofLine) == 0 && looks != "" && err == nil {
			err = fmt.Errorf("line %d looks like an OpenSSH key (%.64s), but the key is damaged, cut off or of another type", number, looks)
		}
	}
	return keys, err
}

// keysOf returns the keys of a line, and the type that it names. A key inside double
// quotes, such as in an option, counts only where there is no other.
func keysOf(line string) (keys []fingerprint.Key, looks string) {
	var quoted []fingerprint.Key
	all := candidate.FindAllStringSubmatchIndex(line, -1)
	for i, at := range all {
		typ, blob := line[at[2]:at[3]], line[at[4]:at[5]]
		comment := line[at[5]:]
		if i+1 < len(all) {
			comment = line[at[5]:all[i+1][0]]
		}
		inside := strings.Count(strings.ReplaceAll(line[:at[2]], `\"`, ""), `"`)%2 == 1
		key, err := ofLine(typ, blob)
		if err != nil {
			if !inside {
				looks = typ
			}
			continue
		}
		if inside {
			comment, _, _ = strings.Cut(comment, `"`)
		}
		key.Comment = trimComment(comment)
		if inside {
			quoted = append(quoted, key)
		} else {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		keys = quoted
	}
	return keys, looks
}

// trimComment removes a newline that became text at the end, and turns tabs into
// blanks.
func trimComment(comment string) string {
	for _, end := range []string{`\n`, `\r`} {
		comment = strings.TrimSuffix(strings.TrimSpace(comment), end)
	}
	return strings.ReplaceAll(strings.TrimSpace(comment), "\t", " ")
}

func ofLine(typ, blob string) (fingerprint.Key, error) {
	if strings.HasSuffix(typ, "-cert-v01@openssh.com") {
		return parseCertificate(typ, blob)
	}
	return fingerprint.ParseKey([]byte(typ + " " + blob))
}

// ofBlob reads a key that is there without its type.
func ofBlob(encoded string) (fingerprint.Key, error) {
	encoded = strings.Join(strings.Fields(encoded), "")
	blob, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return fingerprint.Key{}, err
	}
	public, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return fingerprint.Key{}, err
	}
	return ofLine(public.Type(), encoded)
}

var errCertificate = errors.New("it is a certificate that cannot be read here: give its public key")

// parseCertificate reads the key of an OpenSSH certificate.
func parseCertificate(typ, encoded string) (fingerprint.Key, error) {
	blob, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return fingerprint.Key{}, errCertificate
	}
	public, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return fingerprint.Key{}, errCertificate
	}
	c, ok := public.(*ssh.Certificate)
	if !ok || c.Type() != typ {
		return fingerprint.Key{}, errCertificate
	}
	return ofPublic(c.Key, certificate)
}
