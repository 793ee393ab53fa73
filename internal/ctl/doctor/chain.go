package doctor

import (
	"cmp"
	"fmt"
	"time"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/ctl/keys"
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/internal/signer"
)

// endsSoon is how long before its end a signer that is not renewed is a problem.
// Staples hold for days, and are renewed long before they end.
const endsSoon = 30 * time.Minute

// chainFault says why nothing can be proved, or returns "".
func (e *exam) chainFault() string {
	p := e.probe()
	switch {
	case p.unreached() != "":
		return p.unreached()
	case p.Keys == nil, p.Keys.Nothing != "" && p.Keys.Signer == nil:
		return "this host is not identified as an EC2 instance"
	case p.Keys.Signer == nil:
		return "the metadata service returned no records"
	case !p.Keys.Signer.Proved:
		return "the signing chain is not verified"
	}
	return ""
}

// checkChain reports the signing chain with its staples as served to the
// command's account.
func checkChain(e *exam, f *findings) {
	const id = "signer"
	p := e.probe()
	if why := p.unreached(); why != "" {
		f.unknown(id, "%s", because(why))
		return
	}
	if p.Keys == nil || p.Keys.Signer == nil {
		if p.Keys != nil && p.Keys.Error != nil {
			problemByReason(f, p.Keys.Error)
			return
		}
		f.unknown(id, "%s", because(e.chainFault()))
		return
	}
	s := p.Keys.Signer
	region, domain := p.Facts[factRegion], p.Facts[factDomain]
	switch {
	case s.Proved:
		f.ok(id, "the signing chain of %s in %s is valid until %s", s.Region, s.Domain, stamp(s.ValidUntil))
		left := time.Duration(0)
		if s.ValidUntil != nil {
			left = s.ValidUntil.Sub(e.now)
		}
		if !e.clock().wrong() && left < endsSoon {
			f.problem(signerEndsSoon, advice("wait for the metadata service to renew it; contact AWS Support if it does not"), "the signing chain expires in %v, and the metadata service has no newer one", left.Round(time.Second))
		}
	case p.Facts[factChain].Missing:
		f.problem(signerMissing, advice("check that EC2 Instance Connect is available in this region, and which server answers as the metadata service on this host"),
			"the metadata service has no managed-ssh-keys/signer-cert: it does not support EC2 Instance Connect")
	case region.Missing || domain.Missing || region.Value == "" || domain.Value == "" || !signer.IsRegion(region.Value) || !config.IsDomain(domain.Value):
		f.unknown(id, "%s", because("the metadata service does not return region and domain, which the signer's name contains"))
	case timely(s.Fault) && e.clock().wrong():
		f.unknown(id, "%s", because("this host's clock is wrong, which may be the cause: "+s.Fault.Detail))
	case word(s.Fault) == reason.SignerUntrusted && outdated(s.Certificates, e.now) != "":
		f.problem(signerExpired, advice("contact AWS Support, and find out which server answers as the metadata service on this host"), "the signing chain is not valid now: %s", outdated(s.Certificates, e.now))
	default:
		problemByReason(f, s.Fault)
	}
	for _, c := range s.Certificates {
		switch {
		case c.Fault != nil: // which is the chain's
		case !validAt(c, e.now) && s.Proved:
			f.ok("certificate", "%s is not valid now, but is not needed", c.Subject)
		case !validAt(c, e.now):
			f.unknown("certificate", "%s is valid from %s to %s, not now", c.Subject, stamp(c.NotBefore), stamp(c.NotAfter))
		default:
			f.ok("certificate", "%s, issued by %s, is valid from %s to %s", c.Subject, c.Issuer, stamp(c.NotBefore), stamp(c.NotAfter))
		}
	}
	for _, c := range s.Staples {
		switch {
		case c.Fault == nil:
			f.ok("staple", "the staple of %s is valid from %s to %s", cmp.Or(c.Certificate, "an unknown certificate"), stamp(c.ThisUpdate), stamp(c.NextUpdate))
		case s.Proved:
			f.ok("staple", "an unneeded staple is not valid: %s", c.Fault.Detail)
		default:
			f.unknown("staple", "the staple of %s is not valid: %s", cmp.Or(c.Certificate, "an unknown certificate"), c.Fault.Detail)
		}
	}
}

// outdated names the first certificate that is not valid now, or returns "".
func outdated(certificates []keys.Certificate, now time.Time) string {
	for _, c := range certificates {
		if c.Fault == nil && !validAt(c, now) {
			return fmt.Sprintf("%s is valid from %s to %s", c.Subject, stamp(c.NotBefore), stamp(c.NotAfter))
		}
	}
	return ""
}

func validAt(c keys.Certificate, now time.Time) bool {
	return c.NotBefore != nil && c.NotAfter != nil && !now.Before(*c.NotBefore) && !now.After(*c.NotAfter)
}

// timely reports whether a fault may come from a wrong clock.
func timely(fault *keys.Fault) bool {
	switch word(fault) {
	case reason.StapleStale, reason.SignerUntrusted, reason.StapleUntrusted:
		return true
	}
	return false
}

// problemByReason is a problem that has the word of the journal as its id.
func problemByReason(f *findings, fault *keys.Fault) {
	switch {
	case fault == nil:
		f.unknown("signer", "the signing chain is not verified, for an unknown reason")
		return
	case fault.Reason == reason.Config: // reported by checkSettings
		f.unknown("signer", "%s", because("the trusted roots cannot be used"))
		return
	case fault.Reason == reason.BoardUnreadable: // reported by checkInstance
		f.unknown("signer", "%s", because("the instance ID is unknown"))
		return
	}
	f.problem(entryOf(string(fault.Reason)), advice("%s", fault.Hint), "%s", fault.Detail)
}

func stamp(t *time.Time) string {
	if t == nil {
		return "an unknown time"
	}
	return t.Format(time.RFC3339)
}
