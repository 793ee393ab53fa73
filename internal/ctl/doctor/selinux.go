package doctor

import (
	"bytes"
	"errors"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/hostcmd"
)

const (
	enforcePath = "/sys/fs/selinux/enforce"
	booleans    = "/sys/fs/selinux/booleans/"
	auditLog    = "/var/log/audit/audit.log"
	maxAuditLog = 4 << 20
	// policyModule is the agent's policy, which has a type for the command and one
	// for its cache.
	policyModule = "eic_agent"
	commandType  = "eic_authkeys_exec_t"
	cacheType    = "eic_authkeys_var_run_t"
	// recentDenials is how far back denials are of interest.
	recentDenials = time.Hour
)

// checkSELinux tells whether SELinux keeps sshd's command from its work. The probe
// cannot: it does not run in sshd's domain.
func checkSELinux(e *exam, f *findings) {
	const id = "selinux"
	text, err := os.ReadFile(enforcePath)
	switch {
	case errors.Is(err, os.ErrNotExist):
		f.ok(id, "skipped: SELinux is disabled on this host")
		return
	case err != nil:
		f.unknown(id, "cannot determine the SELinux mode: %v", err)
		return
	}
	enforcing := strings.TrimSpace(string(text)) == "1"
	denials, err := readDenials(e)
	var loaded bool
	var loadErr error
	if enforcing {
		loaded, loadErr = policyLoaded(e)
	}
	switch {
	case err != nil && enforcing:
		f.unknown("selinux-denials", "cannot read SELinux denials: %v", err)
	case len(denials) > 0 && enforcing:
		f.problem(selinuxDenied, advice("%s", denialFix(e, loaded)), "SELinux denied the agent access %d times in the last hour; last: %s", len(denials), denials[len(denials)-1])
	case len(denials) > 0:
		f.ok("selinux-denials", "SELinux is permissive, but would have denied the agent access %d times in the last hour; last: %s", len(denials), denials[len(denials)-1])
	default:
		f.ok("selinux-denials", "SELinux denied the agent nothing in the last hour")
	}
	if !enforcing {
		f.ok(id, "SELinux is permissive")
		return
	}
	switch {
	case loadErr != nil:
		f.unknown(id, "SELinux is enforcing; cannot check for the agent's policy module: %v", loadErr)
	case loaded:
		if checkLabels(e, f) {
			f.ok(id, "SELinux is enforcing, with the agent's policy module loaded")
		}
	case booleanOn():
		f.ok(id, "SELinux is enforcing without the agent's policy module, but a boolean allows AuthorizedKeysCommand to reach the metadata service")
	default:
		f.problem(selinuxPolicyMissing, advice("install the package of the agent's SELinux policy, or semodule -i %s.cil", policyModule), "SELinux is enforcing and the agent's policy module is not loaded, so AuthorizedKeysCommand cannot reach the metadata service")
	}
}

// denialFix says what may help against a denial.
func denialFix(e *exam, loaded bool) string {
	if !loaded {
		return "load the agent's policy module, or setsebool -P authlogin_yubikey on"
	}
	chain, err := os.ReadFile(booleans + "eic_authkeys_chain")
	if err == nil && strings.HasPrefix(string(chain), "0") && e.config().cfg != nil && len(e.config().cfg.Chain.Command) > 0 {
		return "setsebool -P eic_authkeys_chain on   # allows the agent to run the commands of [chain]"
	}
	return "journalctl _TRANSPORT=audit, or ausearch -m avc -ts recent, shows the details; change the configuration, or allow the access with a policy module of your own"
}

// checkLabels tells whether the command and its cache have the types that the
// policy is about.
func checkLabels(e *exam, f *findings) bool {
	good := true
	for _, c := range []struct{ path, want string }{{e.server().program(), commandType}, {e.probe().Cache.Dir, cacheType}} {
		if c.path == "" {
			continue
		}
		label, err := labelOf(c.path)
		switch {
		case errors.Is(err, unix.ENOENT): // which other checks tell
		case err != nil:
			f.unknown("selinux-label", "cannot read the SELinux label of %s: %v", c.path, err)
		case typeOf(label) != c.want:
			good = false
			f.problem(selinuxLabel, shell("restorecon -v %s   # or, away from its usual place, chcon -t %s %s", c.path, c.want, c.path),
				"%s has the SELinux type %.64s, not %s, so the agent's policy does not apply to it", c.path, typeOf(label), c.want)
		}
	}
	return good
}

// labelOf returns the SELinux context of a file.
func labelOf(path string) (string, error) {
	label := make([]byte, 512)
	n, err := unix.Getxattr(path, "security.selinux", label)
	if err == unix.ENODATA {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(label[:n]), "\x00"), nil
}

// typeOf returns the type in a context: user:role:type:level.
func typeOf(label string) string {
	parts := strings.SplitN(label, ":", 4)
	if len(parts) < 3 {
		return "none"
	}
	return parts[2]
}

// booleanOn reports whether one of the booleans is on that do without the module.
func booleanOn() bool {
	for _, boolean := range []string{"authlogin_yubikey", "nis_enabled"} {
		text, err := os.ReadFile(booleans + boolean)
		if err == nil && strings.HasPrefix(string(text), "1") {
			return true
		}
	}
	return false
}

// policyLoaded looks for the module.
func policyLoaded(e *exam) (bool, error) {
	out, err := run(e.ctx, "semodule", "-l")
	if err != nil {
		return false, errors.New("semodule: " + hostcmd.FirstLine(err))
	}
	for line := range strings.Lines(out) {
		if name := strings.Fields(line); len(name) > 0 && name[0] == policyModule {
			return true, nil
		}
	}
	return false, nil
}

// readDenials returns the recent denials of the agent's programs, from auditd's log
// or, without auditd, from the journal.
func readDenials(e *exam) ([]string, error) {
	recent := e.now.Add(-recentDenials)
	text, err := tail(auditLog, maxAuditLog)
	if errors.Is(err, os.ErrNotExist) {
		var out string
		out, err = run(e.ctx, "journalctl", "-q", "--no-pager", "-o", "cat", "--since", "@"+strconv.FormatInt(recent.Unix(), 10), "_TRANSPORT=audit", "+", "_TRANSPORT=kernel")
		text = []byte(out)
	}
	if err != nil {
		return nil, err
	}
	return denials(text, recent), nil
}

// denials returns the lines that report a denial since then, as auditd, the kernel
// and journald write them.
func denials(log []byte, since time.Time) []string {
	// A command of [chain] has a name of its own, and a program that its module does not
	// hold for has another domain.
	ours := regexp.MustCompile(`comm="(eic-authkeys|eic-serial-gett)|scontext=[^: ]*:[^: ]*:(eic_authkeys_t|eic_serial_getty_t):`)
	at := regexp.MustCompile(`audit\((\d+)\.\d+:\d+\)`)
	var found []string
	seen := make(map[string]bool)
	for line := range bytes.Lines(log) {
		if !bytes.Contains(line, []byte("denied")) || !bytes.Contains(bytes.ToLower(line), []byte("avc")) || !ours.Match(line) {
			continue
		}
		if m := at.FindSubmatch(line); m != nil {
			if seconds, err := strconv.ParseInt(string(m[1]), 10, 64); err == nil && time.Unix(seconds, 0).Before(since) {
				continue
			}
		}
		// Without auditd the journal has it twice: from the kernel's log as well.
		if denial := string(bytes.TrimSpace(line[bytes.Index(line, []byte("denied")):])); !seen[denial] {
			seen[denial] = true
			found = append(found, denial)
		}
	}
	return found
}

// tail returns the end of a file.
func tail(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New(path + " is no regular file")
	}
	if _, err := file.Seek(max(0, st.Size()-limit), io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(file, limit))
}
