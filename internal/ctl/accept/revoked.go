package accept

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"github.com/eic-agent/eic-agent/internal/ctl/fingerprints"
	"github.com/eic-agent/eic-agent/internal/hostcmd"
)

// UnusableRevokedKeys is the limit of an sshd that cannot use its RevokedKeys.
const UnusableRevokedKeys = "revoked-keys"

// A revokedList is the file of RevokedKeys.
type revokedList struct {
	path    string // "" for none
	text    []byte // nil where it cannot be read
	krl     bool   // as ssh-keygen -k writes it
	invalid string // why sshd cannot use it, and so refuses every key
}

// revokedKeys reads the file of RevokedKeys, once.
func (a *Access) revokedKeys(ctx context.Context) *revokedList {
	if a.list != nil {
		return a.list
	}
	list := &revokedList{}
	a.list = list
	path := a.values.Get("revokedkeys")
	if path == "" || path == "none" {
		return list
	}
	list.path = path
	var err error
	list.text, err = os.ReadFile(a.server.Path(path))
	switch {
	case err != nil && os.Geteuid() != 0: // only root can tell
	case err != nil:
		list.invalid = err.Error()
	case bytes.HasPrefix(list.text, []byte("SSHKRL\n\x00")):
		list.krl = true
		const anyKey = "AAAAC3NzaC1lZDI1NTE5AAAAINohITzWz6NQDHgCdHYsQt3t+BsQLWjJiasKh09vNjsC"
		if _, err := inKRL(ctx, a.server.Path(path), "ssh-ed25519 "+anyKey); hostcmd.ExitCode(err) > 1 {
			list.invalid = hostcmd.FirstLine(err)
		}
	default:
		number := 0
		for line := range bytes.Lines(list.text) {
			number++
			if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' && !isKeyLine(string(line)) {
				list.invalid = fmt.Sprintf("line %d is not a public key", number)
				break
			}
		}
	}
	return list
}

// UnusableRevokedKeys returns the file of RevokedKeys, "" for none, and why sshd cannot use
// it, with which it refuses every key (sshd_config(5)); "" where it can, and where that is
// not known.
func (a *Access) UnusableRevokedKeys(ctx context.Context) (path, why string) {
	list := a.revokedKeys(ctx)
	return list.path, list.invalid
}

// revoked looks the key up in RevokedKeys, where that is readable.
func (a *Access) revoked(ctx context.Context, key Key) *Limit {
	list := a.revokedKeys(ctx)
	if list.invalid != "" {
		return a.refuses(ctx, UnusableRevokedKeys, "correct the file, or make it anew with ssh-keygen -k", "RevokedKeys", "refuses every key: it cannot use RevokedKeys, %s: %s", list.path, list.invalid)
	}
	if list.text == nil || key.Blob == nil {
		return nil
	}
	line := key.Type + " " + base64.StdEncoding.EncodeToString(key.Blob)
	found := false
	if list.krl {
		var err error
		if found, err = inKRL(ctx, a.server.Path(list.path), line); err != nil {
			return &Limit{"key-revoked", Unknown, fmt.Sprintf("whether RevokedKeys, %s, revokes the key: %s", list.path, hostcmd.FirstLine(err)), "", false}
		}
	} else {
		found = listed(list.text, line)
	}
	if !found {
		return nil
	}
	return a.refuses(ctx, "key-revoked", "push another key, or take this one out of "+list.path, "RevokedKeys", "refuses this key: it is in RevokedKeys, %s", list.path)
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

func listed(text []byte, line string) bool {
	reports, _ := fingerprints.Read(bytes.NewReader(text), "")
	for _, r := range reports {
		if r.Line() == line {
			return true
		}
	}
	return false
}

// inKRL asks ssh-keygen, which exits 0 for a key that a list does not revoke and 1 for one
// that it does.
func inKRL(ctx context.Context, path, line string) (bool, error) {
	_, err := hostcmd.Command{Name: "ssh-keygen", Args: []string{"-Q", "-f", path, "/dev/stdin"}, Stdin: []byte(line + "\n")}.Run(ctx)
	if hostcmd.ExitCode(err) == 1 {
		return true, nil
	}
	return false, err
}
