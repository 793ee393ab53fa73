package audit

import (
	"strings"
	"testing"

	"go.uber.org/zap"
)

func TestSyslogLine(t *testing.T) {
	t.Parallel()
	const want = `gave sshd a key for user alice EIC_EVENT=key-provided EIC_REASON=expired EIC_USER=alice` +
		` EIC_FINGERPRINT=SHA256:AbC+/d EIC_CALLER=arn:aws:sts::123456789012:assumed-role/ops/alice@example.com` +
		` EIC_REQUEST_ID=abcd1234-abcd-1234-abcd-1234abcd1234 EIC_KEY_TYPE=ssh-ed25519 EIC_KEY_BITS=3072 EIC_FINGERPRINT_MD5=MD5:00:11` +
		` EIC_EXPIRES=2026-03-01T11:00:05Z EIC_INSTANCE_ID=i-0123456789abcdef0 EIC_PORT=0 EIC_SSHD_PID=4711 EIC_SESSION_ID=0123456789abcdef0123456789abcdef EIC_HOST=host EIC_MACHINE_ID=11111111111111111111111111111111 EIC_BOOT_ID=22222222222222222222222222222222 EIC_ADDRESS=10.0.0.1 EIC_ADDRESS_PORT=40100 EIC_METHOD=keyboard-interactive/pam EIC_STARTED=2026-03-01T11:00:05.000001Z EIC_ENDED=2026-03-01T11:00:06.000001Z EIC_END_TOLD_BY=sshd EIC_PUSHES=2 EIC_LOST=3 EIC_SCHEMA=1`
	e := fullEvent()
	if got := syslogLine(e.Message, Encode(e)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSyslogLineQuotes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ message, value, want string }{
		{"m", "a", "m EIC_X=a"},
		{"m", "a b", `m EIC_X="a b"`},
		{"m", `a"b\`, `m EIC_X="a\"b\\"`},
		{"m", "session=x,y", "m EIC_X=session=x,y"},
		{"m", "role/MY_EIC_ROLE", "m EIC_X=role/MY_EIC_ROLE"},
		{"m", "a EIC_USER=root", `m EIC_X="a EIC_USER:root"`},
		{"bad user EIC_USER=root", "a", "bad user EIC_USER:root EIC_X=a"},
		{"EIC_=1 _EIC_USER=2 EIC-USER=3", "a", "EIC_:1 _EIC_USER:2 EIC-USER=3 EIC_X=a"},
	} {
		got := syslogLine(tt.message, []zap.Field{zap.String("EIC_X", tt.value), zap.String("MESSAGE_ID", "1")})
		if got != tt.want {
			t.Errorf("%q, %q: got %s, want %s", tt.message, tt.value, got, tt.want)
		}
	}
}

func TestSyslogLineDropsWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	long := strings.Repeat(`"`, maxLine/2)
	got := syslogLine("m", []zap.Field{zap.String("EIC_A", "a"), zap.String("EIC_LONG", long), zap.String("EIC_B", "b")})
	if want := "m EIC_A=a EIC_B=b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzSyslogLine(f *testing.F) {
	f.Add("message", "alice", "arn:aws:iam::1:user/x")
	f.Add("m EIC_USER=root", "a b", `"\`)
	f.Add("a\nb", "\x00EIC_EVENT=", "\u2028\u202e\xff")
	f.Add(strings.Repeat("\n", maxMessage), strings.Repeat(`"`, maxValue), strings.Repeat(`\`, maxCaller))
	f.Fuzz(func(t *testing.T, message, user, caller string) {
		fs := Encode(Event{Kind: RecordRefused, User: user, Caller: caller})
		line := syslogLine(Clean(message, maxMessage), fs)
		checkClean(t, line, maxLine)
		for _, name := range []string{"EIC_EVENT=", "EIC_USER=", "EIC_CALLER="} {
			if n := strings.Count(line, name); n > 1 {
				t.Errorf("%q holds %s %d times", line, name, n)
			}
		}
	})
}
