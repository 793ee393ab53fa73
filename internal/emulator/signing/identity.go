package signing

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/pki"
)

// An Identity signs instance identity documents.
type Identity struct {
	RSA              *pki.Authority // signature and rsa2048
	DSA1024, DSA2048 *pki.DSASigner // pkcs7, dsa2048
}

// newIdentity makes the keys and certificates that documents are signed with.
func newIdentity(key crypto.Signer, now time.Time) (*Identity, error) {
	if key == nil {
		var err error
		if key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return nil, err
		}
	}
	o := pki.Options{Name: "EIC Emulator Instance Identity", NotBefore: now.Add(-authorityAge), NotAfter: now.Add(authorityValid), Key: key}
	var (
		by   Identity
		errs [3]error
	)
	by.RSA, errs[0] = pki.NewRoot(o)
	by.DSA1024, errs[1] = pki.NewDSASigner(1024, o)
	by.DSA2048, errs[2] = pki.NewDSASigner(2048, o)
	return &by, errors.Join(errs[:]...)
}

// PEM returns the certificates: RSA, and DSA of 1024 and of 2048 bits.
func (i *Identity) PEM() []byte { return pki.EncodePEM(i.RSA.Cert, i.DSA1024.Cert, i.DSA2048.Cert) }
