// Package pki makes the X.509 certificates and OCSP staples that stand behind
// the signer of pushed SSH keys. It makes right ones for the emulator and, on
// purpose, wrong ones for test vectors: nothing here asks whether a certificate
// makes sense. It reads no clock; every time is given by the caller.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"
)

const (
	organization = "EIC Emulator"
	signerBits   = 2048
	serialBits   = 127 // positive, and well under the 20 octets of RFC 5280
)

// An Authority is a certificate and the key that it certifies. Root,
// intermediate, OCSP responder and signer leaf are all of this one kind; only
// their certificates differ.
type Authority struct {
	Cert *x509.Certificate
	Key  crypto.Signer
}

// Options describe a certificate to be made.
type Options struct {
	Name      string        // common name of the subject
	NotBefore time.Time     // must be set
	NotAfter  time.Time     // must be set; may be before NotBefore
	Key       crypto.Signer // nil: a new key, RSA 2048 for a signer, else ECDSA P-256

	// Change has the last word on the template before it is signed. Nil
	// leaves it as it is.
	Change func(template *x509.Certificate)
}

func (o Options) template() (*x509.Certificate, error) {
	if o.NotBefore.IsZero() || o.NotAfter.IsZero() {
		return nil, fmt.Errorf("certificate %q needs NotBefore and NotAfter", o.Name)
	}
	return &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{organization}, CommonName: o.Name},
		NotBefore:             o.NotBefore,
		NotAfter:              o.NotAfter,
		BasicConstraintsValid: true,
	}, nil
}

func (o Options) caTemplate() (*x509.Certificate, error) {
	template, err := o.template()
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	return template, nil
}

func (o Options) change(template *x509.Certificate) {
	if o.Change != nil {
		o.Change(template)
	}
}

func (o Options) key() (crypto.Signer, error) {
	if o.Key != nil {
		return o.Key, nil
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// NewRoot returns a self-signed authority.
func NewRoot(o Options) (*Authority, error) {
	template, err := o.caTemplate()
	if err != nil {
		return nil, err
	}
	key, err := o.key()
	if err != nil {
		return nil, err
	}
	o.change(template)
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &Authority{Cert: cert, Key: key}, nil
}

// NewIntermediate returns an authority certified by a.
func (a *Authority) NewIntermediate(o Options) (*Authority, error) {
	template, err := o.caTemplate()
	if err != nil {
		return nil, err
	}
	return a.certify(template, o)
}

// NewResponder returns a delegated OCSP responder certified by a (RFC 6960
// section 4.2.2.2): extended key usage OCSPSigning, and id-pkix-ocsp-nocheck.
func (a *Authority) NewResponder(o Options) (*Authority, error) {
	template, err := o.template()
	if err != nil {
		return nil, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
	template.ExtraExtensions = []pkix.Extension{{
		Id:    asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5},
		Value: asn1.NullBytes,
	}}
	return a.certify(template, o)
}

// SignerName returns the name that the signer of a region carries as its
// common name and its only DNS name.
func SignerName(region, domain string) string {
	return "managed-ssh-signer." + region + "." + domain
}

// IssueSigner returns the signer of a region, certified by a: extended key
// usage serverAuth, named by SignerName; o.Name is not used.
func (a *Authority) IssueSigner(region, domain string, o Options) (*Authority, error) {
	o.Name = SignerName(region, domain)
	template, err := o.template()
	if err != nil {
		return nil, err
	}
	template.DNSNames = []string{o.Name}
	template.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if o.Key == nil {
		if o.Key, err = rsa.GenerateKey(rand.Reader, signerBits); err != nil {
			return nil, err
		}
	}
	return a.certify(template, o)
}

func (a *Authority) certify(template *x509.Certificate, o Options) (*Authority, error) {
	key, err := o.key()
	if err != nil {
		return nil, err
	}
	o.change(template)
	cert, err := a.Issue(template, key.Public())
	if err != nil {
		return nil, err
	}
	return &Authority{Cert: cert, Key: key}, nil
}

// CrossSign certifies the name and key of other by a second issuer, a. Of o
// only the times and Change are used.
func (a *Authority) CrossSign(other *Authority, o Options) (*x509.Certificate, error) {
	template, err := o.caTemplate()
	if err != nil {
		return nil, err
	}
	template.RawSubject = other.Cert.RawSubject
	template.SubjectKeyId = other.Cert.SubjectKeyId
	o.change(template)
	return a.Issue(template, other.Key.Public())
}

// Issue signs template, as x509.CreateCertificate reads it, for the key pub. A
// nil SerialNumber becomes a random one, a nil SubjectKeyId the hash of pub;
// the template itself is left alone. Whether a may issue is not checked.
func (a *Authority) Issue(template *x509.Certificate, pub crypto.PublicKey) (*x509.Certificate, error) {
	return sign(template, a.Cert, pub, a.Key)
}

func sign(template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	filled := *template
	if filled.SerialNumber == nil {
		serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
		if err != nil {
			return nil, err
		}
		filled.SerialNumber = serial.Add(serial, big.NewInt(1))
	}
	if filled.SubjectKeyId == nil {
		id, err := keyID(pub)
		if err != nil {
			return nil, err
		}
		filled.SubjectKeyId = id
	}
	der, err := x509.CreateCertificate(rand.Reader, &filled, parent, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// keyID follows RFC 7093 section 2, method 1, over the whole
// SubjectPublicKeyInfo.
func keyID(pub crypto.PublicKey) ([]byte, error) {
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(spki)
	return sum[:20], nil
}

// SignPSS signs message the way pushed keys are signed: RSA-PSS with SHA-256,
// MGF1 with SHA-256, and a salt of 32 bytes. The key of a must be RSA.
func (a *Authority) SignPSS(message []byte) ([]byte, error) {
	if _, ok := a.Key.Public().(*rsa.PublicKey); !ok {
		return nil, errors.New("signing a key record needs an RSA key")
	}
	digest := sha256.Sum256(message)
	return a.Key.Sign(rand.Reader, digest[:], &rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256})
}
