package signer

import (
	"bytes"
	"crypto"
	"crypto/fips140"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/eic-agent/eic-agent/internal/reason"
)

// A staple is an OCSP response. Nothing in it is proved.
type staple struct {
	der       []byte
	ids       []certID // the certificates that it is about, in its order
	responder []byte   // the certificate that came along, in DER, or nil
}

// decodeStaples decodes staples as served. What is not a successful OCSP response
// in base64 is left out: it can be about no certificate.
func decodeStaples(served [][]byte) []staple {
	var staples []staple
	for _, text := range served {
		// encoding/base64 passes over line ends.
		der, err := base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(text))
		if err != nil {
			continue
		}
		if s, ok := parseStaple(der); ok {
			staples = append(staples, s)
		}
	}
	return staples
}

// certID is CertID of RFC 6960, section 4.1.1.
type certID struct {
	Hash   struct{ Algorithm asn1.ObjectIdentifier }
	Name   []byte
	Key    []byte
	Serial *big.Int
}

// parseStaple reads of OCSPResponse (RFC 6960, section 4.2.1) what has to be known
// before golang.org/x/crypto/ocsp may see it: that package checks the signature
// with whatever key comes along, however large.
func parseStaple(der []byte) (staple, bool) {
	var outer struct {
		Status asn1.Enumerated
		Body   struct {
			Type  asn1.ObjectIdentifier
			Basic []byte
		} `asn1:"explicit,optional,tag:0"`
	}
	var basic struct {
		Data struct {
			Version     int `asn1:"optional,default:0,explicit,tag:0"`
			ResponderID asn1.RawValue
			ProducedAt  time.Time `asn1:"generalized"`
			Responses   []struct{ CertID certID }
		}
		Algorithm    asn1.RawValue
		Signature    asn1.BitString
		Certificates []asn1.RawValue `asn1:"explicit,optional,tag:0"`
	}
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		return staple{}, false
	}
	if _, err := asn1.Unmarshal(outer.Body.Basic, &basic); err != nil {
		return staple{}, false
	}
	s := staple{der: der}
	for _, r := range basic.Data.Responses {
		s.ids = append(s.ids, r.CertID)
	}
	if len(basic.Certificates) > 0 {
		s.responder = basic.Certificates[0].FullBytes
	}
	return s, true
}

// proveNotRevoked proves that a staple which issuer answers for says that cert
// is good. Any staple that is proved and says otherwise wins. It returns the end
// of the staple's validity.
func proveNotRevoked(cert, issuer *x509.Certificate, staples []staple, now time.Time) (until time.Time, err error) {
	err = reason.New(reason.StapleMissing, fmt.Sprintf("the metadata service has no OCSP staple for %s", describe(cert)))
	for _, s := range staples {
		if !s.names(cert, issuer) {
			continue
		}
		end, fault := s.judge(cert, issuer, now)
		switch {
		case fault == nil:
			if end.After(until) {
				until = end
			}
		case fault.Word == reason.SignerRevoked:
			return time.Time{}, fault
		default:
			err = fault
		}
	}
	if until.IsZero() {
		return time.Time{}, err
	}
	return until, nil
}

// names reports whether the staple is about cert, by its serial and by the
// hashes of its issuer's name and key: serials are unique for an issuer only,
// and golang.org/x/crypto/ocsp compares nothing else. A staple that has the serial
// more than once is about nothing: that package would take the first answer.
func (s staple) names(cert, issuer *x509.Certificate) bool {
	found := 0
	for _, id := range s.ids {
		if id.Serial.Cmp(cert.SerialNumber) != 0 {
			continue
		}
		if !id.isOf(cert, issuer) {
			return false
		}
		found++
	}
	return found == 1
}

// isOf compares the issuer hashes of id.
func (id certID) isOf(cert, issuer *x509.Certificate) bool {
	var hash crypto.Hash
	switch {
	case id.Hash.Algorithm.Equal(asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}):
		hash = crypto.SHA1
	case id.Hash.Algorithm.Equal(asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}):
		hash = crypto.SHA256
	default:
		return false
	}
	var want *ocsp.Request
	// As a name for the issuer, SHA-1 is computed even where FIPS 140 is
	// enforced: what is proved must not depend on that.
	fips140.WithoutEnforcement(func() {
		// The package computes the hashes for requests only.
		if der, err := ocsp.CreateRequest(cert, issuer, &ocsp.RequestOptions{Hash: hash}); err == nil {
			want, _ = ocsp.ParseRequest(der)
		}
	})
	return want != nil && bytes.Equal(id.Name, want.IssuerNameHash) && bytes.Equal(id.Key, want.IssuerKeyHash)
}

// judge says why a staple that names cert does not prove that it is good, or
// until when it does. What it does not check is whether the certificate of a
// delegated responder has itself been revoked: nothing that is served could
// tell.
func (s staple) judge(cert, issuer *x509.Certificate, now time.Time) (until time.Time, err *reason.Error) {
	fault := func(w reason.Word, format string, args ...any) (time.Time, *reason.Error) {
		return time.Time{}, reason.New(w, fmt.Sprintf("the OCSP staple for %s ", describe(cert))+fmt.Sprintf(format, args...))
	}
	if problem := s.mayAnswer(issuer, now); problem != "" {
		return fault(reason.StapleUntrusted, "%s", problem)
	}
	// The package checks the signature against the certificate that came
	// along, if one did.
	response, parseErr := ocsp.ParseResponseForCert(s.der, cert, nil)
	if parseErr != nil {
		return fault(reason.StapleUntrusted, "is broken: %.120s", printable(parseErr.Error()))
	}
	switch {
	case isSHA1(response.SignatureAlgorithm):
		return fault(reason.StapleUntrusted, "is signed with SHA-1")
	case s.responder == nil && response.CheckSignatureFrom(issuer) != nil:
		return fault(reason.StapleUntrusted, "is not signed by its issuer")
	case response.NextUpdate.IsZero():
		return fault(reason.StapleStale, "does not say until when it holds")
	case now.Before(response.ThisUpdate):
		return fault(reason.StapleStale, "holds only from %s on, in %v", response.ThisUpdate.UTC().Format(time.RFC3339), response.ThisUpdate.Sub(now).Round(time.Second))
	case now.After(response.NextUpdate):
		return fault(reason.StapleStale, "held until %s, %v ago", response.NextUpdate.UTC().Format(time.RFC3339), now.Sub(response.NextUpdate).Round(time.Second))
	case response.Status == ocsp.Revoked:
		return fault(reason.SignerRevoked, "says that it was revoked at %s", response.RevokedAt.UTC().Format(time.RFC3339))
	case response.Status != ocsp.Good:
		return fault(reason.StapleUntrusted, "does not say whether it is good")
	}
	return response.NextUpdate, nil
}

// mayAnswer says what is wrong with the certificate that came along, if one did:
// it has to be the issuer's, or that of a responder whom the issuer certified for
// this purpose (RFC 6960, section 4.2.2.2) and which is valid now. It returns ""
// when all is well; that the response is signed is not checked.
func (s staple) mayAnswer(issuer *x509.Certificate, now time.Time) string {
	if s.responder == nil {
		return ""
	}
	responder, err := x509.ParseCertificate(s.responder)
	if err != nil {
		return "comes with a broken certificate"
	}
	if bytes.Equal(responder.RawSubjectPublicKeyInfo, issuer.RawSubjectPublicKeyInfo) {
		return ""
	}
	switch {
	case !bytes.Equal(responder.RawIssuer, issuer.RawSubject),
		isSHA1(responder.SignatureAlgorithm),
		issuer.CheckSignature(responder.SignatureAlgorithm, responder.RawTBSCertificate, responder.Signature) != nil:
		return "is signed by a responder that its issuer does not answer for"
	case !slices.Contains(responder.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return "is signed by a certificate that may not sign OCSP responses"
	case len(responder.UnhandledCriticalExtensions) > 0:
		return "is signed by a certificate with a critical extension that is not known here"
	case now.Before(responder.NotBefore) || now.After(responder.NotAfter):
		return "is signed by a responder whose certificate is not valid now"
	case isHuge(responder):
		return fmt.Sprintf("is signed with a key of more than %d bits", maxRSABits)
	}
	return ""
}

// isSHA1 reports whether an algorithm signs SHA-1 digests and is one that
// crypto/x509 still takes here.
func isSHA1(a x509.SignatureAlgorithm) bool {
	return a == x509.SHA1WithRSA || a == x509.ECDSAWithSHA1
}

// describe names a certificate in a message.
func describe(c *x509.Certificate) string { return fmt.Sprintf("%.100q", c.Subject.CommonName) }
