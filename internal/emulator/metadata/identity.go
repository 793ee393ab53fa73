package metadata

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// identityLeaves returns what there is of the instance identity document.
func identityLeaves() []string {
	return []string{"document", "dsa2048", "pkcs7", "rsa2048", "signature"}
}

func (s *Service) identityLeaf(m *world.Machine, name string) (body []byte, found bool, err error) {
	document, err := identityDocument(m)
	if err != nil {
		return nil, false, err
	}
	if name == "document" {
		return document, true, nil
	}
	by, err := s.o.Signers.Identity()
	if err != nil {
		return nil, false, err
	}
	switch name {
	case "signature":
		body, err = by.RSA.SignPKCS1(document)
	case "rsa2048":
		body, err = by.RSA.SignPKCS7(document)
	case "pkcs7":
		body, err = by.DSA1024.SignPKCS7(document)
	case "dsa2048":
		body, err = by.DSA2048.SignPKCS7(document)
	default:
		return nil, false, nil
	}
	return wrap64(body), true, err
}

// identityDocument has the members in the order in which AWS has them.
func identityDocument(m *world.Machine) ([]byte, error) {
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
