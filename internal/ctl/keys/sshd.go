package keys

import (
	"context"

	"github.com/eic-agent/eic-agent/internal/ctl/accept"
)

// HoldAgainst adds what sshd makes of the user, of the connections that it dropped and of
// each key that is granted. err says why sshd could not be asked.
func (r *Report) HoldAgainst(ctx context.Context, access *accept.Access, err error) {
	if err != nil {
		r.SSHD = long(err.Error())
	} else {
		r.Login = access.User(ctx)
		// A journal that cannot be read shows no drop; eicctl doctor says why.
		dropped, _ := access.Drops(ctx, r.Time)
		r.Login = append(r.Login, dropped...)
		for i := range r.Login {
			r.Login[i].Text = long(r.Login[i].Text)
		}
	}
	for i := range r.Records {
		check := Check{Check: "sshd", Verdict: NotChecked}
		record := &r.Records[i]
		key, keyErr := accept.KeyOf(record.PublicKey)
		switch {
		case err != nil:
			check.Detail = r.SSHD
		case record.Granted && keyErr == nil:
			check = ofLimits(access.Key(ctx, key))
		}
		record.Checks = append(record.Checks, check)
	}
}

func ofLimits(limits []accept.Limit) Check {
	check := Check{Check: "sshd", Verdict: OK, Detail: "sshd accepts a key of this type and size for the user"}
	for _, limit := range limits {
		if check.Verdict == Refused {
			break
		}
		check.Detail, check.Fix = long(limit.Text), limit.Fix
		switch limit.Status {
		case accept.Refuses:
			check.Verdict = Refused
		case accept.Unknown:
			check.Verdict = NotChecked
		}
	}
	return check
}

// Accepted counts the records that are granted and that sshd does not refuse. Where the
// user is kept out there is none.
func (r Report) Accepted() int {
	for _, limit := range r.Login {
		if limit.Status == accept.Refuses {
			return 0
		}
	}
	n := r.Granted
	for _, record := range r.Records {
		if record.refusedBySSHD() {
			n--
		}
	}
	return n
}

func (r Record) refusedBySSHD() bool {
	last := len(r.Checks) - 1
	return r.Granted && last >= 0 && r.Checks[last].Check == "sshd" && r.Checks[last].Verdict == Refused
}
