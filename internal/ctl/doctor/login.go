package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/nss"
	"github.com/eic-agent/eic-agent/internal/osuser"
	"github.com/eic-agent/eic-agent/internal/sshd"
)

// checkLogin looks at what may keep the user out, whatever key he has.
func checkLogin(e *exam, f *findings) {
	if e.User == "" {
		return
	}
	if e.typed != "" {
		f.problem("user-name-differs", "push the key for "+e.User+"; "+e.typed+" may log in with it", "this host knows %s as %s, and sshd asks for keys of that name: a key pushed for %s logs nobody in", e.typed, e.User, e.typed)
	}
	if !osuser.Valid(e.User) {
		f.problem("user-name", "push keys for an account whose name the API takes: letters, digits and ._-@, 32 at most, and not digits only", "no key can be pushed for a user of this name: the API does not take it")
		return
	}
	checkPolicy(e, f)
	a, err := lookUp(e.ctx, e.User)
	switch {
	case errors.Is(err, nss.ErrNone):
		f.problem("user-missing", "useradd -m "+e.User+", or push the key for another user", "there is no account %s on this host", e.User)
		return
	case err != nil:
		f.untold("user", "whether there is an account %s: %v", e.User, err)
		return
	}
	f.ok("user", "there is an account %s (user id %d)", e.User, a.uid)
	checkShell(a, f)
	checkPassword(e, f)
	checkNologin(a, f)
	checkServerAccess(e, a, f)
}

// checkPolicy applies [users].
func checkPolicy(e *exam, f *findings) {
	cfg := e.config().cfg
	switch {
	case cfg == nil:
		f.untold("users", "%s", because("the configuration cannot be used"))
	case !cfg.Users.Permits(e.User):
		f.problem("user-denied", "push the key for another user, or change allow and deny in [users] of "+e.config().path, "[users] in %s lets no key be pushed for %s", e.config().path, e.User)
	case !cfg.Users.Maps(e.User):
		f.problem("user-not-mapped", "add a row with users = [\""+e.User+"\"] to "+e.config().path+", or push the key for another user", "no [[users.map]] row in %s lets anybody push keys for %s", e.config().path, e.User)
	default:
		f.ok("users", "[users] lets keys be pushed for %s", e.User)
	}
}

// checkShell does what sshd does with the login shell.
func checkShell(a account, f *findings) {
	shell := a.shell
	if shell == "" {
		shell = "/bin/sh"
	}
	st, err := os.Stat(shell)
	switch {
	case err != nil:
		f.problem("user-shell", "chsh -s /bin/sh "+a.name, "the shell of %s, %s, is not there, so that sshd refuses the login", a.name, shell)
	case !st.Mode().IsRegular() || st.Mode()&0o111 == 0:
		f.problem("user-shell", "chsh -s /bin/sh "+a.name, "the shell of %s, %s, is no program, so that sshd refuses the login", a.name, shell)
	case slices.Contains([]string{"nologin", "false"}, filepath.Base(shell)):
		f.problem("user-shell-nologin", "chsh -s /bin/sh "+a.name, "the shell of %s, %s, ends every session at once", a.name, shell)
	default:
		f.ok("user-shell", "the shell %s is there", shell)
	}
}

// checkPassword looks at shadow(5) as sshd does.
func checkPassword(e *exam, f *findings) {
	const id = "user-password"
	if os.Geteuid() != 0 {
		f.untold(id, "whether the account is locked or has expired: only root can tell")
		return
	}
	line, err := nss.Entry(e.ctx, "shadow", "/etc/shadow", e.User)
	if err != nil {
		f.ok(id, "no password is kept here for %s, so none is locked", e.User)
		return
	}
	locked, expired := parseShadow(line, e.now)
	pam := e.server().value("usepam")
	switch {
	case expired:
		f.problem("user-expired", "chage -E -1 "+e.User, "the account %s has expired, so that its logins are refused", e.User)
	case passwordExpired(line, e.now) && pam == "yes":
		f.problem("user-password-expired", "chage -d \"$(date +%F)\" -M -1 "+e.User+"   # it does not expire then, or chage -l "+e.User+" to see more",
			"the password of %s has expired, so that PAM refuses the login, or has it ask for a new one first, whatever the key", e.User)
	case locked && pam == "no":
		f.problem("user-locked", "usermod -p '*' "+e.User+"   # no password, but not locked; or UsePAM yes in sshd's configuration", "the account %s is locked (its password begins with !), and with UsePAM no sshd refuses it whatever the key", e.User)
	case locked && pam == "":
		f.untold(id, "the account is locked, which matters with UsePAM no: it is not known what sshd uses")
	case locked:
		f.ok(id, "the account is locked for passwords only, as sshd has UsePAM yes")
	default:
		f.ok(id, "the account is neither locked nor expired")
	}
}

// parseShadow reads a line of shadow(5).
func parseShadow(line string, now time.Time) (locked, expired bool) {
	fields := strings.Split(line, ":")
	if len(fields) < 8 {
		return false, false
	}
	day, err := strconv.ParseInt(fields[7], 10, 64)
	return strings.HasPrefix(fields[1], "!"), err == nil && day >= 0 && now.Unix()/86400 > day
}

// passwordExpired does with a line of shadow(5) what pam_unix does, whether there is a
// password or not.
func passwordExpired(line string, now time.Time) bool {
	fields := strings.Split(line, ":")
	if len(fields) < 5 {
		return false
	}
	changed, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil || changed < 0 {
		return false
	}
	most, err := strconv.ParseInt(fields[4], 10, 64)
	return changed == 0 || err == nil && most >= 0 && now.Unix()/86400-changed > most
}

// checkNologin finds the file that keeps everybody but root out (nologin(5)).
func checkNologin(a account, f *findings) {
	if a.uid == 0 {
		return
	}
	for _, path := range []string{"/etc/nologin", "/var/run/nologin", "/run/nologin"} {
		if _, err := os.Stat(path); err == nil {
			f.problem("nologin", "rm "+path+"   # systemd makes it until the boot is over, and before a shutdown", "%s keeps everybody but root out", path)
			return
		}
	}
}

// checkServerAccess looks at what sshd's configuration says of the user.
func checkServerAccess(e *exam, a account, f *findings) {
	const id = "user-access"
	s := e.server()
	if s.values == nil {
		f.untold(id, "whether sshd lets %s in: %s", e.User, because("it could not be asked"))
		return
	}
	before := len(f.all)
	groups := groupNames(e, a)
	checkUserLists(e, s, f)
	if list := s.values["denygroups"]; matchAnyOf(list, groups) {
		f.problem("user-deny-groups", "change DenyGroups in sshd's configuration, and systemctl reload it", "DenyGroups in sshd's configuration keeps %s out: %s", e.User, strings.Join(list, " "))
	} else if list := s.values["allowgroups"]; len(list) > 0 && !matchAnyOf(list, groups) {
		f.problem("user-allow-groups", "change AllowGroups in sshd's configuration, or the groups of "+e.User, "AllowGroups in sshd's configuration does not let %s in: %s", e.User, strings.Join(list, " "))
	}
	if permit := s.value("permitrootlogin"); a.uid == 0 && (permit == "no" || permit == "forced-commands-only") {
		f.problem("root-login-off", "push the key for another user and use sudo, or PermitRootLogin prohibit-password", "sshd lets root in with no key: PermitRootLogin is %s", permit)
	}
	if methods := s.value("authenticationmethods"); methods != "" && methods != "any" && !strings.Contains(methods, "publickey") {
		f.problem("authentication-methods", "add publickey to AuthenticationMethods in sshd's configuration", "AuthenticationMethods of sshd has no publickey: %s", methods)
	}
	checkAlgorithms(e, s, f)
	if len(f.all) == before {
		f.ok(id, "sshd's configuration lets %s in with a key", e.User)
	}
}

// checkAlgorithms finds an sshd that takes no type of key which can be pushed.
func checkAlgorithms(e *exam, s server, f *findings) {
	accepted := s.value("PubkeyAcceptedAlgorithms", "PubkeyAcceptedKeyTypes")
	cfg := e.config().cfg
	if accepted == "" || cfg == nil {
		return
	}
	list := strings.Split(accepted, ",")
	for _, t := range cfg.Keys.Types {
		if slices.Contains(list, t) || t == "ssh-rsa" && (slices.Contains(list, "rsa-sha2-256") || slices.Contains(list, "rsa-sha2-512")) {
			return
		}
	}
	f.problem("key-types-refused", "change PubkeyAcceptedAlgorithms in sshd's configuration, or types in [keys] of "+e.config().path, "sshd takes no key of a type that [keys] types allows: PubkeyAcceptedAlgorithms is %s", accepted)
}

// checkUserLists applies DenyUsers and AllowUsers.
func checkUserLists(e *exam, s server, f *findings) {
	change := " in sshd's configuration, and systemctl reload it"
	list := s.values["denyusers"]
	denied, somewhere := matchUser(list, e.User)
	switch {
	case denied:
		f.problem("user-deny-users", "change DenyUsers"+change, "DenyUsers in sshd's configuration keeps %s out: %s", e.User, strings.Join(list, " "))
		return
	case somewhere:
		f.untold("user-access", "from where %s may come: DenyUsers in sshd's configuration has %s", e.User, strings.Join(list, " "))
		return
	}
	if list = s.values["allowusers"]; len(list) == 0 {
		return
	}
	allowed, somewhere := matchUser(list, e.User)
	switch {
	case allowed:
	case somewhere:
		f.untold("user-access", "from where %s may come: AllowUsers in sshd's configuration has %s", e.User, strings.Join(list, " "))
	default:
		f.problem("user-allow-users", "add "+e.User+" to AllowUsers"+change, "AllowUsers in sshd's configuration does not let %s in: %s", e.User, strings.Join(list, " "))
	}
}

// matchUser applies patterns of AllowUsers and DenyUsers. somewhere is whether one
// of the form USER@HOST matches the user.
func matchUser(patterns []string, user string) (everywhere, somewhere bool) {
	var plain, placed []string
	for _, word := range strings.Fields(strings.Join(patterns, " ")) {
		if name, _, ok := cutLast(word, "@"); ok {
			placed = append(placed, name)
		} else {
			plain = append(plain, word)
		}
	}
	return sshd.MatchList(plain, user), sshd.MatchList(placed, user)
}

// cutLast cuts at the last separator, as sshd does.
func cutLast(s, separator string) (before, after string, found bool) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(separator):], true
}

func matchAnyOf(patterns, names []string) bool {
	var plain []string
	for _, p := range patterns {
		plain = append(plain, strings.Fields(p)...)
	}
	return slices.ContainsFunc(names, func(name string) bool { return sshd.MatchList(plain, name) })
}

// groupNames returns the names of the groups of an account.
func groupNames(e *exam, a account) []string {
	out, err := run(e.ctx, "id", "-Gn", "--", a.name)
	if err != nil {
		return nil
	}
	return strings.Fields(out)
}
