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
		r.why = fmt.Sprintf("the account %.64q of the command cannot be used: %v", r.named, r.err)
	}
	return r
}

// checkCommand looks at the command as sshd does before it runs it.
func checkCommand(e *exam, f *findings) {
	s := e.server()
	if s.splitErr != nil {
		f.problem(commandArguments, e.commandFix(plainTokens), "AuthorizedKeysCommand cannot be read: %v", s.splitErr)
		return
	}
	if why := s.notOurs(); why != "" {
		f.untold("command-path", "%s", because(why))
		return
	}
	checkArguments(e, s, f)
	pathOK := checkPath(e, s, f)
	accountOK := checkAccount(e, s, f)
	switch p := e.probe(); {
	case !pathOK:
		f.untold("command-runs", "%s", because("the file is not as it has to be"))
	case !accountOK || !p.asked:
		f.untold("command-runs", "%s", because("it could not be run as "+e.runner().named))
	case p.fault != "":
		f.untold("command-runs", "%s", because(p.fault))
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
		return advice("install eic-agent again, for this machine's processor and not on a file system mounted noexec")
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
				return configPath, rest, errors.New("--config names no file")
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
		f.problem(commandToken, e.commandFix(plainTokens), "AuthorizedKeysCommand cannot be expanded (%v), so that sshd ends every connection that gets as far", err)
		return
	case len(unknown) > 0:
		f.problem(commandToken, e.commandFix(plainTokens), "OpenSSH %v does not know %s in AuthorizedKeysCommand, and ends every connection that gets as far", s.Version, strings.Join(unknown, " "))
		return
	}
	_, rest, err := arguments(s.words)
	switch {
	case err != nil:
		f.problem(commandArguments, e.commandFix(plainTokens), "AuthorizedKeysCommand calls eic-authkeys with invalid arguments: %v", err)
	case len(s.words) == 1, slices.Equal(rest, []string{"%u"}), slices.Equal(rest, []string{"%u", "%f"}), slices.Equal(rest, []string{"%u", "%f", "%t", "%k"}):
		f.ok(id, "it is called with %s", strings.Join(append([]string{"the user's name"}, rest[min(1, len(rest)):]...), " and "))
	default:
		f.problem(commandArguments, e.commandFix(plainTokens), "AuthorizedKeysCommand has to call eic-authkeys with %%u, with %%u %%f, or with %%u %%f %%t %%k, and calls it with %q", strings.Join(rest, " "))
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
		f.ok(id, "%s and every folder above it belong to root and can be written by nobody else", path)
		return true
	case fault == nil:
		f.untold(id, "%v", err)
	case errors.Is(err, fs.ErrNotExist):
		f.problem(commandMissing, e.commandFix(plainTokens), "%s is not there, so that sshd's command fails at every login", fault.Path)
	case fault.Rule == keyscommand.OwnedByRoot:
		f.problem(commandPathOwner, shell("%s", fault.Fix), "sshd does not run %s: %s %s", path, fault.Path, fault.Found)
	case fault.Rule == keyscommand.ClosedToOthers, fault.Rule == keyscommand.ClosedToGroup:
		note := ""
		if fault.Rule == keyscommand.ClosedToGroup {
			note = "; Debian's sshd runs it all the same while the group has no other member"
		}
		f.problem(commandPathWritable, e.pathFix(fault), "sshd does not run %s: %s %s%s", path, fault.Path, fault.Found, note)
	case fault.Rule == keyscommand.RegularFile:
		f.problem(commandNotAFile, e.commandFix(plainTokens), "sshd does not run %s: it %s", path, fault.Found)
	default:
		f.untold(id, "%v", err)
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
		f.problem(commandUserUnset, e.accountFix(), "AuthorizedKeysCommandUser is not set for %q, so that sshd runs no command", s.effective.Command)
	case errors.Is(r.err, nss.ErrNone):
		f.problem(commandUserMissing, e.accountFix(), "there is no account %.64q, which sshd runs the command as (set in %s)", r.named, from)
	case r.err != nil:
		f.untold(id, "%s", r.why)
	case r.account.uid == 0:
		f.problem(commandUserRoot, e.accountFix(), "sshd runs the command as root (set in %s), which it does not need", from)
		return true
	case r.account.uid == nobody:
		f.problem(commandUserShared, e.accountFix(), "sshd runs the command as %s (set in %s), an account that others use too", r.named, from)
		return true
	default:
		f.ok(id, "sshd runs it as %s (user id %d), as set in %s", r.named, r.account.uid, from)
		return true
	}
	return false
}

// nobody is the user id of whoever has none of his own.
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
		where, fix := "", advice("namei -l %s shows which folder keeps it away", path)
		if fault != nil {
			where, fix = fmt.Sprintf(": %s %s", fault.Path, fault.Found), shell("%s", fault.Fix)
		}
		f.problem(commandHidden, fix, "%s, as whom sshd looks at %s, cannot get there%s", p.as, path, where)
	case fault != nil:
		f.problem(commandNotExecutable, shell("chmod 0755 %s", path), "%s cannot run %s: %s %s", p.as, path, fault.Path, fault.Found)
	case p.Command.Run != "":
		f.problem(commandDoesNotRun, e.otherProgramFix(path), "%s cannot run %s: %s", p.as, path, p.Command.Run)
	default:
		f.ok(id, "%s can run it", p.as)
	}
}
