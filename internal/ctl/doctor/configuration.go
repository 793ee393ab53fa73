package doctor

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/keyscommand"
	"github.com/eic-agent/eic-agent/internal/rootfile"
)

// maxConfig is more than package config reads of a file.
const maxConfig = 2 << 20

// loadConfig reads the configuration that the command reads.
func (e *exam) loadConfig() settings {
	s := settings{path: cmp.Or(e.ConfigPath, e.server().configPath(), config.DefaultPath)}
	fault := func(problem *Entry, fix fix, text string) settings {
		s.problem, s.fault, s.fix = problem, text, fix
		return s
	}
	sources, err := config.Sources("", s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && isMissing(s.path):
		return fault(configMissing, e.commandFix(plainTokens), "the configuration "+s.path+", which AuthorizedKeysCommand names, does not exist")
	case errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0:
		s.fault = "the configuration " + s.path + " is readable by root only"
		return s
	case err != nil && inDir(err.Error(), s.path):
		dir := config.Dir(s.path)
		return fault(configUnsafe, shell("chown -R root:root %s && chmod -R u=rwX,go=rX %s", dir, dir), "the agent refuses the configuration: "+err.Error())
	case err != nil:
		return fault(configUnsafe, shell("chown root:root %s %s && chmod go-w %s %s", filepath.Dir(s.path), s.path, filepath.Dir(s.path), s.path), "the agent refuses the configuration: "+err.Error())
	}
	for _, source := range sources {
		s.files = append(s.files, source.Path)
	}
	cfg, err := config.Load(s.path)
	if err != nil {
		return fault(configBroken, advice("correct it; see eic-agent.toml(5)"), err.Error())
	}
	s.cfg = cfg
	return s
}

func isMissing(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// inDir reports whether an error names the directory of the configuration at path, or a
// file in it.
func inDir(text, path string) bool { return strings.Contains(text, config.Dir(path)) }

// checkSettings looks at the configuration and at the files that it names, as root
// and as the command's account.
func checkSettings(e *exam, f *findings) {
	const id = "config"
	s := e.config()
	switch {
	case s.problem != nil:
		f.problem(s.problem, s.fix, "%s", s.fault)
		return
	case s.fault != "":
		f.unknown(id, "%s", s.fault)
		return
	}
	p := e.probe()
	switch {
	case p.fault != "":
		f.unknown(id, "cannot check whether user %s can read the configuration: %s", p.as, p.fault)
	case p.Config != "":
		f.problem(configUnreadable, readableFix(s.path), "user %s cannot read the configuration: %s", p.as, p.Config)
		return
	case len(s.files) == 0:
		f.ok(id, "there is no %s; the defaults apply", s.path)
	case len(s.files) == 1:
		f.ok(id, "%s is valid", s.files[0])
	default:
		f.ok(id, "%s are valid", strings.Join(s.files, ", "))
	}
	if !s.cfg.Users.Enforce {
		f.problem(usersNotEnforced, e.keyFix("users", "enforce", "true"), "[users] enforce is false: keys that [users] and [[users.map]] would refuse are granted and only logged (would-refuse)")
	}
	checkRoots(s, f)
	checkExpiryTime(e, f)
	checkFurther(e, f)
}

func checkRoots(s settings, f *findings) {
	const id = "trusted-roots"
	path := s.cfg.Trust.Roots
	switch path {
	case "":
		f.ok(id, "the trusted roots are Amazon's, which are built in")
		return
	case config.RootsSystem:
		f.ok(id, "the trusted roots are this system's ([trust] roots)")
		return
	}
	_, err := rootfile.Read(path, maxConfig)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.problem(rootsMissing, advice("create it, or remove roots from [trust] in %s", s.path), "%s, which [trust] roots names, does not exist", path)
		return
	case err != nil:
		f.problem(rootsUnsafe, shell("chown root:root %s && chmod 0644 %s", path, path), "the agent refuses the file that [trust] roots names: %v", err)
		return
	}
	if _, err := s.cfg.Roots(); err != nil {
		f.problem(rootsBroken, advice("put PEM certificates there, or remove roots from [trust] in %s", s.path), "%v", err)
		return
	}
	f.ok(id, "the trusted roots are those in %s ([trust] roots), not Amazon's", path)
}

// checkExpiryTime finds the option that makes older servers drop the line.
func checkExpiryTime(e *exam, f *findings) {
	s, server := e.config(), e.server().Server
	if !s.cfg.Keys.ExpiryTime || server == nil {
		return
	}
	const id = "expiry-time"
	switch v := server.Version; {
	case v.IsZero():
		f.unknown(id, "cannot check whether sshd supports expiry-time: its version is unknown")
	case !v.TakesExpiryUTC():
		f.problem(expiryTimeUnsupported, e.keyFix("keys", "expiry_time", "false"), "[keys] expiry_time is true, but OpenSSH %v ignores lines with that option; it needs 9.1 or later", v)
	default:
		f.ok(id, "OpenSSH %v supports expiry-time ([keys] expiry_time)", v)
	}
}

// checkFurther looks at the commands of [chain] by sshd's rule for a path.
func checkFurther(e *exam, f *findings) {
	s, r := e.config(), e.runner()
	for _, line := range s.cfg.Chain.Command {
		words, err := keyscommand.Split(line)
		if err != nil {
			continue // not with a configuration that was read
		}
		path := words[0]
		err = keyscommand.CheckPath("/", path)
		if err == nil && r.err == nil {
			err = keyscommand.CheckAccess("/", path, r.account.uid, r.account.groups)
		}
		var fault *keyscommand.PathError
		switch missing := e.server().withheld(words); {
		case err == nil && missing != "":
			f.problem(chainArguments, e.commandFix("%u %f %t %k"), "%s, a command in [chain], needs %s, which AuthorizedKeysCommand does not pass to eic-authkeys", path, missing)
		case err == nil:
			f.ok("chain", "eic-authkeys also runs %s, a command in [chain]", path)
		case errors.Is(err, fs.ErrNotExist):
			f.problem(chainMissing, advice("install it, or remove it from [chain] in %s", s.path), "%s, a command in [chain], does not exist", path)
		case errors.As(err, &fault):
			f.problem(chainUnsafe, chainPathFix(fault, s.path), "%s, a command in [chain], is not run: %s %s", path, fault.Path, fault.Found)
		default:
			f.unknown("chain", "%s, a command in [chain]: %v", path, err)
		}
	}
}

// readableFix lets everybody read the configuration.
func readableFix(path string) fix {
	commands := []string{"chmod go+rX " + filepath.Dir(path)}
	if !isMissing(path) {
		commands = append(commands, "chmod go+r "+path)
	}
	if dir := config.Dir(path); !isMissing(dir) {
		commands = append(commands, "chmod -R go+rX "+dir)
	}
	return shell("%s", strings.Join(commands, " && "))
}

// keyFix sets a key of the configuration.
func (e *exam) keyFix(section, key, value string) fix {
	if command, ok := e.setFix(section, key, value); ok {
		return shell("%s", command)
	}
	return advice("set %s = %s in [%s] of %s", key, value, section, e.config().path)
}

func chainPathFix(fault *keyscommand.PathError, path string) fix {
	if fault.Fix == "" {
		return advice("remove it from [chain] in %s", path)
	}
	return shell("%s", fault.Fix)
}

// withheld returns the first token of a further command that sshd does not hand to
// the agent, or "".
func (s server) withheld(words []string) string {
	if !s.ours() {
		return "" // which other checks tell
	}
	_, given, err := arguments(s.words)
	needs, needsErr := keyscommand.Tokens(strings.Join(words[1:], " "))
	if err != nil || needsErr != nil {
		return ""
	}
	for _, c := range needs {
		if at := strings.IndexByte("uftk", c); at > 0 && at >= len(given) {
			return "%" + string(c)
		}
	}
	return ""
}
