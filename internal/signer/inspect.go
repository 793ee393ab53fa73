package signer

import (
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"github.com/eic-agent/eic-agent/internal/reason"
)

// A Certificate describes one certificate of a chain as it was served.
type Certificate struct {
	Subject, Issuer     string
	NotBefore, NotAfter time.Time
	Err                 error // why it could not be read, or nil; the rest is zero then
}

// A Staple describes one OCSP staple as it was served.
type Staple struct {
	Certificate            string // the subject of the one that it is about, or ""
	ThisUpdate, NextUpdate time.Time
	Err                    error // why it proves nothing, or nil
}

// Inspect describes a chain and staples as served, for a person to read.
// It verifies nothing. c is the result of Verify, or nil; it
// has the issuers that are not served.
func Inspect(c *Chain, chain []byte, staples [][]byte, now time.Time) ([]Certificate, []Staple) {
	var certs []*x509.Certificate
	var described []Certificate
	served, err := decodeChain(chain)
	if err != nil {
		described = append(described, Certificate{Err: err})
	}
	for _, der := range served {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			described = append(described, Certificate{Err: untrusted("the certificate is malformed: %.120s", printable(err.Error()))})
			continue
		}
		certs = append(certs, cert)
		described = append(described, Certificate{
			Subject: cert.Subject.String(), Issuer: cert.Issuer.String(),
			NotBefore: cert.NotBefore, NotAfter: cert.NotAfter,
		})
	}
	pairs := issued(c, certs)
	at := clock{now: now}
	if c != nil {
		at.skew = c.clock.skew
	}
	var ofStaples []Staple
	for _, text := range staples {
		ofStaples = append(ofStaples, inspectStaple(text, pairs, at))
	}
	return described, ofStaples
}

// issued returns pairs of a certificate and one that may have issued it: those of the
// paths that were proved, and those among certs whose names fit.
func issued(c *Chain, certs []*x509.Certificate) (pairs [][2]*x509.Certificate) {
	add := func(cert, issuer *x509.Certificate) {
		known := slices.ContainsFunc(pairs, func(p [2]*x509.Certificate) bool { return p[0].Equal(cert) && p[1].Equal(issuer) })
		if !known && !isHuge(issuer) {
			pairs = append(pairs, [2]*x509.Certificate{cert, issuer})
		}
	}
	if c != nil {
		for _, path := range c.paths {
			for i, cert := range path[:len(path)-1] {
				add(cert, path[i+1])
			}
		}
	}
	for _, cert := range certs {
		for _, issuer := range certs {
			if string(cert.RawIssuer) == string(issuer.RawSubject) {
				add(cert, issuer)
			}
		}
	}
	return pairs
}

func inspectStaple(text []byte, pairs [][2]*x509.Certificate, at clock) Staple {
	decoded := decodeStaples([][]byte{text})
	if len(decoded) == 0 {
		return Staple{Err: reason.New(reason.StapleUntrusted, "not a successful base64-encoded OCSP response")}
	}
	s := decoded[0]
	for _, pair := range pairs {
		cert, issuer := pair[0], pair[1]
		answers := s.about(cert, issuer)
		if len(answers) == 0 {
			continue
		}
		d := Staple{Certificate: cert.Subject.String()}
		given, fault := s.judge(answers, cert, issuer, at)
		if fault != nil {
			d.Err = fault
		}
		if fault == nil || fault.Word != reason.StapleUntrusted {
			d.ThisUpdate, d.NextUpdate = given.ThisUpdate, given.NextUpdate
		}
		return d
	}
	return Staple{Err: errors.New("for no certificate of this chain")}
}
