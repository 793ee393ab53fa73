package world

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// NewUUID returns a version 4 UUID, the form of request IDs.
func NewUUID() string {
	var u [16]byte
	rand.Read(u[:])
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// NewID returns an ID of EC2: the kind, such as key, and 17 hex digits.
func NewID(kind string) string {
	var b [9]byte
	rand.Read(b[:])
	return kind + "-" + hex.EncodeToString(b[:])[:17]
}
