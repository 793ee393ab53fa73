package sessions

import (
	"context"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/ctl/accept"
)

// HoldAgainst names the line of sshd's configuration by which it refused, unasked, what
// is in Before, or asks for a further method, where that line is still in force. It asks the
// sshd of this host.
func (a *Answer) HoldAgainst(ctx context.Context) {
	for i := range a.Decisions {
		a.Decisions[i].askForMore(ctx)
	}
	for i, b := range a.Before {
		if b.User == "" {
			continue
		}
		access, err := accept.Ask(ctx, b.User, b.Address)
		if err != nil {
			continue
		}
		limits := access.User(ctx)
		if b.KeyType != "" {
			limits = append(limits, access.Key(ctx, accept.Key{Type: keyType(b.KeyType)})...)
		}
		for _, limit := range limits {
			tooShort := limit.ID == "key-size-refused" && strings.Contains(b.SSHD, "Invalid key length")
			if limit.Status == accept.Refuses || tooShort {
				a.Before[i].Limit, a.Before[i].Do = limit.Text, limit.Fix
				if limit.Fix == "" {
					a.Before[i].Do = b.Do
				}
				break
			}
		}
	}
}

// askForMore has a further method be the likeliest cause where sshd asks for one now: it
// records that one was missing only with LogLevel VERBOSE.
func (d *Decision) askForMore(ctx context.Context) {
	if d.Decision != DecidedUnused || len(d.Causes) < 2 || d.Causes[0] == CauseNotSigned || !slices.Contains(d.Causes, CauseFurtherMethod) {
		return
	}
	access, err := accept.Ask(ctx, d.User, d.offer.Address)
	if err != nil {
		return
	}
	for _, limit := range access.User(ctx) {
		if limit.ID == "authentication-methods" && limit.Status == accept.Note {
			d.offer.Causes = append([]Cause{CauseFurtherMethod}, slices.DeleteFunc(slices.Clone(d.Causes), func(c Cause) bool { return c == CauseFurtherMethod })...)
			*d = d.offer.decision(d.Decision)
			d.Limit = limit.Text
		}
	}
}

// keyType returns the key type for a name in sshd's messages: the type itself, a short
// name such as RSA, or a signature algorithm.
func keyType(name string) string {
	switch lower := strings.ToLower(name); {
	case lower == "rsa", strings.HasPrefix(lower, "rsa-sha2-"):
		return "ssh-rsa"
	case lower == "ed25519":
		return "ssh-ed25519"
	}
	return name
}
