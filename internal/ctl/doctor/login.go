package doctor

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/accept"
	"github.com/eic-agent/eic-agent/internal/ctl/nss"
	"github.com/eic-agent/eic-agent/internal/osuser"
	"github.com/eic-agent/eic-agent/internal/sysroot"
)

// checkLogin looks at what may keep the user out, whatever key he has.
func checkLogin(e *exam, f *findings) {
	if e.User == "" {
		return
	}
	if e.typed != "" {
		f.problem(userNameDiffers, advice("push the key for %s; %s can log in with it", e.User, e.typed), "the account %s is named %s on this host, and sshd looks up keys by that name: a key pushed for %s has no effect", e.typed, e.User, e.typed)
	}
	if !osuser.Valid(e.User) {
		f.problem(userName, advice("push keys for an account whose name the API accepts: at most 32 letters, digits and ._-@, not only digits"), "the API accepts no key for a user of this name")
		return
	}
	checkPolicy(e, f)
	a, err := lookUp(e.ctx, e.User)
	switch {
	case errors.Is(err, nss.ErrNone):
		f.problem(userMissing, shell("useradd -m -p '*' %s   # or push the key for another user", e.User), "the account %s does not exist on this host", e.User)
		return
	case err != nil:
		f.unknown("user", "cannot look up the account %s: %v", e.User, err)
		return
	}
	f.ok("user", "the account %s exists (user ID %d)", e.User, a.uid)
	checkShell(e, a, f)
	checkPassword(e, f)
	checkNologin(e, a, f)
	checkPAM(e, f)
	checkServerAccess(e, f)
}

// checkPolicy applies [users].
func checkPolicy(e *exam, f *findings) {
	cfg := e.config().cfg
	switch {
	case cfg == nil:
		f.unknown("users", "%s", because("the configuration cannot be used"))
	case !cfg.Users.Enforce:
		f.ok("users", "[users] is not enforced, so keys can be pushed for %s", e.User)
	case !cfg.Users.Permits(e.User):
		f.problem(userDenied, advice("push the key for another user, or change allow and deny in [users] of %s", e.config().path), "[users] in %s denies pushed keys for %s", e.config().path, e.User)
	case !cfg.Users.Maps(e.User):
		f.problem(userNotMapped, advice("add a [[users.map]] row with users = [%q] to %s, or push the key for another user", e.User, e.config().path), "no [[users.map]] row in %s has %s", e.config().path, e.User)
	default:
		f.ok("users", "[users] allows pushed keys for %s", e.User)
	}
}

// checkShell checks the login shell as sshd does: not before the session with
// ChrootDirectory, and not at all with ForceCommand internal-sftp.
func checkShell(e *exam, a account, f *findings) {
	path := a.shell
	if path == "" {
		path = "/bin/sh"
	}
	chroot := chrootOf(e, a)
	if chroot != "" && !checkChroot(chroot, f) {
		return
	}
	command, _, _ := strings.Cut(e.server().value("forcecommand"), " ")
	st, err := os.Stat(sysroot.Path(cmp.Or(chroot, "/"), path))
	runs := err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
	switch {
	case err != nil && chroot == "":
		f.problem(userShell, shell("usermod -s /bin/sh %s", a.name), "the shell of %s, %s, does not exist, so sshd refuses the login", a.name, path)
	case !runs && chroot == "":
		f.problem(userShell, shell("usermod -s /bin/sh %s", a.name), "the shell of %s, %s, is not executable, so sshd refuses the login", a.name, path)
	case command == "internal-sftp":
		f.ok("user-shell", "ForceCommand is internal-sftp, which runs no shell")
	case !runs:
		f.problem(userShell, advice("install the shell in %s, with what it needs, or set ForceCommand internal-sftp", chroot), "the shell of %s, %s, cannot be run in %s (ChrootDirectory), so every session ends immediately", a.name, path, chroot)
	case slices.Contains([]string{"nologin", "false"}, filepath.Base(path)):
		f.problem(userShellNologin, shell("usermod -s /bin/sh %s", a.name), "the shell of %s, %s, ends every session immediately", a.name, path)
	default:
		f.ok("user-shell", "the shell %s exists", path)
	}
}

// chrootOf returns the directory that sshd changes to with the user, "" for none.
func chrootOf(e *exam, a account) string {
	dir := e.server().value("chrootdirectory")
	if strings.EqualFold(dir, "none") {
		return ""
	}
	return strings.NewReplacer("%%", "%", "%u", a.name, "%U", strconv.FormatUint(uint64(a.uid), 10), "%h", a.home).Replace(dir)
}

// checkChroot does what sshd does with ChrootDirectory, and reports whether sshd takes it.
func checkChroot(dir string, f *findings) bool {
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrPermission):
		f.unknown("chroot-directory", "checking ChrootDirectory, %s, needs root", dir)
		return false
	case err != nil:
		f.problem(chrootDirectory, shell("install -d -m 0755 %s", dir), "sshd ends every session: ChrootDirectory, %s, does not exist", dir)
		return false
	case !st.IsDir():
		f.problem(chrootDirectory, advice("make %s a directory", dir), "sshd ends every session: ChrootDirectory, %s, is not a directory", dir)
		return false
	}
	var bad []string
	for p := filepath.Clean(dir); ; p = filepath.Dir(p) {
		if st, err := os.Stat(p); err == nil && (st.Sys().(*syscall.Stat_t).Uid != 0 || st.Mode()&0o022 != 0) {
			bad = append(bad, p)
		}
		if p == "/" || p == "." {
			break
		}
	}
	if len(bad) == 0 {
		return true
	}
	list := strings.Join(bad, " ")
	f.problem(chrootDirectory, shell("chown root %s && chmod go-w %s", list, list), "sshd ends every session: of ChrootDirectory, %s, and the directories above it, %s can be changed by users other than root", dir, strings.Join(bad, ", "))
	return false
}

// checkPassword looks at shadow(5) as sshd does.
func checkPassword(e *exam, f *findings) {
	const id = "user-password"
	if os.Geteuid() != 0 {
		f.unknown(id, "checking whether the account is locked or expired needs root")
		return
	}
	line, err := nss.Entry(e.ctx, "shadow", "/etc/shadow", e.User)
	if err != nil {
		f.ok(id, "%s has no local password, so it is not locked", e.User)
		return
	}
	pam := e.server().value("usepam")
	locked, expired := parseShadow(line, pam == "yes", e.now)
	switch {
	case expired:
		f.problem(userExpired, shell("chage -E -1 %s", e.User), "the account %s has expired", e.User)
	case passwordExpired(line, e.now) && pam == "yes":
		f.problem(userPasswordExpired, shell("chage -d \"$(date +%%F)\" -M -1 %s   # no expiry; see chage -l %s", e.User, e.User),
			"the password of %s has expired, so PAM refuses the login or demands a new password, even with a key", e.User)
	case locked && pam == "no":
		f.problem(userLocked, shell("usermod -p '*' %s   # no password, but not locked; or UsePAM yes in sshd's configuration", e.User), "the account %s is locked (its password begins with !), and with UsePAM no sshd refuses a locked account, even with a key", e.User)
	case locked && pam == "":
		f.unknown(id, "the account is locked, which matters if UsePAM is no; sshd's setting is unknown")
	case locked:
		f.ok(id, "the account is locked for passwords only: UsePAM is yes")
	default:
		f.ok(id, "the account is neither locked nor expired")
	}
}

// parseShadow reads a line of shadow(5). For pam_unix the account has expired on the day
// that is given there, for sshd itself the day after.
func parseShadow(line string, pam bool, now time.Time) (locked, expired bool) {
	fields := strings.Split(line, ":")
	if len(fields) < 8 {
		return false, false
	}
	day, err := strconv.ParseInt(fields[7], 10, 64)
	today := now.Unix() / 86400
	return strings.HasPrefix(fields[1], "!"), err == nil && day >= 0 && (today > day || pam && today == day)
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

// checkNologin finds the files that keep everybody but root out (nologin(5)): those of
// pam_nologin(8), or without UsePAM that of sshd.
func checkNologin(e *exam, a account, f *findings) {
	if a.uid == 0 {
		return
	}
	paths := []string{"/etc/nologin", "/run/nologin"}
	if e.server().value("usepam") == "no" {
		paths = paths[:1]
	}
	paths = slices.DeleteFunc(paths, func(path string) bool {
		_, err := os.Stat(path)
		return err != nil
	})
	if len(paths) > 0 {
		f.problem(nologin, shell("rm %s   # systemd creates /run/nologin during boot and before shutdown", strings.Join(paths, " ")), "every user but root is refused: there is %s", strings.Join(paths, " and "))
	}
}

// checkServerAccess holds the user against sshd's limits.
func checkServerAccess(e *exam, f *findings) {
	const id = "user-access"
	s := e.server()
	if s.access == nil {
		f.unknown(id, "cannot check whether sshd allows %s: %s", e.User, because("cannot read sshd's effective configuration"))
		return
	}
	before := len(f.all)
	if cfg := e.config().cfg; cfg != nil {
		s.access.KeyOptions = cfg.Keys.Options
	}
	for _, limit := range s.access.User(e.ctx) {
		if limit.ID != "pubkey-authentication-off" { // reported by checkAsked
			f.limit(limit)
		}
	}
	checkAlgorithms(e, s, f)
	if len(f.all) == before {
		f.ok(id, "sshd's configuration allows %s to log in with a key", e.User)
	}
}

// limit adds a limit of sshd.
func (f *findings) limit(l accept.Limit) {
	switch l.Status {
	case accept.Refuses:
		f.problem(entryOf(l.ID), limitFix(l), "%s", l.Text)
	case accept.Unknown:
		f.unknown(l.ID, "%s", l.Text)
	default:
		f.ok(l.ID, "%s", l.Text)
	}
}

// acceptsSomeType reports whether sshd takes a type of key that the agent gives. Where
// that is not known it does.
func (e *exam) acceptsSomeType() bool {
	cfg := e.config().cfg
	return cfg == nil || slices.ContainsFunc(cfg.Keys.Types, e.server().access.AcceptsType)
}

// checkAlgorithms finds an sshd that takes no type of key which can be pushed.
func checkAlgorithms(e *exam, s server, f *findings) {
	if e.acceptsSomeType() {
		return
	}
	cfg := e.config().cfg
	limits := s.access.Key(e.ctx, accept.Key{Type: cfg.Keys.Types[0]})
	if len(limits) > 0 {
		f.problem(keyTypesRefused, limitFix(limits[0]), "sshd accepts none of the types in [keys] types: %s", limits[0].Text)
	}
}
