package keycache

import (
	"bytes"
	"context"
	"encoding/binary"
	"iter"
)

const (
	signerName   = "signer"
	previousName = "signer-previous"
	maxSigner    = 256 << 10
)

// A Signer is the data that the metadata service served to verify the signing certificate
// with. It has to be verified again.
type Signer struct {
	Region     string
	Domain     string
	InstanceID string // "" where the metadata service was not asked
	Chain      []byte
	Staples    [][]byte
}

// encode writes the parts of s one after the other, each behind its length. JSON
// would cost a login more than reading the file does.
func (s Signer) encode() []byte {
	var b bytes.Buffer
	for _, part := range append([][]byte{[]byte(s.Region), []byte(s.Domain), []byte(s.InstanceID), s.Chain}, s.Staples...) {
		b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		b.Write(part)
	}
	return b.Bytes()
}

// decodeSigner reads what encode wrote.
func decodeSigner(data []byte) (s Signer, ok bool) {
	var parts [][]byte
	for len(data) > 0 {
		if len(data) < 4 {
			return Signer{}, false
		}
		n := binary.BigEndian.Uint32(data)
		data = data[4:]
		if uint64(n) > uint64(len(data)) {
			return Signer{}, false
		}
		parts = append(parts, data[:n])
		data = data[n:]
	}
	if len(parts) < 4 {
		return Signer{}, false
	}
	return Signer{Region: string(parts[0]), Domain: string(parts[1]), InstanceID: string(parts[2]), Chain: parts[3], Staples: parts[4:]}, true
}

// Signers yields the signing chains that other runs proved: the one served last, then
// the one before it, whose records may be live for another minute.
func (c *Cache) Signers() iter.Seq[Signer] {
	return func(yield func(Signer) bool) {
		for _, name := range []string{signerName, previousName} {
			data, _ := c.load(name, maxSigner)
			if s, ok := decodeSigner(data); ok && !yield(s) {
				return
			}
		}
	}
}

// StoreSigner keeps a signing chain, and the one before if it is another.
func (c *Cache) StoreSigner(s Signer) {
	data := s.encode()
	if len(data) > maxSigner {
		return
	}
	if old, ok := c.load(signerName, maxSigner); ok {
		if before, ok := decodeSigner(old); ok && !bytes.Equal(before.Chain, s.Chain) {
			c.store(previousName, old)
		}
	}
	c.store(signerName, data)
}

// LeadSigner lets one run at a time fetch the signing chain; see lead.
func (c *Cache) LeadSigner(ctx context.Context) (waited bool, done func()) {
	return c.lead(ctx, signerName)
}
