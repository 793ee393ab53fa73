package emulator

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/pki"
)

// identityLeaves returns what there is of the instance identity document.
func identityLeaves() []string {
	return []string{"document", "dsa2048", "pkcs7", "rsa2048", "signature"}
}

// An identity signs instance identity documents.
type identity struct {
	rsa              *pki.Authority
	dsa1024, dsa2048 *pki.DSASigner
}

func (s *Server) identityLeaf(m *machine, name string) (body []byte, found bool, err error) {
	document, err := m.identityDocument()
	if err != nil {
		return nil, false, err
	}
	if name == "document" {
		return document, true, nil
	}
	by, err := s.identitySigner()
	if err != nil {
		return nil, false, err
	}
	switch name {
	case "signature":
		body, err = by.rsa.SignPKCS1(document)
	case "rsa2048":
		body, err = by.rsa.SignPKCS7(document)
	case "pkcs7":
		body, err = by.dsa1024.SignPKCS7(document)
	case "dsa2048":
		body, err = by.dsa2048.SignPKCS7(document)
	default:
		return nil, false, nil
	}
	return wrap64(body), true, err
}

// identityDocument has the members in the order in which AWS has them.
func (m *machine) identityDocument() ([]byte, error) {
	return json.MarshalIndent(struct {
		AccountID    string   `json:"accountId"`
		Architecture string   `json:"architecture"`
		Zone         string   `json:"availabilityZone"`
		Billing      []string `json:"billingProducts"`
		DevPay       []string `json:"devpayProductCodes"`
		Marketplace  []string `json:"marketplaceProductCodes"`
		ImageID      string   `json:"imageId"`
		InstanceID   string   `json:"instanceId"`
		InstanceType string   `json:"instanceType"`
		KernelID     *string  `json:"kernelId"`
		PendingTime  string   `json:"pendingTime"`
		PrivateIP    string   `json:"privateIp"`
		RAMDiskID    *string  `json:"ramdiskId"`
		Region       string   `json:"region"`
		Version      string   `json:"version"`
	}{
		AccountID: m.Owner(""), Architecture: m.Architecture(), Zone: m.Zone, ImageID: m.ImageID(), InstanceID: m.ID, InstanceType: m.Type,
		PendingTime: m.Launched.UTC().Format(time.RFC3339), PrivateIP: m.PrivateAddress(), Region: m.Region, Version: "2017-09-30",
	}, "", "  ")
}

// newIdentity makes the keys and certificates that documents are signed with.
func newIdentity(key crypto.Signer, now time.Time) (*identity, error) {
	if key == nil {
		var err error
		if key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return nil, err
		}
	}
	o := pki.Options{Name: "EIC Emulator Instance Identity", NotBefore: now.Add(-authorityAge), NotAfter: now.Add(authorityValid), Key: key}
	var (
		by   identity
		errs [3]error
	)
	by.rsa, errs[0] = pki.NewRoot(o)
	by.dsa1024, errs[1] = pki.NewDSASigner(1024, o)
	by.dsa2048, errs[2] = pki.NewDSASigner(2048, o)
	return &by, errors.Join(errs[:]...)
}

// IdentityPEM returns the certificates that instance identity documents are signed
// with: RSA for signature and rsa2048, DSA for pkcs7, and DSA for dsa2048.
func (s *Server) IdentityPEM() ([]byte, error) {
	by, err := s.identitySigner()
	if err != nil {
		return nil, err
	}
	return pki.EncodePEM(by.rsa.Cert, by.dsa1024.Cert, by.dsa2048.Cert), nil
}

// wrap64 is base64 on lines of 64 characters, without a final newline.
func wrap64(data []byte) []byte {
	const width = 64
	text := base64.StdEncoding.AppendEncode(nil, data)
	var b bytes.Buffer
	for len(text) > width {
		b.Write(text[:width])
		b.WriteByte('\n')
		text = text[width:]
	}
	b.Write(text)
	return b.Bytes()
}
