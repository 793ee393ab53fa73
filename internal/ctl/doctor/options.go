package doctor

import (
	"regexp"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/accept"
	"github.com/eic-agent/eic-agent/internal/sshd"
)

// keyOption finds options with a value, of authorized_keys(5), by which sshd refuses a key.
var keyOption = regexp.MustCompile(`(?i)(?:^|,)(from|expiry-time)="([^"]*)"`)

// checkKeyOptions compares [keys] options, which every key comes with, with the client and
// the time.
func checkKeyOptions(e *exam, f *findings) {
	cfg := e.config().cfg
	if cfg == nil {
		return
	}
	for _, m := range keyOption.FindAllStringSubmatch(cfg.Keys.Options, -1) {
		solution := advice("change options in [keys] of %s", e.config().path)
		switch strings.ToLower(m[1]) {
		case "from":
			if e.From == "" {
				f.unknown("user-access", "whether the client's address is in from=%q of [keys] options is unknown: give --from", m[2])
			} else if !accept.MatchHost(m[2], sshd.Connection{Addr: e.From}) {
				f.problem(keyOptions, solution, "sshd refuses every key from %s: [keys] options has from=%q", e.From, m[2])
			}
		case "expiry-time":
			if end, ok := expiryTime(m[2]); ok && end.Before(e.now) {
				f.problem(keyOptions, solution, "sshd refuses every key: [keys] options has expiry-time=%q", m[2])
			}
		}
	}
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
