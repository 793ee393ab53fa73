package sshd

import (
	"strings"

	"github.com/eic-agent/eic-agent/internal/pattern"
)

// MatchList is match_pattern_list of openssh-portable, as in AllowUsers: * and ?, and
// ! to deny.
func MatchList(patterns []string, s string) bool {
	found := false
	for _, text := range patterns {
		p, err := pattern.Compile(pattern.Wildcard, strings.TrimPrefix(text, "!"))
		if err != nil || !p.Match(s) {
			continue
		}
		if strings.HasPrefix(text, "!") {
			return false
		}
		found = true
	}
	return found
}
