package keycache

import (
	"context"
	"encoding/json"
)

const (
	signerName = "signer"
	maxSigner  = 256 << 10
)

// A Signer is what the metadata service served to prove the signing certificate
// with. It has to be proved again.
type Signer struct {
	Region     string
	Domain     string
	InstanceID string // "" where the metadata service was not asked
	Chain      []byte
	Staples    [][]byte
}

// Signer returns the signing chain that another run proved.
func (c *Cache) Signer() (s Signer, ok bool) {
	data, ok := c.load(signerName, maxSigner)
	if !ok || json.Unmarshal(data, &s) != nil {
		return Signer{}, false
	}
	return s, true
}

// StoreSigner keeps a signing chain.
func (c *Cache) StoreSigner(s Signer) {
	if data, err := json.Marshal(s); err == nil && len(data) <= maxSigner {
		c.store(signerName, data)
	}
}

// LeadSigner lets one run at a time fetch the signing chain; see lead.
func (c *Cache) LeadSigner(ctx context.Context) (waited bool, done func()) {
	return c.lead(ctx, signerName)
}
