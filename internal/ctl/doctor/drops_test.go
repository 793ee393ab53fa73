package doctor

import (
	"testing"
	"time"
)

func TestPenalty(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text   string
		client string
		lasts  time.Duration
	}{
		{"srclimit_penalise: 127.0.0.1/32: activating ipv4 penalty of 19.635 seconds for penalty: failed authentication", "127.0.0.1", 19635 * time.Millisecond},
		{"srclimit_penalise: 127.0.0.1/32: activating ipv4 penalty of 18 seconds for penalty: failed authentication", "127.0.0.1", 18 * time.Second},
		{"2001:db8::1/128: new ipv6 active penalty of 90 seconds for penalty: caused crash", "2001:db8::1", 90 * time.Second},
		{"10.0.0.0/24: new ipv4 active penalty of 5 seconds for penalty: failed authentication", "10.0.0.0/24", 5 * time.Second},
		{"10.0.0.1/32: new ipv4 deferred penalty of 5 seconds for penalty: failed authentication", "", 0},
		{"drop connection #0 from [10.0.0.1]:5 on [10.0.0.2]:22 penalty: failed authentication", "", 0},
	} {
		client, lasts, ok := penalty(test.text)
		if client != test.client || lasts != test.lasts || ok != (test.client != "") {
			t.Errorf("%q: %q for %v, %v", test.text, client, lasts, ok)
		}
	}
}
