package accept

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/sshd"
)

// keyOption finds options with a value, of authorized_keys(5), by which sshd refuses a key.
var keyOption = regexp.MustCompile(`(?i)(?:^|,)(from|expiry-time)="([^"]*)"`)

// keyOptions compares the options that every key comes with with the client and the time.
func (a *Access) keyOptions(now time.Time) (limits []Limit) {
	const fix = "change options in [keys] of the agent's configuration"
	for _, m := range keyOption.FindAllStringSubmatch(a.KeyOptions, -1) {
		switch strings.ToLower(m[1]) {
		case "from":
			if a.conn.Addr == "" {
				limits = append(limits, Limit{"user-access", Unknown, fmt.Sprintf("whether the client's address is in from=%q of [keys] options is unknown: give --from", m[2]), "", false})
			} else if !matchHost(m[2], sshd.Connection{Addr: a.conn.Addr, Host: a.conn.Host}) {
				limits = append(limits, Limit{"key-options", Refuses, fmt.Sprintf("sshd refuses every key from %s: [keys] options has from=%q", a.conn.Addr, m[2]), fix, false})
			}
		case "expiry-time":
			if end, ok := expiryTime(m[2]); ok && end.Before(now) {
				limits = append(limits, Limit{"key-options", Refuses, fmt.Sprintf("sshd refuses every key: [keys] options has expiry-time=%q", m[2]), fix, false})
			}
		}
	}
	return limits
}

// expiryTime reads YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with a Z for UTC.
func expiryTime(text string) (end time.Time, ok bool) {
	zone := time.Local
	if rest, ok := strings.CutSuffix(text, "Z"); ok {
		text, zone = rest, time.UTC
	}
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if end, err := time.ParseInLocation(layout, text, zone); err == nil {
			return end, true
		}
	}
	return time.Time{}, false
}
