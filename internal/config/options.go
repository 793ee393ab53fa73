package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

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
		return fmt.Errorf("must not have control characters")
	}
	_, _, parsed, rest, err := ssh.ParseAuthorizedKey([]byte(text + " " + sampleKey))
	if err != nil || len(rest) > 0 || strings.Join(parsed, ",") != text {
		return fmt.Errorf("%q is not a list of authorized_keys options", text)
	}
	bare, valued := options()
	known := func(list []string, name string) bool {
		return slices.ContainsFunc(list, func(o string) bool { return strings.EqualFold(o, name) })
	}
	seen := make(map[string]bool)
	for _, option := range parsed {
		name, text, hasValue := strings.Cut(option, "=")
		value, quoted := unquote(text)
		name = strings.ToLower(name)
		switch {
		case known(bare, name) && !hasValue:
		case known(valued, name) && hasValue && quoted && takes(name, value) && !(seen[name] && isSingle(name)):
		case known(bare, name), known(valued, name):
			return fmt.Errorf("%s is malformed or given twice: %q", name, option)
		default:
			return fmt.Errorf("%q is not allowed for a pushed key", name)
		}
		seen[name] = true
	}
	return nil
}

// unquote returns the value of an option that is written in double quotes, in
// which a backslash stands before a double quote, and is not empty
// (openssh-portable, opt_dequote).
func unquote(text string) (value string, ok bool) {
	if len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' {
		return "", false
	}
	value = strings.ReplaceAll(text[1:len(text)-1], `\"`, "\x00")
	if value == "" || strings.Contains(value, `"`) || strings.HasSuffix(value, `\`) {
		return "", false
	}
	return strings.ReplaceAll(value, "\x00", `"`), true
}

// isSingle reports whether sshd takes the option once only.
func isSingle(name string) bool { return name == "command" || name == "from" }

// takes reports whether sshd takes the value for the option: for one that it
// does not take it ignores the line (openssh-portable, sshauthopt_parse).
func takes(name, value string) bool {
	switch name {
	case "environment":
		variable, _, ok := strings.Cut(value, "=")
		return ok && strings.Trim(variable, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == "" && variable != ""
	case "expiry-time":
		at, err := time.Parse("20060102150405"[:min(len(value), 14)], value)
		return err == nil && slices.Contains([]int{8, 12, 14}, len(value)) && at.Unix() > 0
	case "permitopen", "permitlisten":
		i := strings.LastIndexByte(value, ':')
		host, port := value[:max(i, 0)], value[i+1:]
		if bare, ok := strings.CutPrefix(host, "["); ok && strings.HasSuffix(bare, "]") {
			host = strings.TrimSuffix(bare, "]")
		} else if strings.ContainsAny(host, ":[]/") {
			return false
		}
		n, err := strconv.ParseUint(port, 10, 16)
		return (host != "" || i < 0 && name == "permitlisten") && len(host) < 1025 && (port == "*" || err == nil && n > 0)
	case "from":
		for pattern := range strings.SplitSeq(value, ",") {
			if address := strings.TrimPrefix(pattern, "!"); strings.Contains(address, "/") {
				if prefix, err := netip.ParsePrefix(address); err != nil || prefix != prefix.Masked() {
					return false
				}
			}
		}
	case "tunnel":
		n, err := strconv.ParseUint(value, 10, 31)
		return strings.EqualFold(value, "any") || err == nil && n < 1<<31-3
	}
	return true
}
