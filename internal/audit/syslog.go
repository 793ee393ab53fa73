package audit

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"go.uber.org/zap/zapcore"
)

// maxLine bounds what is handed to syslog: rsyslog takes 8 KiB, the time, the
// tag and the pid included.
const maxLine = 7 << 10

// prefix begins the names of the agent's own fields. Syslog has a place of its
// own for the others.
const prefix = "EIC_"

// syslogSocket is where a syslog daemon listens, or journald in its place.
const syslogSocket = "/dev/log"

// syslogPacket returns a line as syslog(3) of glibc writes it.
func syslogPacket(pri journal.Priority, program, line string, now time.Time) []byte {
	return fmt.Appendf(nil, "<%d>%s %s[%d]: %s\n", facilityNumber<<3|int(pri), now.Format(time.Stamp), program, os.Getpid(), line)
}

// syslogLine returns message followed by " NAME=value" for each of the agent's
// own fields, quoted as Go does where value holds a space, a quote or a
// backslash. A field that no longer fits is left out as a whole.
func syslogLine(message string, fs []zapcore.Field) string {
	var b strings.Builder
	b.WriteString(disarm(message))
	for _, f := range fs {
		if !strings.HasPrefix(f.Key, prefix) {
			continue
		}
		value := disarm(f.String)
		if strings.ContainsAny(value, " \"\\") {
			value = strconv.Quote(value)
		}
		if b.Len()+len(" ")+len(f.Key)+len("=")+len(value) > maxLine {
			continue
		}
		b.WriteString(" " + f.Key + "=" + value)
	}
	return b.String()
}

// disarm returns s with ":" for each "=" that would make a part of it read as
// one of the agent's own fields.
func disarm(s string) string {
	if !strings.Contains(s, prefix) {
		return s
	}
	b := []byte(s)
	for i := range b {
		if b[i] != '=' {
			continue
		}
		before := strings.TrimRightFunc(s[:i], isNameRune)
		if strings.Contains(s[len(before):i], prefix) {
			b[i] = ':'
		}
	}
	return string(b)
}

func isNameRune(r rune) bool {
	return 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_'
}
