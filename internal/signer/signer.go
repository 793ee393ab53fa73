// Package signer verifies the certificate that signs pushed SSH keys: that it
// chains to a pinned root, is the one of this region, and is not revoked.
//
// Verify reads the chain that the metadata service serves and gives a Chain,
// which is trusted but may be revoked. Chain.Prove adds the OCSP staples and
// gives a Signer. Only a Signer vouches for records.
package signer

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"time"

	"github.com/eic-agent/eic-agent/internal/reason"
)

// saltLength is the length in bytes of the salt of record signatures.
const saltLength = 32

// A Signer is a proved signing certificate. Only Chain.Prove makes one; the
// zero and the nil Signer vouch for nothing.
type Signer struct {
	key        *rsa.PublicKey
	validUntil time.Time
}

// Signed reports whether signature is the signer's over message: RSA-PSS with
// SHA-256, MGF1 with SHA-256 and a salt of 32 bytes, no other.
func (s *Signer) Signed(message, signature []byte) bool {
	if s == nil || s.key == nil {
		return false
	}
	digest := sha256.Sum256(message)
	options := &rsa.PSSOptions{SaltLength: saltLength, Hash: crypto.SHA256}
	return rsa.VerifyPSS(s.key, crypto.SHA256, digest[:], signature, options) == nil
}

// ValidUntil returns the first time at which what proved the signer no longer
// does: the end of a certificate or of a staple.
func (s *Signer) ValidUntil() time.Time { return s.validUntil }

// Prove proves that no certificate of the chain below its root is revoked.
// staples are OCSP responses in base64, as served, in any order and for
// any certificates; a staple's content names its certificate.
// Where several paths lead from the signer to trusted roots, one that is proved
// is enough. The error is a *reason.Error.
func (c *Chain) Prove(staples [][]byte, now time.Time) (*Signer, error) {
	decoded := decodeStaples(staples)
	first := error(reason.New(reason.SignerUntrusted, errNoPath.Error()))
	for tried := 0; ; {
		for ; tried < len(c.paths); tried++ {
			until, err := provePath(c.paths[tried], decoded, clock{now: now, skew: c.clock.skew})
			if err == nil {
				return &Signer{key: c.key, validUntil: until}, nil
			}
			if tried == 0 {
				first = err
			}
		}
		if !c.widen() {
			return nil, first
		}
	}
}

// provePath proves every certificate of path but the last, the root, which
// has no issuer to vouch for it.
func provePath(path []*x509.Certificate, staples []staple, at clock) (until time.Time, err error) {
	until = path[0].NotAfter
	for i, cert := range path[:len(path)-1] {
		stapleUntil, err := proveNotRevoked(cert, path[i+1], staples, at)
		if err != nil {
			return time.Time{}, err
		}
		until = earliest(until, cert.NotAfter, path[i+1].NotAfter, stapleUntil)
	}
	return until, nil
}

func earliest(first time.Time, others ...time.Time) time.Time {
	for _, t := range others {
		if t.Before(first) {
			first = t
		}
	}
	return first
}
