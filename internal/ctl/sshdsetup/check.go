package sshdsetup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/hostcmd"
	"github.com/eic-agent/eic-agent/internal/keyscommand"
	"github.com/eic-agent/eic-agent/internal/sshd"
)

// checkNeeds says what is missing for sshd to run the command.
func (o Options) checkNeeds(ctx context.Context, server *sshd.Server) (*config.Config, *Report) {
	if strings.ContainsAny(o.Program+o.Config, " \t\"'\\%\n") {
		return nil, refuse(Refused, "the path of the program or its configuration contains blanks, quotes or percent signs")
	}
	account, err := o.account()
	if err != nil {
		return nil, refuse(Refused, err.Error(), "create it with: systemd-sysusers eic-agent.conf", "or: useradd --system --no-create-home --shell /usr/sbin/nologin "+o.User)
	}
	if account.Uid == 0 {
		return nil, refuse(Refused, fmt.Sprintf("the account %q is root's: eic-authkeys needs no privilege", o.User))
	}
	err = keyscommand.CheckPath(o.Root, o.Program)
	if err == nil {
		err = keyscommand.CheckAccess(o.Root, o.Program, account.Uid, []uint32{account.Gid})
	}
	if bad := (*keyscommand.PathError)(nil); errors.As(err, &bad) {
		hint := bad.Fix
		if errors.Is(err, fs.ErrNotExist) {
			hint = "install eic-authkeys, or give its path with --program"
		}
		return nil, refuse(Refused, fmt.Sprintf("sshd cannot run %s: %s %s", o.Program, bad.Path, bad.Found), hint)
	}
	cfg, err := o.loadConfig()
	if err != nil {
		return nil, refuse(Refused, err.Error(), "correct "+o.Config)
	}
	if cfg.Keys.ExpiryTime && !server.Version.TakesExpiryUTC() {
		return nil, refuse(Refused, fmt.Sprintf("[keys] expiry_time is true in %s, and OpenSSH %v would ignore every key for it", o.Config, server.Version), "set it to false")
	}
	if unknown, err := server.UnknownTokens(o.command(cfg)); err != nil || len(unknown) > 0 {
		return nil, refuse(Refused, fmt.Sprintf("OpenSSH %v does not support %s", server.Version, strings.Join(unknown, " ")))
	}
	if server.Live() {
		if err := o.tryProgram(ctx, account); err != nil {
			return nil, refuse(Refused, fmt.Sprintf("%s does not run as %s: %v", o.Program, o.User, err))
		}
	}
	return cfg, nil
}

// account looks the user up in /etc/passwd of the system.
func (o Options) account() (*syscall.Credential, error) {
	f, err := os.Open(o.path("/etc/passwd"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) < 4 || fields[0] != o.User {
			continue
		}
		uid, uidErr := strconv.ParseUint(fields[2], 10, 32)
		gid, gidErr := strconv.ParseUint(fields[3], 10, 32)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return nil, fmt.Errorf("the account %q in /etc/passwd: %v", o.User, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("no account %q in /etc/passwd to run eic-authkeys as", o.User)
}

// tryProgram runs the program as sshd would.
func (o Options) tryProgram(ctx context.Context, account *syscall.Credential) error {
	r, err := hostcmd.Command{Name: o.Program, Args: []string{"--version"}, Credential: account}.Run(ctx)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(r.Stdout, "eic-authkeys ") {
		return errors.New("it is not eic-authkeys")
	}
	return nil
}
