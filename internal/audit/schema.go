package audit

import (
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/eic-agent/eic-agent/internal/reason"
)

// schemaVersion is the EIC_SCHEMA of every record. It changes when a field changes
// its meaning, not when one is added.
const schemaVersion = "1"

// The fields that are not of one event alone.
const (
	fieldMessage   = "MESSAGE"
	fieldMessageID = "MESSAGE_ID"
	fieldEvent     = "EIC_EVENT"
)

// FieldLost counts earlier events that neither journald nor syslog took.
const FieldLost = "EIC_LOST"

// A column is a field of an Event in the journal.
type column struct {
	name  string
	limit int // in bytes
	get   func(*Event) string
	set   func(*Event, string) // of a value from the journal, which may be forged
}

// columns are the fields of an event, those that matter most first. EIC_EVENT
// comes before all others: it begins the fields in a line for syslog.
var columns = []column{
	{fieldEvent, maxValue, func(e *Event) string { return string(e.Kind) }, func(e *Event, s string) { e.Kind = Kind(s) }},
	{"EIC_REASON", maxValue, func(e *Event) string { return string(e.Reason) }, func(e *Event, s string) { e.Reason = reason.Word(s) }},
	{"EIC_USER", maxValue, func(e *Event) string { return e.User }, func(e *Event, s string) { e.User = s }},
	{"EIC_FINGERPRINT", maxValue, func(e *Event) string { return e.Fingerprint }, func(e *Event, s string) { e.Fingerprint = s }},
	{"EIC_CALLER", maxCaller, func(e *Event) string { return e.Caller }, func(e *Event, s string) { e.Caller = s }},
	{"EIC_REQUEST_ID", maxValue, func(e *Event) string { return e.Request }, func(e *Event, s string) { e.Request = s }},
	{"EIC_KEY_TYPE", maxValue, func(e *Event) string { return e.KeyType }, func(e *Event, s string) { e.KeyType = s }},
	{"EIC_KEY_BITS", maxValue, func(e *Event) string { return formatNumber(e.KeyBits) }, func(e *Event, s string) { e.KeyBits = parseNumber(s) }},
	{"EIC_FINGERPRINT_MD5", maxValue, func(e *Event) string { return e.FingerprintMD5 }, func(e *Event, s string) { e.FingerprintMD5 = s }},
	{"EIC_EXPIRES", maxValue, func(e *Event) string { return formatTime(e.Expires) }, func(e *Event, s string) { e.Expires = parseTime(s) }},
	{"EIC_INSTANCE_ID", maxValue, func(e *Event) string { return e.Instance }, func(e *Event, s string) { e.Instance = s }},
	{"EIC_PORT", maxValue, func(e *Event) string { return e.Port }, func(e *Event, s string) { e.Port = s }},
	{"EIC_SSHD_PID", maxValue, func(e *Event) string { return formatNumber(e.SSHDPID) }, func(e *Event, s string) { e.SSHDPID = parseNumber(s) }},
	{"EIC_SESSION_ID", maxValue, func(e *Event) string { return e.Session }, func(e *Event, s string) { e.Session = s }},
	{"EIC_HOST", maxValue, func(e *Event) string { return e.HostName }, func(e *Event, s string) { e.HostName = s }},
	{"EIC_MACHINE_ID", maxValue, func(e *Event) string { return e.MachineID }, func(e *Event, s string) { e.MachineID = s }},
	{"EIC_BOOT_ID", maxValue, func(e *Event) string { return e.BootID }, func(e *Event, s string) { e.BootID = s }},
	{"EIC_ADDRESS", maxValue, func(e *Event) string { return e.Address }, func(e *Event, s string) { e.Address = s }},
	{"EIC_ADDRESS_PORT", maxValue, func(e *Event) string { return e.AddressPort }, func(e *Event, s string) { e.AddressPort = s }},
	{"EIC_METHOD", maxValue, func(e *Event) string { return e.Method }, func(e *Event, s string) { e.Method = s }},
	{"EIC_STARTED", maxValue, func(e *Event) string { return formatMicro(e.Started) }, func(e *Event, s string) { e.Started = parseTime(s) }},
	{"EIC_ENDED", maxValue, func(e *Event) string { return formatMicro(e.Ended) }, func(e *Event, s string) { e.Ended = parseTime(s) }},
	{"EIC_END_TOLD_BY", maxValue, func(e *Event) string { return e.EndToldBy }, func(e *Event, s string) { e.EndToldBy = s }},
	{"EIC_PUSHES", maxValue, func(e *Event) string { return formatNumber(e.Pushes) }, func(e *Event, s string) { e.Pushes = parseNumber(s) }},
	{FieldLost, maxValue, func(e *Event) string { return formatNumber(e.Lost) }, func(e *Event, s string) { e.Lost = parseNumber(s) }},
	{"EIC_SCHEMA", maxValue, func(*Event) string { return schemaVersion }, func(*Event, string) {}},
}

// FieldNames returns the journal fields that Decode reads.
func FieldNames() []string {
	names := []string{fieldMessage, fieldMessageID}
	for _, c := range columns {
		names = append(names, c.name)
	}
	return names
}

// Encode returns the fields of e other than MESSAGE. Empty ones are left out.
func Encode(e Event) []zap.Field {
	var fs []zap.Field
	if id := e.Kind.messageID(); id != "" {
		fs = append(fs, zap.String(fieldMessageID, id))
	}
	for _, c := range columns {
		if value := c.get(&e); value != "" {
			fs = append(fs, zap.String(c.name, Clean(value, c.limit)))
		}
	}
	return fs
}

// Decode returns the event of a journal record, whose fields get returns: "" for
// one that the record lacks or has more than once. It reads a record that came by
// way of syslog, too, whose fields are part of MESSAGE. ok is false where the
// record is not an event. Decode does not check who wrote the record.
func Decode(get func(name string) string) (e Event, ok bool) {
	e.Message = get(fieldMessage)
	if get(fieldEvent) == "" {
		message, fields := splitLine(e.Message)
		e.Message = message
		get = func(name string) string { return fields[name] }
	}
	for _, c := range columns {
		if value := get(c.name); value != "" {
			c.set(&e, value)
		}
	}
	return e, e.Kind != ""
}

func formatNumber(n int) string {
	if n <= 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// parseNumber returns 0 for what is no positive number of at most 31 bits.
func parseNumber(s string) int {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

// formatTime returns "" for a time that RFC 3339 cannot express, such as one a
// record of a stranger claims.
func formatTime(t time.Time) string {
	if t = t.UTC(); t.IsZero() || t.Year() < 0 || t.Year() > 9999 {
		return ""
	}
	return t.Format(time.RFC3339)
}

// formatMicro is formatTime with microseconds.
func formatMicro(t time.Time) string {
	if formatTime(t) == "" {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000Z07:00")
}

func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || formatTime(t) == "" {
		return time.Time{}
	}
	return t.UTC()
}

// splitLine undoes syslogLine. fields is nil for a line without an event.
func splitLine(line string) (message string, fields map[string]string) {
	message, rest, ok := strings.Cut(line, " "+fieldEvent+"=")
	if !ok {
		return line, nil
	}
	fields = make(map[string]string)
	for name := fieldEvent; ok; name, rest, ok = strings.Cut(strings.TrimPrefix(rest, " "), "=") {
		value := rest
		// QuotedPrefix takes other quotes than ours, too.
		if quoted, err := strconv.QuotedPrefix(rest); err == nil && quoted[0] == '"' {
			value, rest = quoted, rest[len(quoted):]
			value, _ = strconv.Unquote(value)
		} else if i := strings.IndexByte(rest, ' '); i >= 0 {
			value, rest = rest[:i], rest[i:]
		} else {
			rest = ""
		}
		fields[name] = value
	}
	return message, fields
}
