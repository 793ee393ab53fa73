package config

import (
	"fmt"
	"path"
	"strings"
)

// CheckCaller says why pattern is none for MatchCaller.
func CheckCaller(pattern string) error {
	if !strings.HasPrefix(pattern, "arn:") || strings.Count(pattern, ":") < arnParts-1 {
		return fmt.Errorf("caller %q is not an ARN of six parts, like arn:aws:iam::123456789012:user/*", pattern)
	}
	// A pattern for each part, as MatchCaller reads it.
	for _, part := range strings.SplitN(pattern, ":", arnParts) {
		if _, err := path.Match(part, ""); err != nil {
			return fmt.Errorf("caller: %q is not a pattern", part)
		}
	}
	return nil
}

// CheckUser says why pattern is none for a user's name.
func CheckUser(pattern string) error {
	if _, err := path.Match(pattern, ""); err != nil {
		return fmt.Errorf("%q is not a pattern", pattern)
	}
	return nil
}
