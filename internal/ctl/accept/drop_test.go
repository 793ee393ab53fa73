package accept

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/ctl/sshlog"
)

// Who is dropped, by which limit and until when follows from what the listener logs.
func TestDrops(t *testing.T) {
	t.Parallel()
	const (
		drop     = "drop connection #0 from [10.0.0.1]:5 on [10.9.9.9]:22 penalty: failed authentication"
		penal    = "srclimit_penalise: ipv4: new 10.0.0.1/32 active penalty of 30 seconds for penalty: failed authentication"
		network  = "srclimit_penalise: 10.0.0.9/24: activating ipv4 penalty of 40.000 seconds for penalty: failed authentication"
		deferred = "srclimit_penalise: ipv4: new 10.0.0.1/32 deferred penalty of 1 seconds for penalty: failed authentication"
		startups = "drop connection #%d from [10.0.0.1]:5 on [10.9.9.9]:22 Maxstartups"
	)
	began := time.Date(2026, 5, 6, 7, 8, 0, 0, time.UTC)
	for _, c := range []struct {
		name, from string
		records    []string // one each second
		want       []string // id, status, what the text has
	}{
		{"sshd logs for how long", "10.0.0.1", []string{deferred, penal, drop, drop}, []string{"client-penalty refuses", "from 10.0.0.1 as", "dropped 2 times, last at 2026-05-06T07:08:03Z: \"drop connection #0", "by 2026-05-06T07:08:31Z"}},
		{"sshd does not", "10.0.0.1", []string{drop}, []string{"client-penalty refuses", "dropped once, last", "by 2026-05-06T07:18:00Z"}},
		{"some client's", "", []string{drop}, []string{"client-penalty unknown", "from 10.0.0.1 as"}},
		{"another client's", "10.0.0.2", []string{penal, drop}, nil},
		{"the client's network", "10.0.0.2", []string{network, drop}, []string{"client-penalty refuses", "from 10.0.0.0/24 as", "by 2026-05-06T07:08:40Z"}},
		{"nobody was dropped", "10.0.0.1", []string{penal}, nil},
		{"it is over", "10.0.0.1", append([]string{penal, drop}, slices.Repeat([]string{"x"}, 40)...), nil},
		{"too many logins", "10.0.0.1", []string{fmt.Sprintf(startups, 12)}, []string{"max-startups note", "MaxStartups is 10:30:100"}},
		{"too many of one", "10.0.0.1", []string{fmt.Sprintf(startups, 3)}, []string{"max-startups note", "PerSourceMaxStartups is 2"}},
		{"both", "10.0.0.1", []string{drop, "error: beginning MaxStartups throttling"}, []string{"client-penalty refuses", "max-startups note", "MaxStartups is 10:30:100", `"error: beginning MaxStartups throttling"`}},
		{"another reason", "10.0.0.1", []string{"drop connection #0 from [10.0.0.1]:5 on [10.9.9.9]:22 because"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := access("alice", "PerSourcePenalties authfail:5 max:600 min:15", "MaxStartups 10:30:100", "PerSourceMaxStartups 2")
			a.conn.Addr = c.from
			var d drops
			now := began
			for _, text := range c.records {
				d.add(journal.SSHRecord{Time: now, Text: text, Message: sshlog.Parse(text)}, a.longestPenalty())
				now = now.Add(time.Second)
			}
			var got []string
			for _, l := range d.limits(t.Context(), a, now) {
				got = append(got, fmt.Sprint(l.ID, " ", l.Status, " ", l.Text))
			}
			text := strings.Join(got, "\n")
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in %q", want, text)
				}
			}
			if len(c.want) == 0 && text != "" {
				t.Errorf("%q", text)
			}
		})
	}
}
