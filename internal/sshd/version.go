package sshd

import (
	"fmt"
	"regexp"
	"strconv"
	"sync"
)

// A Version is a release of OpenSSH. The zero Version is one that is not known.
type Version struct {
	Major int `json:"major"`
	Minor int `json:"minor"`
}

// IsZero reports whether the version is not known.
func (v Version) IsZero() bool { return v == Version{} }

// AtLeast reports whether v is that release or a later one. A version that is not
// known is at least none.
func (v Version) AtLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor && !v.IsZero()
}

func (v Version) String() string {
	if v.IsZero() {
		return "unknown"
	}
	return fmt.Sprintf("%d.%d", v.Major, v.Minor)
}

// MarshalText implements encoding.TextMarshaler.
func (v Version) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

var versionPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`OpenSSH_(\d+)\.(\d+)`) })

// parseVersion finds the version in what sshd says of itself.
func parseVersion(text string) Version {
	m := versionPattern().FindStringSubmatch(text)
	if m == nil {
		return Version{}
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	return Version{major, minor}
}

// TakesExpiryUTC reports whether this version takes an expiry-time that ends in
// Z: older ones ignore the line.
func (v Version) TakesExpiryUTC() bool { return v.AtLeast(9, 1) }

// KnowsToken reports whether an AuthorizedKeysCommand may have the token %c. One
// that sshd does not know passes sshd -t, and then ends every connection that gets
// as far as the command.
func (v Version) KnowsToken(c byte) bool {
	switch c {
	case '%', 'u', 'h', 't', 'f', 'k':
		return v.AtLeast(6, 9)
	case 'U':
		return v.AtLeast(7, 8)
	case 'C', 'D':
		return v.AtLeast(9, 4)
	}
	return false
}
