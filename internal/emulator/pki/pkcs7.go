package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
)

// The SignedData of RFC 2315 section 9.1, with one signer and no attributes.
type (
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}
	signedData struct {
		Version      int
		Digests      []pkix.AlgorithmIdentifier `asn1:"set"`
		Content      contentInfo
		Certificates asn1.RawValue
		Signers      []signerInfo `asn1:"set"`
	}
	signerInfo struct {
		Version    int
		Issuer     issuerAndSerial
		Digest     pkix.AlgorithmIdentifier
		Encryption pkix.AlgorithmIdentifier
		Signature  []byte
	}
	issuerAndSerial struct {
		Name   asn1.RawValue
		Serial *big.Int
	}
)

var (
	oidSHA1   = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidSHA256 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidRSA    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
)

// SignPKCS7 returns, in DER, a PKCS #7 SignedData that encloses content and the
// certificate of a, signed with RSA and SHA-256.
func (a *Authority) SignPKCS7(content []byte) ([]byte, error) {
	signature, err := a.SignPKCS1(content)
	if err != nil {
		return nil, err
	}
	return signedDataOf(content, a.Cert, oidSHA256, pkix.AlgorithmIdentifier{Algorithm: oidRSA, Parameters: asn1.NullRawValue}, signature)
}

// signedDataOf encloses content with its signature and the certificate of who made
// it.
func signedDataOf(content []byte, by *x509.Certificate, hash asn1.ObjectIdentifier, encryption pkix.AlgorithmIdentifier, signature []byte) ([]byte, error) {
	explicit := func(der []byte) asn1.RawValue {
		return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: der}
	}
	octets, err := asn1.Marshal(content)
	if err != nil {
		return nil, err
	}
	digest := pkix.AlgorithmIdentifier{Algorithm: hash, Parameters: asn1.NullRawValue}
	signed, err := asn1.Marshal(signedData{
		Version:      1,
		Digests:      []pkix.AlgorithmIdentifier{digest},
		Content:      contentInfo{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}, explicit(octets)},
		Certificates: explicit(by.Raw),
		Signers: []signerInfo{{
			Version:    1,
			Issuer:     issuerAndSerial{asn1.RawValue{FullBytes: by.RawIssuer}, by.SerialNumber},
			Digest:     digest,
			Encryption: encryption,
			Signature:  signature,
		}},
	})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(contentInfo{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}, explicit(signed)})
}

// SignPKCS1 signs content with RSA, PKCS #1 v1.5 and SHA-256.
func (a *Authority) SignPKCS1(content []byte) ([]byte, error) {
	if _, ok := a.Key.Public().(*rsa.PublicKey); !ok {
		return nil, errors.New("this signature needs an RSA key")
	}
	sum, err := digest(crypto.SHA256, content)
	if err != nil {
		return nil, err
	}
	return a.Key.Sign(rand.Reader, sum, crypto.SHA256)
}
