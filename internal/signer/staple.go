package signer

import (
	"bytes"
	"crypto"
	"crypto/fips140"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/eic-agent/eic-agent/internal/reason"
)

// A staple is an OCSP response. Nothing in it is verified.
type staple struct {
	der       []byte
	answers   []answer // in its order
	critical  bool     // has a critical extension
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

// An answer is SingleResponse of RFC 6960, section 4.2.1.
type answer struct {
	ID      certID
	Good    asn1.Flag `asn1:"tag:0,optional"`
	Revoked struct {
		At     time.Time       `asn1:"generalized"`
		Reason asn1.Enumerated `asn1:"explicit,tag:0,optional"`
	} `asn1:"tag:1,optional"`
	Unknown    asn1.Flag        `asn1:"tag:2,optional"`
	ThisUpdate time.Time        `asn1:"generalized"`
	NextUpdate time.Time        `asn1:"generalized,explicit,tag:0,optional"`
	Extensions []pkix.Extension `asn1:"explicit,tag:1,optional"`
}

// certID is CertID of RFC 6960, section 4.1.1.
type certID struct {
	Hash   struct{ Algorithm asn1.ObjectIdentifier }
	Name   []byte
	Key    []byte
	Serial *big.Int
}

// parseStaple reads OCSPResponse (RFC 6960, section 4.2.1). It is read here because
// golang.org/x/crypto/ocsp gives the first answer about a serial only, does not see
// the extensions of the response, and checks the signature with whatever key comes
// along, however large.
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
			Responses   []answer
			Extensions  []pkix.Extension `asn1:"explicit,tag:1,optional"`
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
	s := staple{der: der, answers: basic.Data.Responses, critical: hasCritical(basic.Data.Extensions)}
	if len(basic.Certificates) > 0 {
		s.responder = basic.Certificates[0].FullBytes
	}
	return s, true
}

func hasCritical(extensions []pkix.Extension) bool {
	return slices.ContainsFunc(extensions, func(e pkix.Extension) bool { return e.Critical })
}

// proveNotRevoked proves that a staple which issuer answers for says that cert
// is good. Any staple that is proved and says otherwise wins. It returns the end
// of the staple's validity.
func proveNotRevoked(cert, issuer *x509.Certificate, staples []staple, at clock) (until time.Time, err error) {
	err = reason.New(reason.StapleMissing, fmt.Sprintf("the metadata service has no OCSP staple for %s", describe(cert)))
	for _, s := range staples {
		answers := s.about(cert, issuer)
		if len(answers) == 0 {
			continue
		}
		given, fault := s.judge(answers, cert, issuer, at)
		switch {
		case fault == nil:
			if given.NextUpdate.After(until) {
				until = given.NextUpdate
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

// about returns the answers about cert, by its serial and by the hashes of its
// issuer's name and key: serials are unique for an issuer only. There may be one
// for each hash algorithm. A staple that has the serial under another issuer as
// well, or twice under one algorithm, is ignored.
func (s staple) about(cert, issuer *x509.Certificate) []answer {
	var found []answer
	for _, a := range s.answers {
		if a.ID.Serial.Cmp(cert.SerialNumber) != 0 {
			continue
		}
		again := func(other answer) bool { return other.ID.Hash.Algorithm.Equal(a.ID.Hash.Algorithm) }
		if !a.ID.isOf(cert, issuer) || slices.ContainsFunc(found, again) {
			return nil
		}
		found = append(found, a)
	}
	return found
}

// isOf compares the issuer hashes of id.
func (id certID) isOf(cert, issuer *x509.Certificate) bool {
	var hash crypto.Hash
	switch id.Hash.Algorithm.String() {
	case "1.3.14.3.2.26":
		hash = crypto.SHA1
	case "2.16.840.1.101.3.4.2.1":
		hash = crypto.SHA256
	case "2.16.840.1.101.3.4.2.2":
		hash = crypto.SHA384
	case "2.16.840.1.101.3.4.2.3":
		hash = crypto.SHA512
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

// judge returns the answer that counts, one of those about cert, and says why it
// does not prove that cert is good. What it does not check is whether the
// certificate of a delegated responder has itself been revoked: nothing that is
// served shows that.
func (s staple) judge(answers []answer, cert, issuer *x509.Certificate, at clock) (answer, *reason.Error) {
	fault := func(w reason.Word, text string) *reason.Error {
		return reason.New(w, fmt.Sprintf("the OCSP staple for %s %s", describe(cert), text))
	}
	if problem := s.checkSignature(cert, issuer, at); problem != "" {
		return answers[0], fault(reason.StapleUntrusted, problem)
	}
	best, worst := answer{}, (*reason.Error)(nil)
	for _, a := range answers {
		switch word, problem := a.check(at); {
		case word == reason.SignerRevoked:
			return a, fault(word, problem)
		case word != "":
			worst = fault(word, problem)
		case a.NextUpdate.After(best.NextUpdate):
			best = a
		}
	}
	if best.NextUpdate.IsZero() {
		return answers[0], worst
	}
	return best, nil
}

// check says why an answer that is signed does not say that the certificate is
// good. The word is "" where it does.
func (a answer) check(at clock) (reason.Word, string) {
	switch {
	case hasCritical(a.Extensions):
		return reason.StapleUntrusted, "has an unknown critical extension"
	case a.NextUpdate.IsZero():
		return reason.StapleStale, "has no nextUpdate"
	case !at.begun(a.ThisUpdate):
		return reason.StapleStale, fmt.Sprintf("is not valid before %s, %v from now", a.ThisUpdate.UTC().Format(time.RFC3339), a.ThisUpdate.Sub(at.now).Round(time.Second))
	case at.now.After(a.NextUpdate):
		return reason.StapleStale, fmt.Sprintf("expired at %s, %v ago", a.NextUpdate.UTC().Format(time.RFC3339), at.now.Sub(a.NextUpdate).Round(time.Second))
	case !a.Revoked.At.IsZero() || !bool(a.Good) && !bool(a.Unknown):
		return reason.SignerRevoked, "reports that it was revoked at " + a.Revoked.At.UTC().Format(time.RFC3339)
	case bool(a.Unknown):
		return reason.StapleUntrusted, "has status unknown"
	}
	return "", ""
}

// checkSignature says why the staple is not signed by issuer or by a delegate of it.
// It returns "" if the response is valid.
func (s staple) checkSignature(cert, issuer *x509.Certificate, at clock) string {
	if problem := s.mayAnswer(cert, issuer, at); problem != "" {
		return problem
	}
	// The package checks the signature against the certificate that came
	// along, if one did.
	response, err := ocsp.ParseResponseForCert(s.der, cert, nil)
	switch {
	case err != nil:
		return fmt.Sprintf("is malformed: %.120s", printable(err.Error()))
	case isSHA1(response.SignatureAlgorithm):
		return "is signed with SHA-1"
	case s.responder == nil && response.CheckSignatureFrom(issuer) != nil:
		return "is not signed by its issuer"
	case s.critical:
		return "has an unknown critical extension"
	}
	return ""
}

// mayAnswer says what is wrong with the certificate that came along, if one did:
// it has to be the issuer's, or that of a responder whom the issuer certified for
// this purpose (RFC 6960, section 4.2.2.2) and which is valid now. It returns ""
// if it is valid; the signature of the response is not checked.
func (s staple) mayAnswer(cert, issuer *x509.Certificate, at clock) string {
	if s.responder == nil {
		return ""
	}
	responder, err := x509.ParseCertificate(s.responder)
	if err != nil {
		return "includes a malformed certificate"
	}
	if bytes.Equal(responder.RawSubjectPublicKeyInfo, issuer.RawSubjectPublicKeyInfo) {
		return ""
	}
	_, limited := extension(responder, oidKeyUsage)
	switch {
	case bytes.Equal(responder.RawSubjectPublicKeyInfo, cert.RawSubjectPublicKeyInfo):
		return "is signed with its own key"
	case !bytes.Equal(responder.RawIssuer, issuer.RawSubject),
		isSHA1(responder.SignatureAlgorithm),
		issuer.CheckSignature(responder.SignatureAlgorithm, responder.RawTBSCertificate, responder.Signature) != nil:
		return "is signed by a responder that its issuer did not authorize"
	case !slices.Contains(responder.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning),
		limited && responder.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0:
		return "is signed by a certificate not valid for OCSP signing"
	case len(responder.UnhandledCriticalExtensions) > 0:
		return "is signed by a certificate with an unknown critical extension"
	case !at.begun(responder.NotBefore) || at.now.After(responder.NotAfter):
		return "is signed by a responder whose certificate is not valid now"
	case isHuge(responder):
		return fmt.Sprintf("is signed with a key of more than %d bits", maxRSABits)
	case isWeak(responder):
		return fmt.Sprintf("is signed with a key of fewer than %d bits", minRSABits)
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
