package keyrecord

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"time"
)

// A Statement is the AWS side's data on one pushed key. Encode turns it
// into the record that the metadata service carries.
type Statement struct {
	Expires  time.Time // whole seconds; the rest is cut off
	Instance string
	Caller   string // left out when empty
	Request  string // left out when empty
	Key      string // the authorized_keys line, without a newline
}

// SignedBytes returns the bytes that the signature of the record covers: every
// field line and the key line, each with its newline.
func (s Statement) SignedBytes() []byte {
	var b bytes.Buffer
	field := func(name, value string) {
		if value != "" {
			b.WriteString("#" + name + "=" + value + "\n")
		}
	}
	field("Timestamp", strconv.FormatInt(s.Expires.Unix(), 10))
	field("Instance", s.Instance)
	field("Caller", s.Caller)
	field("Request", s.Request)
	b.WriteString(s.Key + "\n")
	return b.Bytes()
}

// Encode returns the record of signed bytes and their signature: the bytes,
// the signature in base64 on lines of 76 characters, and the blank line that
// parts it from the next record.
func Encode(signed, signature []byte) []byte {
	const width = 76
	b := bytes.NewBuffer(bytes.Clone(signed))
	for text := base64.StdEncoding.EncodeToString(signature); text != ""; {
		n := min(width, len(text))
		b.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	b.WriteByte('\n')
	return b.Bytes()
}
