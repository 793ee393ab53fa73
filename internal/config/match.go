package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/osuser"
	"github.com/eic-agent/eic-agent/internal/pattern"
)

// CheckCaller says why text is not a pattern for MatchCaller.
func CheckCaller(text string) error {
	_, err := compileCaller(text)
	return err
}

// CheckUser says why text is not a pattern of user names.
func CheckUser(text string) error {
	_, err := osuser.Compile(text)
	return err
}

// MatchUser reports whether a user name matches a pattern of the shell.
func MatchUser(text, user string) (bool, error) {
	p, err := osuser.Compile(text)
	return err == nil && p.Match(user), err
}

// arnParts is the number of parts of an ARN: arn, partition, service, region,
// account, resource.
const arnParts = 6

// compileCaller returns a pattern for each part of an ARN. A slash is a character
// like the others, as in IAM's ArnLike.
func compileCaller(text string) ([]pattern.Pattern, error) {
	p, err := pattern.Compile(pattern.Text, text)
	if err != nil {
		return nil, fmt.Errorf("caller: %w", err)
	}
	parts := p.Split(':', arnParts)
	if !strings.HasPrefix(text, "arn:") || len(parts) < arnParts {
		return nil, fmt.Errorf("caller %q is not an ARN of six parts, like arn:aws:iam::123456789012:user/*", text)
	}
	colon := pattern.SetOf(":")
	for _, part := range parts[:arnParts-1] {
		if slices.ContainsFunc(part, func(e pattern.Element) bool { return e.Set == colon }) {
			return nil, fmt.Errorf("caller %q matches no ARN: only the sixth part can have a colon", text)
		}
	}
	return parts, nil
}

// MatchCaller reports whether the ARN of an IAM principal matches a pattern as in
// [[users.map]]. It matches as IAM's ArnLike does: each part by itself, so that no
// wildcard reaches over a colon into the next, while within the resource *
// matches slashes too. Beyond ArnLike it knows the shell's bracket expressions.
func MatchCaller(text, arn string) bool {
	want, err := compileCaller(text)
	have := strings.SplitN(arn, ":", arnParts)
	if err != nil || len(want) != len(have) {
		return false
	}
	for i := range want {
		if !want[i].Match(have[i]) {
			return false
		}
	}
	return true
}
