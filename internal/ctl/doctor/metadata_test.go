package doctor

import (
	"net/http"
	"testing"

	"github.com/eic-agent/eic-agent/internal/config"
)

// Only a connection that fails shows a firewall that lets root through: a service
// that answers now in time and now not does so for every client.
func TestOnlyRootIsAnswered(t *testing.T) {
	t.Parallel()
	const endpoint = "http://169.254.169.254"
	good := contact{Endpoint: endpoint, HasToken: true, Token: exchange{Sent: true, Status: http.StatusOK}, Entry: exchange{Sent: true, Status: http.StatusOK}}
	cfg := config.Default() // for any machine
	cfg.Instance.Attest = config.AttestIMDS
	for _, c := range []struct {
		name   string
		asUser contact
		want   string
	}{
		{"dropped", contact{Endpoint: endpoint, Dial: failTimeout}, "imds-firewalled"},
		{"refused", contact{Endpoint: endpoint, Dial: failRefused}, "imds-firewalled"},
		{"no token in time", contact{Endpoint: endpoint, Token: exchange{Sent: true, Fail: failTimeout}, Entry: exchange{Sent: true, Status: http.StatusUnauthorized}}, "imds-slow"},
		{"no entry in time", contact{Endpoint: endpoint, HasToken: true, Token: good.Token, Entry: exchange{Sent: true, Fail: failTimeout}}, "imds-slow"},
		{"turned off in the meantime", contact{Endpoint: endpoint, Token: exchange{Sent: true, Status: http.StatusForbidden}, Entry: exchange{Sent: true, Status: http.StatusForbidden}}, "imds-disabled"},
	} {
		e := &exam{ctx: t.Context(),
			config: func() settings { return settings{cfg: cfg, path: config.DefaultPath} },
			probe: func() probed {
				return probed{probeReport: probeReport{UID: 990, Contact: c.asUser}, as: "eic-agent", asked: true}
			},
			own: func() contact { return good },
		}
		var f findings
		if checkMetadata(e, &f); len(f.all) != 1 || f.all[0].ID != c.want || f.all[0].Status != Problem {
			t.Errorf("%s: %+v, want %s", c.name, f.all, c.want)
		}
	}
}
