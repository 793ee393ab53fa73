// Package keyrecord parses the signed records in which the metadata service
// serves pushed SSH keys, and verifies them.
//
// A record is a number of field lines, a key line, a signature in base64 on one
// line or wrapped over several, and a blank line:
//
//	#Timestamp=<Unix seconds at which the key expires>
//	#Instance=<instance id>
//	#Caller=<ARN of the IAM principal>
//	#Request=<API request id>
//	<key type> <base64>[ comment]
//	<signature>
//
// The signature covers every field line, known or not, and the key line, each
// with its newline, as served. The format is that of the public reference,
// aws/aws-ec2-instance-connect-config.
package keyrecord

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/crypto/ssh"

	"github.com/eic-agent/eic-agent/internal/reason"
)

const (
	// maxRecord bounds one record: a key line as long as sshd takes one
	// (8 KiB), the fields and the signature.
	maxRecord = 16 << 10
	// maxSignature is that of an RSA key of 8192 bits.
	maxSignature = 8192 / 8
)

// A Record is one record as served. Nothing in it is verified: any server that
// answers as the metadata service can have written it. Only Prove makes a Key
// of it.
type Record struct {
	text      []byte // as served
	signed    []byte // the bytes that the signature covers
	signature []byte

	expires  int64 // Unix seconds
	instance string
	caller   string
	request  string
	key      keyLine

	fault *reason.Error // what is wrong with its form, or nil
}

// Caller and Request return who pushed the key, and in which API request. Both
// are unverified until the record is proved.
func (r *Record) Caller() string  { return r.caller }
func (r *Record) Request() string { return r.request }

// Expires returns the claimed expiry in Unix seconds, 0 where it has none.
func (r *Record) Expires() int64 { return r.expires }

// Text returns the record as it was served.
func (r *Record) Text() []byte { return r.text }

// Blob returns the key in SSH wire format, or nil where none could be read.
func (r *Record) Blob() []byte { return r.key.blob }

// KeyType returns the type that the key line names, or "".
func (r *Record) KeyType() string { return r.key.typ }

// KeyBits returns the size of an RSA key, and 0 for any other key or none.
func (r *Record) KeyBits() int {
	if r.key.typ != ssh.KeyAlgoRSA {
		return 0
	}
	pub, err := ssh.ParsePublicKey(r.key.blob)
	if err != nil {
		return 0
	}
	return rsaBits(pub)
}

// Records returns the records in body in the order served, malformed ones
// included: Check and Prove return their errors, which never
// affect other records. The records refer to body.
func Records(body []byte) iter.Seq[*Record] {
	return func(yield func(*Record) bool) {
		for len(body) > 0 {
			var text rawRecord
			text, body = split(body)
			if text.isBlank() {
				continue
			}
			if !yield(parse(text)) {
				return
			}
		}
	}
}

// A rawRecord is the text of a record in its parts.
type rawRecord struct {
	fields    []byte // field lines before the key line
	key       []byte // the key line
	trailing  []byte // field lines between key line and signature
	signature []byte // the signature lines
}

func (t rawRecord) isBlank() bool { return len(t.signed()) == 0 && len(t.signature) == 0 }

// signed returns fields, key and trailing, which lie one behind the other.
func (t rawRecord) signed() []byte {
	return t.fields[:len(t.fields)+len(t.key)+len(t.trailing)]
}

// whole returns all of the record, whose parts lie one behind the other.
func (t rawRecord) whole() []byte {
	return t.fields[:len(t.signed())+len(t.signature)]
}

// split cuts the first record off body. A record ends at a blank line. It also
// ends where the next one plainly begins, so that a record without its blank
// line or its signature does not take the next one with it: at a field line
// after the signature, or at a Timestamp after the key line.
func split(body []byte) (text rawRecord, rest []byte) {
	text.fields = body[:0]
	rest = body
	for len(rest) > 0 {
		line := rest
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			line = rest[:i+1]
		}
		isField := line[0] == '#'
		switch {
		case len(bytes.TrimRight(line, "\r\n")) == 0:
			return text, rest[len(line):]
		case isField && len(text.key) == 0:
			text.fields = extend(text.fields, line)
		case isField && (len(text.signature) > 0 || bytes.HasPrefix(line, []byte("#Timestamp="))):
			return text, rest
		case isField:
			text.trailing = extend(text.trailing, line)
		case len(text.key) == 0:
			text.key = line
		default:
			text.signature = extend(text.signature, line)
		}
		rest = rest[len(line):]
	}
	return text, nil
}

// Whole returns body without its last record if that record runs to the end of
// body, as one that was cut off does.
func Whole(body []byte) []byte {
	for rest := body; len(rest) > 0; {
		text, next := split(rest)
		if len(next) == 0 && len(text.whole()) == len(rest) {
			return body[:len(body)-len(rest)]
		}
		rest = next
	}
	return body
}

// extend returns part followed by line, which lies right behind it.
func extend(part, line []byte) []byte {
	if len(part) == 0 {
		return line
	}
	return part[:len(part)+len(line)]
}

// parse reads the form of a record. It returns one for any text, with the fault
// that makes it malformed.
func parse(text rawRecord) *Record {
	r := &Record{text: text.whole(), signed: text.signed()}
	r.fault = r.parse(text)
	return r
}

func (r *Record) parse(text rawRecord) *reason.Error {
	if len(r.signed)+len(text.signature) > maxRecord {
		return malformed("the record is longer than %d bytes", maxRecord)
	}
	// The key first: a refusal that names the key is more useful.
	keyFault := r.key.parse(bytes.TrimSuffix(text.key, []byte("\n")))
	if fault := r.parseFields(text); fault != nil {
		return fault
	}
	if keyFault != nil {
		return keyFault
	}
	// encoding/base64 passes over the line ends.
	signature, err := base64.StdEncoding.Strict().AppendDecode(nil, text.signature)
	switch {
	case len(text.signature) == 0:
		return malformed("the record has no signature")
	case err != nil:
		return malformed("the signature is not base64")
	case len(signature) > maxSignature:
		return malformed("the signature is longer than %d bytes", maxSignature)
	}
	r.signature = signature
	return nil
}

func (r *Record) parseFields(text rawRecord) *reason.Error {
	var timestamp string
	known := []struct {
		name  string
		value *string
		seen  bool
	}{{"Timestamp", &timestamp, false}, {"Instance", &r.instance, false}, {"Caller", &r.caller, false}, {"Request", &r.request, false}}

	for i, lines := range [][]byte{text.fields, text.trailing} {
		afterKey := i == 1
		for line := range bytes.Lines(lines) {
			field := string(bytes.TrimSuffix(line, []byte("\n")))
			if strings.ContainsFunc(field, unicode.IsControl) {
				return malformed("a field line has a control character")
			}
			name, value, _ := strings.Cut(field[1:], "=")
			for i := range known {
				if known[i].name != name {
					continue
				}
				if known[i].seen {
					return malformed("the record has more than one %s", name)
				}
				// An attacker who gets a line end into the pushed key
				// would write such a field.
				if afterKey {
					return malformed("the record has a %s after its key", name)
				}
				known[i].seen = true
				*known[i].value = value
			}
		}
	}
	for _, k := range known[:2] {
		if *k.value == "" {
			return malformed("the record has no %s", k.name)
		}
	}
	expires, err := strconv.ParseUint(timestamp, 10, 63)
	if err != nil {
		return malformed("the Timestamp %.32q is not a number of seconds", timestamp)
	}
	r.expires = int64(expires)
	return nil
}

func malformed(format string, args ...any) *reason.Error {
	return reason.New(reason.Malformed, fmt.Sprintf(format, args...))
}
