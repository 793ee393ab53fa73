package doctor

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/eic-agent/eic-agent/internal/ctl/nss"
)

// An account is one of passwd(5).
type account struct {
	name     string
	uid, gid uint32
	groups   []uint32
	home     string
	shell    string
}

// credential starts a process as sshd starts the command.
func (a account) credential() *syscall.Credential {
	return &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: a.groups}
}

// lookUp finds an account wherever the host keeps them, which may know it by another
// name. The error is nss.ErrNone, or says why it could not be determined.
func lookUp(ctx context.Context, name string) (account, error) {
	line, err := nss.Passwd(ctx, name)
	if err != nil {
		return account{}, err
	}
	a, err := parseAccount(line)
	if err != nil {
		return account{}, err
	}
	a.groups = []uint32{a.gid}
	if out, err := run(ctx, "getent", "--", "initgroups", a.name); err == nil {
		a.groups = parseGroups(out, a.gid)
	}
	return a, nil
}

func parseAccount(line string) (account, error) {
	fields := strings.Split(line, ":")
	if len(fields) != 7 {
		return account{}, fmt.Errorf("the account has %d fields, not 7", len(fields))
	}
	uid, uidErr := strconv.ParseUint(fields[2], 10, 32)
	gid, gidErr := strconv.ParseUint(fields[3], 10, 32)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return account{}, err
	}
	return account{name: fields[0], uid: uint32(uid), gid: uint32(gid), home: fields[5], shell: fields[6]}, nil
}

// parseGroups reads "name 100 101"; gid is always among them.
func parseGroups(line string, gid uint32) []uint32 {
	groups := []uint32{gid}
	for i, field := range strings.Fields(line) {
		if n, err := strconv.ParseUint(field, 10, 32); i > 0 && err == nil && uint32(n) != gid {
			groups = append(groups, uint32(n))
		}
	}
	return groups
}
