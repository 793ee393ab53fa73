package keycache

import (
	"context"
	"strconv"
	"strings"
	"time"
)

const (
	tokenName = "token"
	maxToken  = 2 << 10
	// tokenMargin is how long a token has to be good for to be used.
	tokenMargin = 10 * time.Second
)

// Token returns the session token that another run got, and how long it is still
// good for. It is as good as the metadata service finds it to be.
//
// The entry is the Unix time at which it expires, a space and the token.
func (c *Cache) Token(now time.Time) (token string, left time.Duration, ok bool) {
	data, ok := c.load(tokenName, maxToken)
	if !ok {
		return "", 0, false
	}
	expires, token, _ := strings.Cut(string(data), " ")
	seconds, err := strconv.ParseInt(expires, 10, 64)
	if err != nil || token == "" {
		return "", 0, false
	}
	left = time.Unix(seconds, 0).Sub(now)
	return token, left, left > tokenMargin
}

// StoreToken keeps a session token until it expires.
func (c *Cache) StoreToken(token string, expires time.Time) {
	data := strconv.FormatInt(expires.Unix(), 10) + " " + token
	if len(data) <= maxToken {
		c.store(tokenName, []byte(data))
	}
}

// DropToken forgets the session token, which the metadata service refused.
func (c *Cache) DropToken() { c.remove(tokenName) }

// LeadToken lets one run at a time get a session token; see lead.
func (c *Cache) LeadToken(ctx context.Context) (waited bool, done func()) {
	return c.lead(ctx, tokenName)
}
