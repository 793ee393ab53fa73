package keycache

import (
	"context"
	"encoding/json"
	"time"
)

const (
	tokenName = "token"
	maxToken  = 2 << 10
	// tokenMargin is how long a token has to be good for to be used.
	tokenMargin = 10 * time.Second
)

type tokenEntry struct {
	Token   string
	Expires time.Time
}

// Token returns the session token that another run got, and how long it is still
// good for. It is as good as the metadata service finds it to be.
func (c *Cache) Token(now time.Time) (token string, left time.Duration, ok bool) {
	data, ok := c.load(tokenName, maxToken)
	if !ok {
		return "", 0, false
	}
	var e tokenEntry
	if json.Unmarshal(data, &e) != nil || e.Token == "" {
		return "", 0, false
	}
	left = e.Expires.Sub(now)
	return e.Token, left, left > tokenMargin
}

// StoreToken keeps a session token until it expires.
func (c *Cache) StoreToken(token string, expires time.Time) {
	if data, err := json.Marshal(tokenEntry{token, expires}); err == nil && len(data) <= maxToken {
		c.store(tokenName, data)
	}
}

// DropToken forgets the session token, which the metadata service refused.
func (c *Cache) DropToken() { c.remove(tokenName) }

// LeadToken lets one run at a time get a session token; see lead.
func (c *Cache) LeadToken(ctx context.Context) (waited bool, done func()) {
	return c.lead(ctx, tokenName)
}
