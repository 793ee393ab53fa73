package config

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// options are those of authorized_keys that may be put before every key, each
// with whether it takes a value (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
// cert-authority and principals are left out: a pushed key is no CA. sshd
// ignores a whole line for an option that it does not know, so others are an
// error here.
func options() (bare, valued []string) {
	return []string{
			"restrict", "agent-forwarding", "port-forwarding", "pty", "user-rc", "X11-forwarding",
			"no-agent-forwarding", "no-port-forwarding", "no-pty", "no-user-rc", "no-X11-forwarding",
			"no-touch-required", "verify-required",
		}, []string{
			"command", "environment", "expiry-time", "from", "permitlisten", "permitopen", "tunnel",
		}
}

// sampleKey is any key that parses, to read options in front of.
const sampleKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINohITzWz6NQDHgCdHYsQt3t+BsQLWjJiasKh09vNjsC"

// checkOptions says what is wrong with options to put before every key.
func checkOptions(text string) error {
	if text == "" {
		return nil
	}
	if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return fmt.Errorf("they have a control character")
	}
	_, _, parsed, rest, err := ssh.ParseAuthorizedKey([]byte(text + " " + sampleKey))
	if err != nil || len(rest) > 0 || strings.Join(parsed, ",") != text {
		return fmt.Errorf("%q is not a list of authorized_keys options", text)
	}
	bare, valued := options()
	known := func(list []string, name string) bool {
		return slices.ContainsFunc(list, func(o string) bool { return strings.EqualFold(o, name) })
	}
	for _, option := range parsed {
		name, value, hasValue := strings.Cut(option, "=")
		switch {
		case known(bare, name) && !hasValue:
		case known(valued, name) && hasValue && len(value) > 2 && value[0] == '"' && value[len(value)-1] == '"':
		case known(bare, name), known(valued, name):
			return fmt.Errorf("%s is not written as sshd takes it: %q", name, option)
		default:
			return fmt.Errorf("%q is no option that a pushed key may have", name)
		}
	}
	return nil
}
