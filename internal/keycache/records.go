package keycache

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// maxRecords bounds what is kept for one user: some dozens of records.
const maxRecords = 64 << 10

// recordsName returns the name of a user's entry: a digest, because user names
// are no file names.
func recordsName(user string) string {
	sum := sha256.Sum256([]byte(user))
	return "keys-" + hex.EncodeToString(sum[:16])
}

// Records returns the records that the metadata service served for user. They
// have to be proved again, but they were served for this user and no other.
func (c *Cache) Records(user string) ([]byte, bool) {
	data, ok := c.load(recordsName(user), maxRecords+sha256.Size)
	if !ok || len(data) < sha256.Size {
		return nil, false
	}
	seal, records := data[:sha256.Size], data[sha256.Size:]
	key, err := sealingKey()
	if err != nil || !hmac.Equal(seal, sealOf(key, user, records)) {
		return nil, false
	}
	return records, true
}

// StoreRecords keeps records that were served for user.
func (c *Cache) StoreRecords(user string, records []byte) {
	if c == nil || len(records) > maxRecords {
		return
	}
	key, err := sealingKey()
	if err != nil {
		return
	}
	c.store(recordsName(user), append(sealOf(key, user, records), records...))
}

// LeadRecords lets one run at a time ask for the keys of user; see lead.
func (c *Cache) LeadRecords(ctx context.Context, user string) (waited bool, done func()) {
	return c.lead(ctx, recordsName(user))
}

// sealOf binds records to user. A user name has no NUL.
func sealOf(key []byte, user string, records []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(user + "\x00"))
	mac.Write(records)
	return mac.Sum(nil)
}
