package accept

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/sshd"
)

// A Key is what sshd judges a key by.
type Key struct {
	Type string // ssh-rsa
	Bits int    // of RSA; 0 where that is not known
	Blob []byte // nil where only the fingerprint is known
}

// KeyOf returns the key of a line of authorized_keys without options.
func KeyOf(line string) (Key, error) {
	key, err := fingerprint.ParseKey([]byte(line))
	return Key{key.Type(), key.RSABits(), key.Blob()}, err
}

// algorithms are those by which a key can sign. sshd accepts the key if it accepts one.
func (k Key) algorithms() []string {
	if k.Type == "ssh-rsa" {
		return []string{"rsa-sha2-512", "rsa-sha2-256"}
	}
	return []string{k.Type}
}

// Key returns what keeps sshd from accepting the key.
func (a *Access) Key(ctx context.Context, key Key) []Limit {
	var limits []Limit
	add := func(limit *Limit) {
		if limit != nil {
			limits = append(limits, *limit)
		}
	}
	add(a.algorithm(ctx, key))
	add(a.size(ctx, key))
	add(a.options(ctx, key))
	add(a.revoked(ctx, key))
	return limits
}

const (
	acceptedAlgorithms = "PubkeyAcceptedAlgorithms"
	acceptedKeyTypes   = "PubkeyAcceptedKeyTypes" // before OpenSSH 8.5
)

// AcceptsType reports whether sshd accepts keys of a type.
func (a *Access) AcceptsType(keyType string) bool {
	list := a.values.Get(acceptedAlgorithms, acceptedKeyTypes)
	return list == "" || a.accepts(list, append((Key{Type: keyType}).algorithms(), keyType))
}

// accepts does what sshd does: the list has wildcards, and ! to deny.
func (a *Access) accepts(list string, algorithms []string) bool {
	for _, algorithm := range algorithms {
		if sshd.MatchList(strings.Split(list, ","), algorithm) {
			return true
		}
	}
	return false
}

func (a *Access) algorithm(ctx context.Context, key Key) *Limit {
	keyword := acceptedAlgorithms
	list := a.values.Get(keyword)
	if list == "" {
		keyword = acceptedKeyTypes
		list = a.values.Get(keyword)
	}
	wanted := key.algorithms()
	if list == "" || a.accepts(list, wanted) {
		return nil
	}
	if key.Type == "ssh-rsa" && a.accepts(list, []string{key.Type}) {
		return &Limit{"key-sha1-only", Unknown, fmt.Sprintf("whether the client signs with SHA-1, as sshd asks of RSA keys: %s has neither rsa-sha2-512 nor rsa-sha2-256%s, and ssh of OpenSSH 8.8 and later does not", keyword, a.from(ctx, keyword)),
			a.change(ctx, keyword, strings.Join(append(wanted, list), ",")), true}
	}
	return a.refuses(ctx, "key-type-refused", a.change(ctx, keyword, strings.Join(append(strings.Split(list, ","), wanted...), ",")), keyword,
		"refuses keys of the type %s: %s is %s", key.Type, keyword, list)
}

func (a *Access) size(ctx context.Context, key Key) *Limit {
	// RHEL had it as RSAMinSize first.
	for _, keyword := range []string{"RequiredRSASize", "RSAMinSize"} {
		least, err := strconv.Atoi(a.values.Get(keyword))
		switch {
		case err != nil || key.Type != "ssh-rsa":
		case key.Bits == 0 && least > 2048:
			return &Limit{"key-size-refused", Unknown, fmt.Sprintf("whether the RSA key is long enough: its size is not known, and %s of sshd is %d%s", keyword, least, a.from(ctx, keyword)), "", false}
		case key.Bits != 0 && key.Bits < least:
			return a.refuses(ctx, "key-size-refused", a.change(ctx, keyword, strconv.Itoa(key.Bits)), keyword,
				"refuses RSA keys of %d bits: %s is %d", key.Bits, keyword, least)
		}
	}
	return nil
}

// options looks at what sshd asks of security keys.
func (a *Access) options(ctx context.Context, key Key) *Limit {
	options := a.values.Get("pubkeyauthoptions")
	if !strings.HasPrefix(key.Type, "sk-") || !strings.Contains(options, "verify-required") {
		return nil
	}
	return &Limit{"key-verify-required", Unknown, fmt.Sprintf("whether the security key verifies its user: PubkeyAuthOptions of sshd is %s%s, and a key that ssh-keygen made without -O verify-required is refused", options, a.from(ctx, "PubkeyAuthOptions")), "", false}
}
