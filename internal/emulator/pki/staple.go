package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/ocsp"
)

// StapleOptions describe one OCSP response.
type StapleOptions struct {
	Status     int       // ocsp.Good (the zero value), ocsp.Revoked or ocsp.Unknown
	ThisUpdate time.Time // must be set
	NextUpdate time.Time // zero: left out
	ProducedAt time.Time // zero: ThisUpdate
	RevokedAt  time.Time // for ocsp.Revoked; zero: ThisUpdate
	Reason     int       // for ocsp.Revoked; 0: left out

	Hash      crypto.Hash       // of the CertID: SHA-1 (also 0), SHA-256, SHA-384, SHA-512
	Issuer    *x509.Certificate // named in the CertID; nil: the authority's own
	Responder *Authority        // signs, its certificate enclosed; nil: the authority itself, none enclosed
}

// The response of RFC 6960 section 4.2.1. golang.org/x/crypto/ocsp can make
// one too, but takes producedAt from the wall clock.
type (
	ocspResponse struct {
		Status   asn1.Enumerated
		Response ocspResponseBytes `asn1:"explicit,tag:0"`
	}
	ocspResponseBytes struct {
		Type     asn1.ObjectIdentifier
		Response []byte
	}
	ocspBasicResponse struct {
		Data      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
		Certs     []asn1.RawValue `asn1:"explicit,tag:0,optional"`
	}
	ocspResponseData struct {
		ResponderID asn1.RawValue
		ProducedAt  time.Time `asn1:"generalized"`
		Responses   []ocspSingleResponse
	}
	ocspSingleResponse struct {
		CertID     ocspCertID
		Good       asn1.Flag   `asn1:"tag:0,optional"`
		Revoked    ocspRevoked `asn1:"tag:1,optional"`
		Unknown    asn1.Flag   `asn1:"tag:2,optional"`
		ThisUpdate time.Time   `asn1:"generalized"`
		NextUpdate time.Time   `asn1:"generalized,explicit,tag:0,optional"`
	}
	ocspRevoked struct {
		At     time.Time       `asn1:"generalized"`
		Reason asn1.Enumerated `asn1:"explicit,tag:0,optional"`
	}
	ocspCertID struct {
		HashAlgorithm pkix.AlgorithmIdentifier
		NameHash      []byte
		KeyHash       []byte
		Serial        *big.Int
	}
)

// Staple returns, in DER, an OCSP response about cert. Neither that a issued
// cert nor that the responder may answer for a is checked.
func (a *Authority) Staple(cert *x509.Certificate, o StapleOptions) ([]byte, error) {
	if o.ThisUpdate.IsZero() {
		return nil, errors.New("a staple needs ThisUpdate")
	}
	single, err := a.singleResponse(cert, o)
	if err != nil {
		return nil, err
	}
	responder := o.Responder
	var enclosed []asn1.RawValue
	if responder == nil {
		responder = a
	} else {
		enclosed = []asn1.RawValue{{FullBytes: responder.Cert.Raw}}
	}
	data, err := asn1.Marshal(ocspResponseData{
		ResponderID: asn1.RawValue{
			Class: asn1.ClassContextSpecific, Tag: 1, IsCompound: true, // byName
			Bytes: responder.Cert.RawSubject,
		},
		ProducedAt: timeOr(o.ProducedAt, o.ThisUpdate),
		Responses:  []ocspSingleResponse{single},
	})
	if err != nil {
		return nil, err
	}
	algorithm, signature, err := responder.signSHA256(data)
	if err != nil {
		return nil, err
	}
	basic, err := asn1.Marshal(ocspBasicResponse{
		Data:      asn1.RawValue{FullBytes: data},
		Algorithm: algorithm,
		Signature: asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
		Certs:     enclosed,
	})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(ocspResponse{
		Status: asn1.Enumerated(ocsp.Success),
		Response: ocspResponseBytes{
			Type:     asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}, // id-pkix-ocsp-basic
			Response: basic,
		},
	})
}

func (a *Authority) singleResponse(cert *x509.Certificate, o StapleOptions) (ocspSingleResponse, error) {
	issuer := o.Issuer
	if issuer == nil {
		issuer = a.Cert
	}
	id, err := certID(cert, issuer, o.Hash)
	if err != nil {
		return ocspSingleResponse{}, err
	}
	single := ocspSingleResponse{CertID: id, ThisUpdate: o.ThisUpdate.UTC(), NextUpdate: o.NextUpdate.UTC()}
	switch o.Status {
	case ocsp.Good:
		single.Good = true
	case ocsp.Revoked:
		single.Revoked = ocspRevoked{At: timeOr(o.RevokedAt, o.ThisUpdate), Reason: asn1.Enumerated(o.Reason)}
	case ocsp.Unknown:
		single.Unknown = true
	default:
		return ocspSingleResponse{}, fmt.Errorf("OCSP has no certificate status %d", o.Status)
	}
	return single, nil
}

func certID(cert, issuer *x509.Certificate, hash crypto.Hash) (ocspCertID, error) {
	oid, err := hashOID(hash)
	if err != nil {
		return ocspCertID{}, err
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(issuer.RawSubjectPublicKeyInfo, &spki); err != nil {
		return ocspCertID{}, err
	}
	name, err := digest(hash, issuer.RawSubject)
	if err != nil {
		return ocspCertID{}, err
	}
	key, err := digest(hash, spki.Key.RightAlign())
	if err != nil {
		return ocspCertID{}, err
	}
	return ocspCertID{
		HashAlgorithm: pkix.AlgorithmIdentifier{Algorithm: oid, Parameters: asn1.NullRawValue},
		NameHash:      name,
		KeyHash:       key,
		Serial:        cert.SerialNumber,
	}, nil
}

func hashOID(hash crypto.Hash) (asn1.ObjectIdentifier, error) {
	switch hash {
	case 0, crypto.SHA1:
		return asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}, nil
	case crypto.SHA256:
		return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, nil
	case crypto.SHA384:
		return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, nil
	case crypto.SHA512:
		return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}, nil
	}
	return nil, fmt.Errorf("a staple cannot name its certificate by %v", hash)
}

// signSHA256 signs with PKCS #1 v1.5 or ECDSA, whichever the key is for.
func (a *Authority) signSHA256(data []byte) (pkix.AlgorithmIdentifier, []byte, error) {
	var algorithm pkix.AlgorithmIdentifier
	switch a.Key.Public().(type) {
	case *rsa.PublicKey:
		algorithm.Algorithm = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
		algorithm.Parameters = asn1.NullRawValue
	case *ecdsa.PublicKey:
		algorithm.Algorithm = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	default:
		return algorithm, nil, fmt.Errorf("an OCSP responder needs an RSA or ECDSA key, not %T", a.Key.Public())
	}
	sum, err := digest(crypto.SHA256, data)
	if err != nil {
		return algorithm, nil, err
	}
	signature, err := a.Key.Sign(rand.Reader, sum, crypto.SHA256)
	return algorithm, signature, err
}

func timeOr(t, otherwise time.Time) time.Time {
	if t.IsZero() {
		t = otherwise
	}
	return t.UTC()
}
