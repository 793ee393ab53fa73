package audit

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/eic-agent/eic-agent/internal/reason"
)

// fullEvent has every field set.
func fullEvent() Event {
	return Event{
		Kind:           KeyProvided,
		Message:        "gave sshd a key for user alice",
		Reason:         reason.Expired,
		User:           "alice",
		Fingerprint:    "SHA256:AbC+/d",
		FingerprintMD5: "MD5:00:11",
		KeyType:        "ssh-ed25519",
		KeyBits:        3072,
		Caller:         "arn:aws:sts::123456789012:assumed-role/ops/alice@example.com",
		Request:        "abcd1234-abcd-1234-abcd-1234abcd1234",
		Instance:       "i-0123456789abcdef0",
		Port:           "0",
		Expires:        time.Date(2026, 3, 1, 12, 0, 5, 0, time.FixedZone("", 3600)),
		SSHDPID:        4711,
		Session:        "0123456789abcdef0123456789abcdef",
		HostName:       "host",
		MachineID:      "11111111111111111111111111111111",
		BootID:         "22222222222222222222222222222222",
		Address:        "10.0.0.1",
		AddressPort:    "40100",
		Method:         "keyboard-interactive/pam",
		Started:        time.Date(2026, 3, 1, 11, 0, 5, 1000, time.UTC),
		Ended:          time.Date(2026, 3, 1, 11, 0, 6, 1000, time.UTC),
		EndToldBy:      "sshd",
		Pushes:         2,
		Lost:           3,
	}
}

func fullFields() map[string]string {
	return map[string]string{
		"MESSAGE_ID":          KeyProvided.messageID(),
		"EIC_EVENT":           "key-provided",
		"EIC_REASON":          "expired",
		"EIC_USER":            "alice",
		"EIC_FINGERPRINT":     "SHA256:AbC+/d",
		"EIC_FINGERPRINT_MD5": "MD5:00:11",
		"EIC_KEY_TYPE":        "ssh-ed25519",
		"EIC_KEY_BITS":        "3072",
		"EIC_CALLER":          "arn:aws:sts::123456789012:assumed-role/ops/alice@example.com",
		"EIC_REQUEST_ID":      "abcd1234-abcd-1234-abcd-1234abcd1234",
		"EIC_INSTANCE_ID":     "i-0123456789abcdef0",
		"EIC_PORT":            "0",
		"EIC_EXPIRES":         "2026-03-01T11:00:05Z",
		"EIC_SSHD_PID":        "4711",
		"EIC_SESSION_ID":      "0123456789abcdef0123456789abcdef",
		"EIC_HOST":            "host",
		"EIC_MACHINE_ID":      "11111111111111111111111111111111",
		"EIC_BOOT_ID":         "22222222222222222222222222222222",
		"EIC_ADDRESS":         "10.0.0.1",
		"EIC_ADDRESS_PORT":    "40100",
		"EIC_METHOD":          "keyboard-interactive/pam",
		"EIC_STARTED":         "2026-03-01T11:00:05.000001Z",
		"EIC_ENDED":           "2026-03-01T11:00:06.000001Z",
		"EIC_END_TOLD_BY":     "sshd",
		"EIC_PUSHES":          "2",
		"EIC_LOST":            "3",
		"EIC_SCHEMA":          "1",
	}
}

func asMap(e Event) map[string]string {
	m := make(map[string]string)
	for _, f := range Encode(e) {
		m[f.Key] = f.String
	}
	return m
}

func TestFields(t *testing.T) {
	t.Parallel()
	if got, want := asMap(fullEvent()), fullFields(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	got := asMap(Event{Kind: RunFailed})
	want := map[string]string{"MESSAGE_ID": RunFailed.messageID(), "EIC_EVENT": "run-failed", "EIC_SCHEMA": "1"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("nothing but the kind: got %q, want %q", got, want)
	}
}

// go-systemd complains on stderr about names that journald would not take, and
// sends as they are whatever does not hold a line feed.
func TestFieldsFitJournal(t *testing.T) {
	t.Parallel()
	hostile := strings.Repeat("x\n\xffEIC_USER=root\u2028", 10000)
	e := Event{
		Kind: Kind(hostile), Reason: reason.Word(hostile), User: hostile, Fingerprint: hostile,
		FingerprintMD5: hostile, KeyType: hostile, Caller: hostile, Request: hostile,
		Instance: hostile, Port: hostile, Expires: time.Now(), SSHDPID: 1,
	}
	name := regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`)
	total := maxMessage
	seen := make(map[string]bool)
	for _, f := range Encode(e) {
		if f.Type != zapcore.StringType || !name.MatchString(f.Key) || seen[f.Key] {
			t.Errorf("field %q of type %v, seen before: %v", f.Key, f.Type, seen[f.Key])
		}
		seen[f.Key] = true
		checkClean(t, f.String, maxCaller)
		total += len(f.Key) + len("=") + len(f.String) + len("\n")
	}
	if total > 8<<10 {
		t.Errorf("a record can have %d bytes", total)
	}
}
