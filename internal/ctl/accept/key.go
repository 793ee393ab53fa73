package accept

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/eic-agent/eic-agent/internal/ctl/fingerprints"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/hostcmd"
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

// revoked looks the key up in RevokedKeys, where that is readable.
func (a *Access) revoked(ctx context.Context, key Key) *Limit {
	path := a.values.Get("revokedkeys")
	if path, why := a.UnusableRevokedKeys(ctx); why != "" {
		return a.refuses(ctx, UnusableRevokedKeys, "correct the file, or make it anew with ssh-keygen -k", "RevokedKeys", "refuses every key: it cannot use RevokedKeys, %s: %s", path, why)
	}
	if path == "" || path == "none" || key.Blob == nil {
		return nil
	}
	text, err := os.ReadFile(a.server.Path(path))
	if err != nil {
		return nil // only root can tell
	}
	found := listed(text, key)
	if bytes.HasPrefix(text, []byte("SSHKRL\n\x00")) {
		if found, err = inKRL(ctx, a.server.Path(path), key); err != nil {
			return &Limit{"key-revoked", Unknown, fmt.Sprintf("whether RevokedKeys, %s, revokes the key: %s", path, hostcmd.FirstLine(err)), "", false}
		}
	}
	if !found {
		return nil
	}
	return a.refuses(ctx, "key-revoked", "push another key, or take this one out of "+path, "RevokedKeys", "refuses this key: it is in RevokedKeys, %s", path)
}

// UnusableRevokedKeys is the limit of an sshd that cannot use its RevokedKeys.
const UnusableRevokedKeys = "revoked-keys"

// UnusableRevokedKeys returns why sshd cannot use its RevokedKeys, with which it refuses
// every key; "" where it can, and where that is not known. path is the file, "" for none.
func (a *Access) UnusableRevokedKeys(ctx context.Context) (path, why string) {
	path = a.values.Get("revokedkeys")
	if path == "" || path == "none" {
		return "", ""
	}
	text, err := os.ReadFile(a.server.Path(path))
	switch {
	case err != nil && os.Geteuid() != 0:
		return path, ""
	case err != nil:
		return path, err.Error()
	case bytes.HasPrefix(text, []byte("SSHKRL\n\x00")):
		const anyKey = "AAAAC3NzaC1lZDI1NTE5AAAAINohITzWz6NQDHgCdHYsQt3t+BsQLWjJiasKh09vNjsC"
		blob, _ := base64.StdEncoding.DecodeString(anyKey)
		if _, err := inKRL(ctx, a.server.Path(path), Key{Type: "ssh-ed25519", Blob: blob}); hostcmd.ExitCode(err) > 1 {
			return path, hostcmd.FirstLine(err)
		}
		return path, ""
	}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' && !isKeyLine(string(line)) {
			return path, fmt.Sprintf("line %d is not a public key", number)
		}
	}
	return path, ""
}

// isKeyLine reports whether a line can be a public key of any type: its second word is the
// base64 of a blob that begins with the first.
func isKeyLine(line string) bool {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return false
	}
	blob, err := base64.StdEncoding.DecodeString(fields[1])
	return err == nil && len(blob) > 4 && strings.HasPrefix(string(blob[4:]), fields[0])
}

func listed(text []byte, key Key) bool {
	reports, _ := fingerprints.Read(bytes.NewReader(text), "")
	for _, r := range reports {
		if r.Line() == key.Type+" "+base64.StdEncoding.EncodeToString(key.Blob) {
			return true
		}
	}
	return false
}

// inKRL asks ssh-keygen, which exits 0 for a key that a list does not revoke and 1 for one
// that it does.
func inKRL(ctx context.Context, path string, key Key) (bool, error) {
	line := key.Type + " " + base64.StdEncoding.EncodeToString(key.Blob) + "\n"
	_, err := hostcmd.Command{Name: "ssh-keygen", Args: []string{"-Q", "-f", path, "/dev/stdin"}, Stdin: []byte(line)}.Run(ctx)
	if hostcmd.ExitCode(err) == 1 {
		return true, nil
	}
	return false, err
}
