package authkeys

import (
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// TestEvents: an event tells all that its record does.
func TestEvents(t *testing.T) {
	t.Parallel()
	const (
		caller  = "arn:aws:sts::123456789012:assumed-role/dba/alice"
		request = "b6d4a1f8-3f0c-4d3c-9a5e-2f1f9d6f0a11"
	)
	for name, test := range map[string]struct {
		word            reason.Word // "" for a grant
		says            string      // how it begins, with KEY for the fingerprint
		caller, request string
		expires         bool
	}{
		"record-ok":                   {"", `gave sshd the key KEY for user "ec2-user", pushed by ` + caller, caller, request, true},
		"record-no-caller-no-request": {"", `gave sshd the key KEY for user "ec2-user", pushed by an unnamed caller`, "", "", true},
		"instance-other":              {reason.WrongInstance, `refused the key KEY for user "ec2-user" (wrong-instance): the record is for instance`, caller, request, true},
		"key-not-a-key":               {reason.Malformed, `refused a record for user "ec2-user" (malformed): the key line is`, caller, request, true},
		"timestamp-text":              {reason.Malformed, `refused the key KEY for user "ec2-user" (malformed): the Timestamp "tomorrow"`, caller, request, false},
	} {
		v := readVector(t, name)
		want := audit.Event{Kind: audit.KeyProvided, Reason: test.word, User: v.User, Instance: v.Instance, Caller: test.caller, Request: test.request}
		if test.word != "" {
			want.Kind = audit.RecordRefused
		}
		if test.expires {
			want.Expires = v.Now.Add(45 * time.Second)
		}
		for record := range keyrecord.Records(v.Served()[keysPath+v.User+"/"]) {
			if blob := record.Blob(); blob != nil {
				want.KeyType, want.Fingerprint, want.FingerprintMD5 = record.KeyType(), fingerprint.SHA256(blob), fingerprint.MD5(blob)
			}
		}
		for _, attest := range []string{config.AttestAuto, config.AttestIMDS} {
			if attest == config.AttestIMDS && test.word == reason.Malformed {
				continue // the instance is not asked for
			}
			answer, _, err := v.run(t, attest)
			if err != nil || len(answer.Events) != 1 {
				t.Fatalf("%s: %d events, %v", name, len(answer.Events), err)
			}
			got := answer.Events[0]
			if says := strings.Replace(test.says, "KEY", want.Fingerprint, 1); !strings.HasPrefix(got.Message, says) || test.word == "" && got.Message != says {
				t.Errorf("%s: it says\n%s, want\n%s", name, got.Message, says)
			}
			if hint := "; " + test.word.Hint(); test.word != "" && !strings.HasSuffix(got.Message, hint) {
				t.Errorf("%s: it says\n%s, want it to end in\n%s", name, got.Message, hint)
			}
			if !got.Expires.Equal(want.Expires) {
				t.Errorf("%s: it expires at %v, want %v", name, got.Expires, want.Expires)
			}
			got.Message, got.Expires = want.Message, want.Expires
			if got != want {
				t.Errorf("%s, %s:\ngot  %+v\nwant %+v", name, attest, got, want)
			}
		}
	}
}
