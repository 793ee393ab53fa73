package emulator

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/eic-agent/eic-agent/internal/emulator/fault"
	"github.com/eic-agent/eic-agent/internal/emulator/pki"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

// foreignDomain is nobody's; foreignRegion is not the instance's.
const (
	foreignDomain = "example.net"
	foreignRegion = "xx-nowhere-1"
	foreignCaller = "arn:aws:iam::000000000000:user/mallory"
)

func transportFaults() []faultKind {
	kind := func(name, value, doc string, check func(string) error) faultKind {
		return faultKind{FaultKind: FaultKind{name, value, layerTransport, doc}, check: check}
	}
	return []faultKind{
		kind(fault.Latency, "DURATION", "The answer comes so much later.", isDuration),
		kind(fault.Jitter, "DURATION", "The answer comes later by up to so much, at random from --seed.", isDuration),
		kind(fault.Status, "CODE", "The answer is this HTTP status, with the error page or body of the service.", isStatus),
		kind(fault.Throttle, "N", "More than N requests in a second are refused: 429, or the service's own exception.", isCount),
		kind(fault.CutOff, "", "The connection ends after half of the body.", nil),
		kind(fault.Drip, "DURATION", "The body comes byte by byte, so far apart.", isDuration),
		kind(fault.Endless, "", "The body does not end.", nil),
		kind(fault.Reset, "", "The connection is reset.", nil),
		kind(fault.Hang, "", "There is no answer for as long as the client waits.", nil),
		kind(fault.Empty, "", "The body is empty, with the status that it would have had.", nil),
		kind(fault.HTML, "", "The answer is 200 and a page that asks to sign in to the network.", nil),
		kind(fault.Redirect, "", "The answer is a redirect to a port where nobody listens.", nil),
	}
}

func apiFaults() []faultKind {
	return []faultKind{
		{FaultKind: FaultKind{"error", "NAME", layerAPI, "The call fails with an exception of this name, in the shape of its service."}, check: isText},
		{FaultKind: FaultKind{"clock-skew", "OFFSET", layerClock, "AWS's clock is ahead by so much: signatures are judged and keys expire by it."}, check: isOffset},
	}
}

func gatewayFaults() []faultKind {
	return []faultKind{
		{FaultKind: FaultKind{faultGatewayRefuse, "", layerGateway, "The gateway refuses a key that it would let in."}},
		{FaultKind: FaultKind{faultGatewayCut, "DURATION", layerGateway, "The gateway cuts a session off so long after it began."}, check: isDuration},
	}
}

func factFaults() []faultKind {
	kind := func(name, path, doc string) faultKind {
		return faultKind{FaultKind: FaultKind{name, "TEXT", layerFact, doc}, fact: path, check: isText}
	}
	return []faultKind{
		kind("fact-instance-id", "instance-id", "instance-id is this text."),
		kind("fact-zone", "placement/availability-zone", "placement/availability-zone is this text."),
		kind("fact-region", "placement/region", "placement/region is this text; the signer's name keeps the true one."),
		kind("fact-domain", "services/domain", "services/domain is this text; the signer's name keeps the true one."),
	}
}

func recordFaults() []faultKind {
	statement := func(name, doc string, change func(*keyrecord.Statement, time.Time, fault.Spec)) faultKind {
		return faultKind{FaultKind: FaultKind{name, "", layerRecord, doc}, statement: change}
	}
	served := func(name, doc string, change func([]byte) []byte) faultKind {
		return faultKind{FaultKind: FaultKind{name, "", layerRecord, doc}, record: change}
	}
	return []faultKind{
		statement("record-expired", "The records expired a second ago, and are signed so.", func(s *keyrecord.Statement, now time.Time, _ fault.Spec) {
			s.Expires = now.Add(-time.Second)
		}),
		statement("record-long-lived", "The records expire in an hour, and are signed so.", func(s *keyrecord.Statement, now time.Time, _ fault.Spec) {
			s.Expires = now.Add(time.Hour)
		}),
		statement("record-foreign", "The records are those of another instance, and are signed so.", func(s *keyrecord.Statement, _ time.Time, _ fault.Spec) {
			s.Instance = "i-0fedcba9876543210"
		}),
		statement("record-options", "The key lines begin with options, and are signed so.", func(s *keyrecord.Statement, _ time.Time, _ fault.Spec) {
			s.Key = `command="/bin/sh" ` + s.Key
		}),
		statement("record-key-cut", "The keys are cut in half, and are signed so.", func(s *keyrecord.Statement, _ time.Time, _ fault.Spec) {
			s.Key = s.Key[:len(s.Key)/2]
		}),
		statement("record-anonymous", "The records have neither Caller nor Request.", func(s *keyrecord.Statement, _ time.Time, _ fault.Spec) {
			s.Caller, s.Request = "", ""
		}),
		{FaultKind: FaultKind{"record-foreign-signer", "", layerRecord, "The records are signed with a key that is not in the chain."}, foreignSigner: true},
		served("record-tampered", "The Caller was changed after signing.", func(b []byte) []byte {
			if !bytes.Contains(b, []byte("#Caller=")) {
				return append([]byte("#Caller="+foreignCaller+"\n"), b...)
			}
			return bytes.Replace(b, []byte("#Caller="), []byte("#Caller="+foreignCaller), 1)
		}),
		served("record-key-swapped", "The key was exchanged after signing.", func(b []byte) []byte {
			const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINohITzWz6NQDHgCdHYsQt3t+BsQLWjJiasKh09vNjsC mallory"
			lines := strings.Split(string(b), "\n")
			if i := slices.IndexFunc(lines, func(l string) bool { return l != "" && l[0] != '#' }); i >= 0 {
				lines[i] = key
			}
			return []byte(strings.Join(lines, "\n"))
		}),
		served("record-truncated", "The records end in the middle of their signature.", func(b []byte) []byte {
			lines := strings.SplitAfter(strings.TrimRight(string(b), "\n"), "\n")
			return []byte(strings.Join(lines[:len(lines)-min(len(lines), 2)], "") + "\n")
		}),
		served("record-crlf", "The lines of the records end in CR LF.", func(b []byte) []byte {
			return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
		}),
		served("record-junk", "A block of junk stands before every record.", func(b []byte) []byte {
			return append([]byte("\n\n#Nonsense\nnot a key\n%%%%\n\n"), b...)
		}),
		served("record-one-line", "The signatures are not wrapped.", func(b []byte) []byte {
			lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
			i := slices.IndexFunc(lines, func(l string) bool { return l != "" && l[0] != '#' })
			return []byte(strings.Join(lines[:i+1], "\n") + "\n" + strings.Join(lines[i+1:], "") + "\n\n")
		}),
	}
}

func signerFaults() []faultKind {
	leaf := func(name, doc string, change func(*plan, fault.Spec)) faultKind {
		return faultKind{FaultKind: FaultKind{name, "", layerSigner, doc}, leaf: change}
	}
	chain := func(name, doc string, change func(*plan)) faultKind {
		return faultKind{FaultKind: FaultKind{name, "", layerSigner, doc}, chain: change}
	}
	staple := func(name, doc string, change func(*plan, *staplePlan)) faultKind {
		return faultKind{FaultKind: FaultKind{name, "", layerSigner, doc}, staple: change}
	}
	foreign := leaf("foreign-domain", fmt.Sprintf("services/domain is %s, and the signer is named for it by the trusted root.", foreignDomain),
		func(p *plan, _ fault.Spec) { p.domain = foreignDomain })
	foreign.fact = "services/domain"
	return []faultKind{
		leaf("leaf-expired", "The signer's certificate ended an hour ago.", func(p *plan, _ fault.Spec) {
			p.change = func(c *x509.Certificate) { c.NotAfter = p.now.Add(-time.Hour) }
		}),
		leaf("leaf-future", "The signer's certificate begins in an hour.", func(p *plan, _ fault.Spec) {
			p.change = func(c *x509.Certificate) { c.NotBefore = p.now.Add(time.Hour) }
		}),
		leaf("leaf-region", "The signer is the one of another region.", func(p *plan, _ fault.Spec) { p.region = foreignRegion }),
		leaf("leaf-name-only", "The signer's certificate has its name as common name only.", func(p *plan, _ fault.Spec) {
			p.change = func(c *x509.Certificate) { c.DNSNames = nil }
		}),
		foreign,
		leaf("chain-foreign", "The chain leads to a root of the same name that is nobody's.", func(p *plan, _ fault.Spec) { p.h = p.foreign }),
		chain("chain-empty", "The chain has no certificates.", func(p *plan) { p.chain = nil }),
		chain("chain-cut", "The intermediate is missing from the chain.", func(p *plan) { p.chain = slices.Delete(p.chain, 1, 2) }),
		chain("chain-reversed", "The chain begins with the root.", func(p *plan) { slices.Reverse(p.chain) }),
		chain("chain-short", "The chain is the signer and the intermediate.", func(p *plan) { p.chain = p.chain[:2] }),
		chain("chain-long", "An unrelated certificate ends the chain.", func(p *plan) { p.chain = append(p.chain, p.foreign.intermediate.Cert) }),

		staple("staple-revoked", "The staple says that the certificate is revoked.", func(p *plan, s *staplePlan) {
			s.options.Status, s.options.Reason = ocsp.Revoked, ocsp.KeyCompromise
		}),
		staple("staple-unknown", "The staple says that the responder does not know the certificate.", func(_ *plan, s *staplePlan) {
			s.options.Status = ocsp.Unknown
		}),
		staple("staple-expired", "The staple ended an hour ago.", func(p *plan, s *staplePlan) {
			s.options.ThisUpdate, s.options.NextUpdate = p.now.Add(-stapleLifetime), p.now.Add(-time.Hour)
		}),
		staple("staple-future", "The staple begins in an hour.", func(p *plan, s *staplePlan) {
			s.options.ThisUpdate, s.options.NextUpdate = p.now.Add(time.Hour), p.now.Add(stapleLifetime)
		}),
		staple("staple-timeless", "The staple does not say until when it holds.", func(_ *plan, s *staplePlan) {
			s.options.NextUpdate = time.Time{}
		}),
		staple("staple-foreign", "The staple is signed by somebody else.", func(p *plan, s *staplePlan) { s.by = p.foreign.intermediate }),
		staple("staple-missing", "There is no staple.", func(_ *plan, s *staplePlan) { s.left = true }),
		staple("staple-misnamed", "The staple is about another certificate, and is served under this one's name.", func(p *plan, s *staplePlan) {
			s.options.Issuer = p.foreign.root.Cert
		}),
		staple("staple-junk", "The staple is not base64.", func(_ *plan, s *staplePlan) {
			s.transform = func([]byte) []byte { return []byte("%%% not base64 %%%") }
		}),
		staple("staple-sha256-name", "The staple has the SHA-256 of the certificate as its name.", func(_ *plan, s *staplePlan) {
			s.name = crypto.SHA256
		}),
		staple("staple-sha256-id", "The staple names its certificate by SHA-256 inside.", func(_ *plan, s *staplePlan) {
			s.options.Hash = crypto.SHA256
		}),
		staple("staple-delegated", "The staple is signed by a responder that the issuer certified.", func(p *plan, s *staplePlan) {
			responder, err := s.issuer.NewResponder(pki.Options{Name: "EIC Emulator Responder", NotBefore: p.now.Add(-day), NotAfter: p.now.Add(day)})
			if err == nil {
				s.options.Responder = responder
			}
		}),
	}
}
