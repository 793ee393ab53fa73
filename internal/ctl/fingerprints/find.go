package fingerprints

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/fingerprint"
)

// A found key is one of a file.
type found struct {
	key     fingerprint.Key
	private crypto.Signer // nil where only the public key is there
	line    int           // of the file, 0 where it is not one of its lines
}

// maxDepth bounds how deep a key may be wrapped in JSON and base64.
const maxDepth = 8

// find returns the keys in text. Lines that look like a key and are none are errors,
// next to the keys of the others. Other text around keys is passed over, as sshd and
// PEM do.
func find(text string, depth int) ([]found, error) {
	text = normalize(text)
	if text == "" {
		return nil, errors.New("it is empty")
	}
	if keys := findJSON(text, depth); len(keys) > 0 {
		return keys, nil
	}
	if key, err := fingerprint.ParseKey([]byte(unquote(text))); err == nil && len(candidate.FindAllStringIndex(text, 2)) < 2 {
		return []found{{key: key}}, nil
	}
	if begin := strings.Index(text, puttyFile); begin >= 0 {
		one, err := parsePuTTY(text[begin:])
		if err != nil {
			return nil, err
		}
		return []found{one}, nil
	}
	keys, rest, blockErr := findBlocks(text)
	more, lineErr := findLines(rest)
	if keys = append(keys, more...); len(keys) > 0 {
		return keys, firstError(blockErr, lineErr)
	}
	if blockErr != nil {
		return nil, blockErr
	}
	if keys := findBroken(text); keys != nil {
		return keys, nil
	}
	if keys := findEncoded(text, depth); len(keys) > 0 {
		return keys, nil
	}
	for _, token := range base64Token.FindAllString(text, -1) {
		if !strings.HasPrefix(token, "AAAA") { // the blob of a line that is none
			keys = append(keys, findEncoded(token, depth)...)
		}
	}
	if len(keys) > 0 {
		return keys, nil
	}
	if lineErr != nil {
		return nil, lineErr
	}
	return nil, looksLike(text)
}

// base64Token is what a secret of Kubernetes holds a key as.
var base64Token = regexp.MustCompile(`[A-Za-z0-9+/]{64,}={0,2}`)

var (
	lineBreak = regexp.MustCompile(`\n[ \t]*`)
	typeBlob  = regexp.MustCompile(`((?:ssh|ecdsa|sk)-[A-Za-z0-9@.-]+?)(AAAA[A-Z])`)
)

// findBroken returns the key of a line that terminals, mail or YAML broke, also between
// its type and its blob.
func findBroken(text string) []found {
	for _, line := range []string{
		strings.ReplaceAll(text, "\n", ""),
		strings.ReplaceAll(text, "\n", " "),
		typeBlob.ReplaceAllString(lineBreak.ReplaceAllString(text, ""), " $1 $2"),
	} {
		if keys, err := findLines(line); err == nil && len(keys) == 1 {
			return []found{{key: keys[0].key}}
		}
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// normalize removes what editors, spreadsheets and chats add around text.
func normalize(text string) string {
	return strings.TrimSpace(strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u00a0", " ", "\u200b", "", "\ufeff", "",
		"\u201c", `"`, "\u201d", `"`, "\u2018", "'", "\u2019", "'").Replace(text))
}

// unquote takes quotes away that stand around the whole text.
func unquote(text string) string {
	for len(text) >= 2 && strings.ContainsRune("\"'`", rune(text[0])) && text[len(text)-1] == text[0] {
		text = strings.TrimSpace(text[1 : len(text)-1])
	}
	return text
}

// findJSON returns the keys in the strings of JSON, each key once: Terraform's state
// has the same one in several forms. Of those a private key tells most.
func findJSON(text string, depth int) []found {
	var value any
	if depth >= maxDepth || !strings.ContainsRune("{[\"", rune(text[0])) || json.Unmarshal([]byte(text), &value) != nil {
		return nil
	}
	var keys []found
	walk(value, func(_, text string) {
		list, err := find(text, depth+1)
		if err != nil {
			return
		}
		for _, one := range list {
			one.line = 0
			same := slices.IndexFunc(keys, func(k found) bool { return k.key.Line() == one.key.Line() })
			switch {
			case same < 0:
				keys = append(keys, one)
			case keys[same].private == nil && one.private != nil:
				one.key.Comment = keys[same].key.Comment
				keys[same] = one
			}
		}
	})
	return keys
}

// walk hands over the strings of a JSON value, with the name of their member, in the
// order of the names.
func walk(value any, each func(name, text string)) { walkMember("", value, each) }

func walkMember(name string, value any, each func(name, text string)) {
	switch value := value.(type) {
	case string:
		each(name, value)
	case []any:
		for _, element := range value {
			walkMember(name, element, each)
		}
	case map[string]any:
		names := make([]string, 0, len(value))
		for name := range value {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			walkMember(name, value[name], each)
		}
	}
}

// block is PEM or RFC 4716 wherever it stands, with dashes as word processors leave
// them, on one line or on several.
var block = regexp.MustCompile(`(?s)[-–—]{2,5} ?BEGIN ([A-Z0-9 ]+?) ?[-–—]{2,5}(.*?)[-–—]{2,5} ?END ([A-Z0-9 ]+?) ?[-–—]{2,5}`)

const rfc4716 = "SSH2 PUBLIC KEY"

// findBlocks reads the keys in blocks, and returns the text without them, of which the
// lines keep their numbers. The error is about the first block that is not a key.
func findBlocks(text string) (keys []found, rest string, err error) {
	rest = block.ReplaceAllStringFunc(text, func(whole string) string {
		parts := block.FindStringSubmatch(whole)
		if parts[1] == "EC PARAMETERS" && strings.Contains(text, "EC PRIVATE KEY") {
			return strings.Repeat("\n", strings.Count(whole, "\n")) // openssl ecparam -genkey
		}
		one, parseErr := parseBlock(parts[1], parts[2])
		if parts[1] != parts[3] {
			parseErr = fmt.Errorf("its BEGIN %s ends as END %s", parts[1], parts[3])
		}
		if parseErr != nil {
			err = firstError(err, parseErr)
		} else {
			keys = append(keys, one)
		}
		return strings.Repeat("\n", strings.Count(whole, "\n"))
	})
	return keys, rest, err
}

func parseBlock(label, body string) (found, error) {
	body = strings.NewReplacer(`\r\n`, "\n", `\n`, "\n", `\r`, "\n").Replace(body)
	switch {
	case label == rfc4716:
		key, err := parseRFC4716(body)
		return found{key: key}, err
	case strings.Contains(body, "4,ENCRYPTED") || strings.HasPrefix(label, "ENCRYPTED"):
		return found{}, errPassphrase
	case label == "SSH2 ENCRYPTED PRIVATE KEY":
		return found{}, errors.New("it is a private key in the form of ssh.com: convert it with ssh-keygen -i")
	case strings.HasSuffix(label, "PRIVATE KEY"):
		canonical, err := rebuild(label, body)
		if err != nil {
			return found{}, err
		}
		key, private, err := parsePrivate(canonical)
		return found{key: key, private: private}, err
	case label == "PUBLIC KEY" || label == "RSA PUBLIC KEY":
		canonical, err := rebuild(label, body)
		if err != nil {
			return found{}, err
		}
		key, err := fingerprint.ParseKey(canonical)
		if err != nil {
			return found{}, fmt.Errorf("its BEGIN %s is not a key that SSH has", label)
		}
		return found{key: key}, nil
	}
	return found{}, fmt.Errorf("it is %s, not an SSH key", blockName(label))
}

// rebuild writes a PEM block as it has to be, from one that lost its newlines, or is
// indented or quoted line by line.
func rebuild(label, body string) ([]byte, error) {
	encoded := strings.Map(func(c rune) rune {
		if strings.ContainsRune(" \t\n\"'`,>|#\\", c) {
			return -1
		}
		return c
	}, body)
	der, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("its BEGIN %s is damaged: the text inside is not base64", label)
	}
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}), nil
}

var (
	rfc4716Blob    = regexp.MustCompile(`(AAAA[A-Za-z0-9+/=\s]+)$`)
	rfc4716Comment = regexp.MustCompile(`(?i)\bComment: ?"([^"]*)"`)
)

// parseRFC4716 reads the inside of a block of RFC 4716.
func parseRFC4716(body string) (fingerprint.Key, error) {
	var lines []string
	for line := range strings.Lines(body) {
		if line = strings.Trim(line, "> \t\n"); line != "" {
			lines = append(lines, line)
		}
	}
	body = strings.Join(lines, "\n")
	key, err := fingerprint.ParseKey([]byte("---- BEGIN SSH2 PUBLIC KEY ----\n" + body + "\n---- END SSH2 PUBLIC KEY ----"))
	if err == nil {
		return key, nil
	}
	// Where the newlines became blanks, a comment ends at its quote.
	body = strings.ReplaceAll(body, " > ", " ")
	blob := rfc4716Blob.FindString(body)
	if comment := rfc4716Comment.FindStringSubmatchIndex(body); comment != nil {
		blob = rfc4716Blob.FindString(body[comment[1]:])
	}
	key, err = ofBlob(blob)
	if err != nil {
		return key, errors.New("its RFC 4716 block is damaged")
	}
	if comment := rfc4716Comment.FindStringSubmatch(body); comment != nil {
		key.Comment = comment[1]
	}
	key.Form = fingerprint.RFC4716
	return key, nil
}

// findEncoded reads what is base64 of a key file, of DER or of the SSH wire format.
func findEncoded(text string, depth int) []found {
	encoded := strings.Join(strings.Fields(unquote(text)), "")
	plain, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(plain) < 32 || depth >= maxDepth {
		return nil
	}
	if keys := findDER(plain); len(keys) > 0 {
		return keys
	}
	if key, err := ofBlob(encoded); err == nil {
		return []found{{key: key}}
	}
	if bytes.HasPrefix(plain, []byte(opensshMagic)) {
		one, err := parseBlock("OPENSSH PRIVATE KEY", encoded)
		if err != nil {
			return nil
		}
		return []found{one}
	}
	if bytes.IndexByte(plain, 0) >= 0 {
		return nil
	}
	keys, err := find(string(plain), depth+1)
	if err != nil {
		return nil
	}
	return keys
}

// findDER reads a key in DER.
func findDER(der []byte) []found {
	if len(der) < 2 || der[0] != 0x30 {
		return nil
	}
	for _, label := range []string{"PUBLIC KEY", "RSA PUBLIC KEY", "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"} {
		if one, err := parseBlock(label, base64.StdEncoding.EncodeToString(der)); err == nil {
			return []found{one}
		}
	}
	return nil
}
