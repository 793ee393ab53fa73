package pki

import (
	"crypto"
	//lint:ignore SA1019 EC2 signs instance identity documents with it.
	"crypto/dsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// The domain parameters, made by openssl: of 1024 bits with a q of 160, and of 2048
// bits with a q of 256, so that it is as long as the hash. They are public, and
// making them takes seconds.
var (
	//go:embed dsa1024.pem
	dsa1024 []byte
	//go:embed dsa2048.pem
	dsa2048 []byte
)

var (
	oidDSA           = asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}
	oidDSAWithSHA1   = asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 3}
	oidDSAWithSHA256 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 2}
)

// A DSASigner has a DSA key and a self-signed certificate for it.
type DSASigner struct {
	Cert *x509.Certificate
	key  *dsa.PrivateKey
	hash crypto.Hash
	oid  asn1.ObjectIdentifier
}

// NewDSASigner returns a signer with a key of 1024 bits, which signs with SHA-1,
// or of 2048 bits, which signs with SHA-256. Of o, Name and the times are used.
func NewDSASigner(bits int, o Options) (*DSASigner, error) {
	parameters, s := dsa2048, &DSASigner{hash: crypto.SHA256, oid: oidDSAWithSHA256}
	if bits == 1024 {
		parameters, s = dsa1024, &DSASigner{hash: crypto.SHA1, oid: oidDSAWithSHA1}
	}
	block, _ := pem.Decode(parameters)
	var pqg struct{ P, Q, G *big.Int }
	if _, err := asn1.Unmarshal(block.Bytes, &pqg); err != nil {
		return nil, err
	}
	s.key = &dsa.PrivateKey{PublicKey: dsa.PublicKey{Parameters: dsa.Parameters{P: pqg.P, Q: pqg.Q, G: pqg.G}}}
	if err := dsa.GenerateKey(s.key, rand.Reader); err != nil {
		return nil, err
	}
	template, err := o.template()
	if err != nil {
		return nil, err
	}
	s.Cert, err = s.certify(template.Subject, o.NotBefore, o.NotAfter)
	return s, err
}

type publicKeyInfo struct {
	Algorithm pkix.AlgorithmIdentifier
	Key       asn1.BitString
}

// certify makes the certificate, which crypto/x509 does not for DSA.
func (s *DSASigner) certify(subject pkix.Name, notBefore, notAfter time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return nil, err
	}
	public, err := asn1.Marshal(s.key.Y)
	if err != nil {
		return nil, err
	}
	parameters, err := asn1.Marshal(struct{ P, Q, G *big.Int }{s.key.P, s.key.Q, s.key.G})
	if err != nil {
		return nil, err
	}
	algorithm := pkix.AlgorithmIdentifier{Algorithm: s.oid}
	tbs, err := asn1.Marshal(struct {
		Version   int `asn1:"explicit,tag:0"`
		Serial    *big.Int
		Algorithm pkix.AlgorithmIdentifier
		Issuer    pkix.RDNSequence
		Validity  struct{ NotBefore, NotAfter time.Time }
		Subject   pkix.RDNSequence
		Key       publicKeyInfo
	}{
		Version: 2, Serial: serial, Algorithm: algorithm, Issuer: subject.ToRDNSequence(), Subject: subject.ToRDNSequence(),
		Validity: struct{ NotBefore, NotAfter time.Time }{notBefore.UTC(), notAfter.UTC()},
		Key: publicKeyInfo{
			Algorithm: pkix.AlgorithmIdentifier{Algorithm: oidDSA, Parameters: asn1.RawValue{FullBytes: parameters}},
			Key:       asn1.BitString{Bytes: public, BitLength: 8 * len(public)},
		},
	})
	if err != nil {
		return nil, err
	}
	signature, err := s.sign(tbs)
	if err != nil {
		return nil, err
	}
	der, err := asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: tbs}, algorithm, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func (s *DSASigner) sign(message []byte) ([]byte, error) {
	sum, err := digest(s.hash, message)
	if err != nil {
		return nil, err
	}
	r, t, err := dsa.Sign(rand.Reader, s.key, sum)
	if err != nil {
		return nil, fmt.Errorf("signing with DSA: %w", err)
	}
	return asn1.Marshal(struct{ R, S *big.Int }{r, t})
}

// SignPKCS7 returns, in DER, a PKCS #7 SignedData that encloses content and the
// certificate of s.
func (s *DSASigner) SignPKCS7(content []byte) ([]byte, error) {
	signature, err := s.sign(content)
	if err != nil {
		return nil, err
	}
	hash := oidSHA256
	if s.hash == crypto.SHA1 {
		hash = oidSHA1
	}
	return signedDataOf(content, s.Cert, hash, pkix.AlgorithmIdentifier{Algorithm: s.oid}, signature)
}
