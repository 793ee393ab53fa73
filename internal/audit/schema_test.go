package audit

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/journal"

	"github.com/eic-agent/eic-agent/internal/reason"
)

// parseRecord reads journald's native protocol.
func parseRecord(t *testing.T, b []byte) map[string]string {
	t.Helper()
	fields := make(map[string]string)
	for len(b) > 0 {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok {
			t.Fatalf("%q does not end", b)
		}
		name, value, ok := strings.Cut(string(line), "=")
		if !ok {
			n := binary.LittleEndian.Uint64(rest)
			value, rest = string(rest[8:8+n]), rest[8+n+1:]
		}
		if _, twice := fields[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		fields[name], b = value, rest
	}
	return fields
}

func decodeBoth(t *testing.T, e Event) (byJournal, bySyslog Event) {
	t.Helper()
	fs, message := Encode(e), Clean(e.Message, maxMessage)
	record := parseRecord(t, journalRecord(journal.PriInfo, "prog", message, fs))
	byJournal, _ = Decode(func(name string) string { return record[name] })
	line := syslogLine(message, fs)
	bySyslog, _ = Decode(func(name string) string { return map[string]string{"MESSAGE": line}[name] })
	return byJournal, bySyslog
}

// What is written is read, on both ways.
func TestDecode(t *testing.T) {
	t.Parallel()
	want := fullEvent()
	want.Expires = want.Expires.UTC()
	byJournal, bySyslog := decodeBoth(t, want)
	if byJournal != want || bySyslog != want {
		t.Errorf("got  %+v\nand  %+v\nwant %+v", byJournal, bySyslog, want)
	}
	for _, fields := range []map[string]string{
		{}, {"MESSAGE": "EIC_EVENT=x"}, {"MESSAGE": "m EIC_EVENT="}, {"EIC_USER": "x"},
	} {
		if e, ok := Decode(func(name string) string { return fields[name] }); ok {
			t.Errorf("%v is taken for %+v", fields, e)
		}
	}
	bad := map[string]string{"EIC_EVENT": "x", "EIC_SSHD_PID": "-1", "EIC_LOST": "99999999999", "EIC_EXPIRES": "10000-01-01T00:00:00Z"}
	if e, ok := Decode(func(name string) string { return bad[name] }); !ok || e != (Event{Kind: "x"}) {
		t.Errorf("%+v", e)
	}
}

func FuzzSchema(f *testing.F) {
	f.Add("key-provided", "message", "expired", "alice", "arn:aws:iam::1:user/x", int64(1772366405), 4711)
	f.Add("x", "m EIC_USER=root", `"`, "a b", `\"`, int64(-1), -1)
	f.Add("x", "a\nEIC_EVENT=y", "\x00EIC_EVENT=", "EIC_", "\u2028\u202e\xff", int64(1)<<60, 1<<40)
	f.Add("EIC_EVENT=", " EIC_EVENT=", " ", "=", strings.Repeat(`\`, maxCaller), int64(0), 0)
	f.Fuzz(func(t *testing.T, kind, message, word, user, caller string, expires int64, pid int) {
		if kind == "" {
			return
		}
		e := Event{
			Kind: Kind(kind), Message: message, Reason: reason.Word(word), User: user, Fingerprint: user, FingerprintMD5: word, KeyType: kind,
			Caller: caller, Request: user, Instance: word, Port: user, Expires: time.Unix(expires, 0), SSHDPID: pid, Lost: pid, KeyBits: pid,
		}
		want := e
		for _, s := range []*string{&want.User, &want.Fingerprint, &want.FingerprintMD5, &want.KeyType, &want.Request, &want.Instance, &want.Port} {
			*s = Clean(*s, maxValue)
		}
		want.Message, want.Caller = Clean(e.Message, maxMessage), Clean(e.Caller, maxCaller)
		want.Kind, want.Reason = Kind(Clean(kind, maxValue)), reason.Word(Clean(word, maxValue))
		want.Expires = parseTime(formatTime(e.Expires))
		want.SSHDPID, want.Lost, want.KeyBits = parseNumber(formatNumber(pid)), parseNumber(formatNumber(pid)), parseNumber(formatNumber(pid))
		byJournal, bySyslog := decodeBoth(t, e)
		if byJournal != want {
			t.Errorf("by the journal: got  %+v\nwant %+v", byJournal, want)
		}
		for _, s := range []*string{&want.Message, &want.User, &want.Fingerprint, &want.FingerprintMD5, &want.KeyType, &want.Caller, &want.Request, &want.Instance, &want.Port} {
			*s = disarm(*s)
		}
		want.Kind, want.Reason = Kind(disarm(string(want.Kind))), reason.Word(disarm(string(want.Reason)))
		if bySyslog != want {
			t.Errorf("by syslog: got  %+v\nwant %+v", bySyslog, want)
		}
	})
}
