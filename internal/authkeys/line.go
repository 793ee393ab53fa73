package authkeys

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

// writeLine writes the authorized_keys line of a proved key: the configured
// options, type and key, each built anew. With expiryTime sshd has to refuse
// the key from expires on.
func writeLine(b *bytes.Buffer, key keyrecord.Key, expires time.Time, options string, expiryTime bool) {
	if expiryTime {
		if options != "" {
			options += ","
		}
		// sshd still takes a key in the second that expiry-time names.
		last := expires.Add(-time.Second).UTC()
		options += fmt.Sprintf("expiry-time=%q", last.Format("20060102150405Z"))
	}
	if options != "" {
		b.WriteString(options + " ")
	}
	fmt.Fprintf(b, "%s %s\n", key.Type(), base64.StdEncoding.EncodeToString(key.Blob()))
}
