package signing

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/eic-agent/eic-agent/internal/emulator/fault"
	"github.com/eic-agent/eic-agent/internal/emulator/pki"
)

// ForeignDomain is nobody's; ForeignDomainFault has the signer named for it, and
// the metadata service say so. foreignRegion is not the instance's.
const (
	ForeignDomain      = "example.net"
	ForeignDomainFault = "foreign-domain"
	foreignRegion      = "xx-nowhere-1"
)

// A signerFault says what a fault does to the chain or to each staple.
type signerFault struct {
	fault.Rule
	leaf, chain func(*plan)
	staple      func(*plan, *staplePlan)
}

// Faults returns those of the chain and the staples.
func Faults() []fault.Rule {
	var all []fault.Rule
	for _, f := range listOfFaults() {
		all = append(all, f.Rule)
	}
	return all
}

var signerFaults = func() map[string]signerFault {
	all := make(map[string]signerFault)
	for _, f := range listOfFaults() {
		all[f.Name] = f
	}
	return all
}()

func listOfFaults() []signerFault {
	rule := func(name, doc string) fault.Rule {
		return fault.Rule{Kind: fault.Kind{Name: name, Layer: fault.LayerSigner, Doc: doc}}
	}
	leaf := func(name, doc string, change func(*plan)) signerFault {
		return signerFault{Rule: rule(name, doc), leaf: change}
	}
	chain := func(name, doc string, change func(*plan)) signerFault {
		return signerFault{Rule: rule(name, doc), chain: change}
	}
	staple := func(name, doc string, change func(*plan, *staplePlan)) signerFault {
		f := signerFault{Rule: rule(name, doc), staple: change}
		f.Staple = true
		return f
	}
	foreign := leaf(ForeignDomainFault, fmt.Sprintf("services/domain is %s, and the signer has that domain under the trusted root.", ForeignDomain),
		func(p *plan) { p.domain = ForeignDomain })
	foreign.Fact = true
	return []signerFault{
		leaf("leaf-expired", "The signer's certificate expired an hour ago.", func(p *plan) {
			p.change = func(c *x509.Certificate) { c.NotAfter = p.now.Add(-time.Hour) }
		}),
		leaf("leaf-future", "The signer's certificate is valid from an hour from now.", func(p *plan) {
			p.change = func(c *x509.Certificate) { c.NotBefore = p.now.Add(time.Hour) }
		}),
		leaf("leaf-region", "The signer is that of another region.", func(p *plan) { p.region = foreignRegion }),
		leaf("leaf-name-only", "The signer's certificate has a common name but no SAN.", func(p *plan) {
			p.change = func(c *x509.Certificate) { c.DNSNames = nil }
		}),
		foreign,
		leaf("chain-foreign", "The chain leads to an untrusted root with the same name.", func(p *plan) { p.h = p.foreign }),
		chain("chain-empty", "The chain has no certificates.", func(p *plan) { p.chain = nil }),
		chain("chain-cut", "The intermediate is missing from the chain.", func(p *plan) { p.chain = slices.Delete(p.chain, 1, 2) }),
		chain("chain-reversed", "The chain begins with the root.", func(p *plan) { slices.Reverse(p.chain) }),
		chain("chain-short", "The chain is the signer and the intermediate.", func(p *plan) { p.chain = p.chain[:2] }),
		chain("chain-long", "An unrelated certificate ends the chain.", func(p *plan) { p.chain = append(p.chain, p.foreign.intermediate.Cert) }),

		staple("staple-revoked", "The staple has status revoked.", func(p *plan, s *staplePlan) {
			s.options.Status, s.options.Reason = ocsp.Revoked, ocsp.KeyCompromise
		}),
		staple("staple-unknown", "The staple has status unknown.", func(_ *plan, s *staplePlan) {
			s.options.Status = ocsp.Unknown
		}),
		staple("staple-expired", "The staple expired an hour ago.", func(p *plan, s *staplePlan) {
			s.options.ThisUpdate, s.options.NextUpdate = p.now.Add(-stapleLifetime), p.now.Add(-time.Hour)
		}),
		staple("staple-future", "The staple is valid from an hour from now.", func(p *plan, s *staplePlan) {
			s.options.ThisUpdate, s.options.NextUpdate = p.now.Add(time.Hour), p.now.Add(stapleLifetime)
		}),
		staple("staple-timeless", "The staple has no nextUpdate.", func(_ *plan, s *staplePlan) {
			s.options.NextUpdate = time.Time{}
		}),
		staple("staple-foreign", "The staple is signed by another key.", func(p *plan, s *staplePlan) { s.by = p.foreign.intermediate }),
		staple("staple-missing", "There is no staple.", func(_ *plan, s *staplePlan) { s.left = true }),
		staple("staple-misnamed", "The staple is for another certificate, under this one's name.", func(p *plan, s *staplePlan) {
			s.options.Issuer = p.foreign.root.Cert
		}),
		staple("staple-junk", "The staple is not base64.", func(_ *plan, s *staplePlan) {
			s.transform = func([]byte) []byte { return []byte("%%% not base64 %%%") }
		}),
		staple("staple-sha256-name", "The staple is served under the certificate's SHA-256.", func(_ *plan, s *staplePlan) {
			s.name = crypto.SHA256
		}),
		staple("staple-sha256-id", "The staple's CertID uses SHA-256.", func(_ *plan, s *staplePlan) {
			s.options.Hash = crypto.SHA256
		}),
		staple("staple-delegated", "The staple is signed by a delegated responder.", func(p *plan, s *staplePlan) {
			responder, err := s.issuer.NewResponder(pki.Options{Name: "EIC Emulator Responder", NotBefore: p.now.Add(-day), NotAfter: p.now.Add(day)})
			if err == nil {
				s.options.Responder = responder
			}
		}),
	}
}
