package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/ctl/nss"
	"github.com/eic-agent/eic-agent/internal/keyscommand"
)

// A runner is the account that sshd runs the command as.
type runner struct {
	account account
	named   string // what AuthorizedKeysCommandUser says, or the default
	err     error  // why there is no such account
	why     string // the same in a sentence
}

// foreign reports whether it is an account that is not for the agent.
func (r runner) foreign() bool { return r.account.uid == 0 || r.account.uid == nobody }

// findRunner looks the account up.
func (e *exam) findRunner() runner {
	r := runner{named: defaultAccount}
	if s := e.server(); s.ours() && s.effective.User != "" {
		r.named = s.effective.User
	}
	r.account, r.err = lookUp(e.ctx, r.named)
	if r.err != nil {
		r.why = fmt.Sprintf("cannot look up %.64q, the command's account: %v", r.named, r.err)
	}
	return r
}

// checkCommand looks at the command as sshd does before it runs it.
func checkCommand(e *exam, f *findings) {
	s := e.server()
	if s.splitErr != nil {
		f.problem(commandArguments, e.commandFix(plainTokens), "cannot parse AuthorizedKeysCommand: %v", s.splitErr)
		return
	}
	if why := s.notOurs(); why != "" {
		f.unknown("command-path", "%s", because(why))
		return
	}
	checkArguments(e, s, f)
	pathOK := checkPath(e, s, f)
	accountOK := checkAccount(e, s, f)
	switch p := e.probe(); {
	case !pathOK:
		f.unknown("command-runs", "%s", because("the check of the command's path failed"))
	case !accountOK || !p.asked:
		f.unknown("command-runs", "%s", because("it cannot be run as "+e.runner().named))
	case p.fault != "":
		f.unknown("command-runs", "%s", because(p.fault))
	default:
		checkRuns(e, s, p, f)
	}
}

// plainTokens are what the agent is called with where nothing else is needed.
const plainTokens = "%u %f"

// pathFix is what the rule for paths says, or another program.
func (e *exam) pathFix(fault *keyscommand.PathError) fix {
	if fault.Fix == "" {
		return e.commandFix(plainTokens)
	}
	return shell("%s", fault.Fix)
}

// otherProgramFix has sshd run another program than one that does not run.
func (e *exam) otherProgramFix(path string) fix {
	if atHand() == path {
		return advice("reinstall eic-agent for this machine's architecture, on a file system not mounted noexec")
	}
	return e.commandFix(plainTokens)
}

// arguments reads those of eic-authkeys as the program does: the configuration
// that they name, or "", and what is left.
func arguments(words []string) (configPath string, rest []string, err error) {
	if len(words) == 0 {
		return "", nil, nil
	}
	for rest = words[1:]; len(rest) > 0 && strings.HasPrefix(rest[0], "-"); {
		name, value, given := strings.Cut(strings.TrimLeft(rest[0], "-"), "=")
		rest = rest[1:]
		if name == "" && !given {
			return configPath, rest, nil
		}
		if name != "config" {
			return configPath, rest, fmt.Errorf("eic-authkeys has no option --%s", name)
		}
		if !given {
			if len(rest) == 0 {
				return configPath, rest, errors.New("--config needs a file name")
			}
			value, rest = rest[0], rest[1:]
		}
		configPath = value
	}
	return configPath, rest, nil
}

// checkArguments looks at what sshd puts behind the program.
func checkArguments(e *exam, s server, f *findings) {
	const id = "command-arguments"
	unknown, err := s.UnknownTokens(s.effective.Command)
	switch {
	case err != nil:
		f.problem(commandToken, e.commandFix(plainTokens), "sshd cannot expand AuthorizedKeysCommand (%v), and closes the connection when it runs the command", err)
		return
	case len(unknown) > 0:
		f.problem(commandToken, e.commandFix(plainTokens), "OpenSSH %v does not support %s in AuthorizedKeysCommand: sshd closes the connection when it runs the command", s.Version, strings.Join(unknown, " "))
		return
	}
	_, rest, err := arguments(s.words)
	switch {
	case err != nil:
		f.problem(commandArguments, e.commandFix(plainTokens), "AuthorizedKeysCommand calls eic-authkeys with invalid arguments: %v", err)
	case len(s.words) == 1, slices.Equal(rest, []string{"%u"}), slices.Equal(rest, []string{"%u", "%f"}), slices.Equal(rest, []string{"%u", "%f", "%t", "%k"}):
		f.ok(id, "AuthorizedKeysCommand passes %s", strings.Join(append([]string{"the user name"}, rest[min(1, len(rest)):]...), " and "))
	default:
		f.problem(commandArguments, e.commandFix(plainTokens), "AuthorizedKeysCommand calls eic-authkeys with %q, not with %%u, %%u %%f, or %%u %%f %%t %%k", strings.Join(rest, " "))
	}
}

// checkPath applies sshd's rule to every part of the path.
func checkPath(e *exam, s server, f *findings) bool {
	const id = "command-path"
	path := s.program()
	err := keyscommand.CheckPath("/", path)
	var fault *keyscommand.PathError
	errors.As(err, &fault)
	switch {
	case err == nil:
		f.ok(id, "%s and every directory in its path are owned by root and writable by root only", path)
		return true
	case fault == nil:
		f.unknown(id, "%v", err)
	case errors.Is(err, fs.ErrNotExist):
		f.problem(commandMissing, e.commandFix(plainTokens), "%s does not exist, so AuthorizedKeysCommand fails at every login", fault.Path)
	case fault.Rule == keyscommand.OwnedByRoot:
		f.problem(commandPathOwner, shell("%s", fault.Fix), "sshd does not run %s: %s %s", path, fault.Path, fault.Found)
	case fault.Rule == keyscommand.ClosedToOthers, fault.Rule == keyscommand.ClosedToGroup:
		note := ""
		if fault.Rule == keyscommand.ClosedToGroup {
			note = "; Debian's sshd runs it anyway while the group has no other member"
		}
		f.problem(commandPathWritable, e.pathFix(fault), "sshd does not run %s: %s %s%s", path, fault.Path, fault.Found, note)
	case fault.Rule == keyscommand.RegularFile:
		f.problem(commandNotAFile, e.commandFix(plainTokens), "sshd does not run %s: it %s", path, fault.Found)
	default:
		f.unknown(id, "%v", err)
	}
	return false
}

// checkAccount looks at AuthorizedKeysCommandUser.
func checkAccount(e *exam, s server, f *findings) bool {
	const id = "command-user"
	r := e.runner()
	from := s.effective.UserFrom.Place()
	switch {
	case s.effective.User == "":
		f.problem(commandUserUnset, e.accountFix(), "AuthorizedKeysCommandUser is not set, so sshd does not run %q", s.effective.Command)
	case errors.Is(r.err, nss.ErrNone):
		f.problem(commandUserMissing, e.accountFix(), "AuthorizedKeysCommandUser %.64q (%s) does not exist", r.named, from)
	case r.err != nil:
		f.unknown(id, "%s", r.why)
	case r.account.uid == 0:
		f.problem(commandUserRoot, e.accountFix(), "AuthorizedKeysCommandUser is root (%s), which the command does not need", from)
		return true
	case r.account.uid == nobody:
		f.problem(commandUserShared, e.accountFix(), "AuthorizedKeysCommandUser is %s (%s), an account shared with other programs", r.named, from)
		return true
	default:
		f.ok(id, "sshd runs it as %s (user ID %d), set in %s", r.named, r.account.uid, from)
		return true
	}
	return false
}

// nobody is the user ID of the account nobody.
const nobody = 65534

// checkRuns tells whether the account can run the program.
func checkRuns(e *exam, s server, p probed, f *findings) {
	const id = "command-runs"
	path := s.program()
	access := keyscommand.CheckAccess("/", path, e.runner().account.uid, e.runner().account.groups)
	var fault *keyscommand.PathError
	errors.As(access, &fault)
	switch {
	case p.Command.Denied:
		where, fix := "", advice("namei -l %s shows the directory's permissions", path)
		if fault != nil {
			where, fix = fmt.Sprintf(": %s %s", fault.Path, fault.Found), shell("%s", fault.Fix)
		}
		f.problem(commandHidden, fix, "user %s cannot reach %s%s", p.as, path, where)
	case fault != nil:
		f.problem(commandNotExecutable, shell("chmod 0755 %s", path), "user %s cannot run %s: %s %s", p.as, path, fault.Path, fault.Found)
	case p.Command.Run != "":
		f.problem(commandDoesNotRun, e.otherProgramFix(path), "user %s cannot run %s: %s", p.as, path, p.Command.Run)
	default:
		f.ok(id, "user %s can run it", p.as)
	}
}
