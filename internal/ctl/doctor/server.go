package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/accept"
	"github.com/eic-agent/eic-agent/internal/keyscommand"
	"github.com/eic-agent/eic-agent/internal/osuser"
	"github.com/eic-agent/eic-agent/internal/sshd"
	"github.com/eic-agent/eic-agent/internal/unitfile"
)

// serverPatience is how long sshd may take to print its settings.
const serverPatience = 6 * time.Second

// installed is where packages put the command.
const installed = "/usr/bin/eic-authkeys"

// A server is the sshd of this host and what it uses for the user of interest.
type server struct {
	*sshd.Server       // nil where there is none
	err          error // why
	effective    sshd.Effective
	effectiveErr error       // why it is not known
	values       sshd.Values // nil where not known
	access       *accept.Access
	user         string   // whom it was asked about, or ""
	words        []string // of the command, where it is the agent's
	splitErr     error
}

// findServer asks the host's sshd.
func (e *exam) findServer() server {
	ctx, cancel := context.WithTimeout(e.ctx, serverPatience)
	defer cancel()
	found, err := sshd.Find(ctx, "/")
	if err != nil {
		return server{err: err}
	}
	s := server{Server: found}
	var conn sshd.Connection
	// Match blocks match the name that was typed.
	if user := cmp.Or(e.typed, e.User); osuser.Valid(user) {
		conn.User, s.user = user, user
	}
	conn.Addr = e.From
	if s.effective, s.effectiveErr = found.Effective(ctx, conn); s.effectiveErr != nil {
		return s
	}
	s.values = s.effective.Values
	s.access = accept.New(found, s.effective)
	if s.effective.Owner == sshd.OwnerAgent {
		s.words, s.splitErr = keyscommand.Split(s.effective.Command)
	}
	return s
}

// ours reports whether sshd asks the agent.
func (s server) ours() bool { return len(s.words) > 0 }

// notOurs says why there is nothing to say of the agent's command, or returns "".
func (s server) notOurs() string {
	switch {
	case s.Server == nil:
		return "sshd is not installed"
	case s.effectiveErr != nil:
		return "sshd's AuthorizedKeysCommand is unknown"
	case !s.ours():
		return "AuthorizedKeysCommand is not eic-authkeys"
	}
	return ""
}

// program returns the path of eic-authkeys, or "".
func (s server) program() string {
	if s.ours() {
		return s.words[0]
	}
	for _, path := range []string{beside("eic-authkeys"), installed} {
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			return path
		}
	}
	return ""
}

// beside returns the path of a program in the directory of this one.
func beside(name string) string {
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	return filepath.Join(filepath.Dir(exe), name)
}

// configPath returns what the command names with --config, or "".
func (s server) configPath() string {
	path, _, _ := arguments(s.words)
	return path
}

// value returns what sshd uses for a keyword that has one value, or "".
func (s server) value(keywords ...string) string { return s.values.Get(keywords...) }

// checkServer tells which sshd runs, and what it asks for keys.
func checkServer(e *exam, f *findings) {
	const id = "sshd"
	s := e.server()
	switch {
	case errors.Is(s.err, sshd.ErrNotInstalled):
		f.problem(sshdMissing, advice("install openssh-server"), "sshd is not installed on this host")
		return
	case s.err != nil:
		f.unknown(id, "cannot find sshd: %v", s.err)
		return
	}
	listener, running := s.Listener()
	name := strings.ReplaceAll(strings.TrimSpace(s.VersionText), "_", " ")
	socket := s.Socket()
	unit := s.Service().Name
	if unit == "" {
		unit = "sshd"
	}
	switch {
	case running:
		f.ok(id, "%s (%s, process %d) reads %s", listener.Program, name, listener.PID, s.ConfigFile)
	case os.Geteuid() != 0:
		f.unknown(id, "checking whether sshd is running needs root")
	case socket.Active == "active":
		f.ok(id, "%s (%s) reads %s", s.Name(), name, s.ConfigFile)
	default:
		f.problem(sshdNotRunning, startFix(s, unit), "sshd is not running; the checks below are for %s as it would start", s.Program)
	}
	if running {
		checkReplaced(e, s, listener, f)
		checkReloaded(s, listener, f)
		checkUnit(e, s, unit, f)
	}
	for _, one := range append([]*sshd.Server{s.Server}, s.Others...) {
		if dir := one.Loses(); dir != "" {
			f.problem(sshdDirectory, preserveFix(one.Service().Name), "%s lacks RuntimeDirectoryPreserve=yes: when one of several sshds stops, systemd removes %s, and the next connection is closed", one.Service().Name, dir)
		}
	}
	checkAsked(e, s, f)
	for _, other := range s.Others {
		checkOther(e, other, f)
	}
}

// checkReplaced tells whether a listener whose programs are not those that it was started
// with still takes connections.
func checkReplaced(e *exam, s server, l sshd.Listener, f *findings) {
	doubt := l.Doubt()
	if doubt == "" {
		return
	}
	err := l.Greets(e.ctx)
	switch {
	case err != nil && l.Replaced != "":
		f.problem(sshdReplaced, shell("%s", s.RestartCommand()), "%s, and it no longer accepts connections: %v", doubt, err)
	case err != nil:
		f.problem(sshdReplaced, advice("restart sshd (%s); if that does not help, reinstall its package", s.RestartCommand()), "%s, and it does not accept connections: %v", doubt, err)
	case l.Replaced != "":
		f.unknown("sshd-version", "%s, so the checks below are for another version; restart it: %s", doubt, s.RestartCommand())
	}
}

// checkOther tells what a further sshd asks for keys.
func checkOther(e *exam, other *sshd.Server, f *findings) {
	const id = "sshd-others"
	effective, err := other.Effective(e.ctx, sshd.Connection{User: e.User})
	switch {
	case err != nil:
		f.unknown(id, "AuthorizedKeysCommand of another sshd, %s, is %v", other.Name(), err)
	case effective.Owner == sshd.OwnerAgent:
		f.ok(id, "another sshd, %s, runs eic-authkeys too", other.Name())
	default:
		f.unknown(id, "another sshd, %s, does not use pushed keys: its AuthorizedKeysCommand is %s, set in %s", other.Name(), effective.Owner.Describe(), effective.CommandFrom.Place())
	}
}

// checkReloaded tells whether the running sshd has read its files as they are.
func checkReloaded(s server, l sshd.Listener, f *findings) {
	const id = "sshd-read"
	config, err := s.Config()
	if err != nil {
		return // reported by checkAsked
	}
	read, err := s.LastRead(s.values)
	if err != nil {
		f.unknown(id, "cannot determine when sshd read its configuration: %v", err)
		return
	}
	path, when := config.ChangedAfter(s.Root, read.At)
	at := read.At.UTC().Format(time.RFC3339)
	st, err := os.Stat(path)
	switch {
	case path == "":
		f.ok(id, "sshd's configuration is loaded")
	case err == nil && st.IsDir():
		f.unknown(id, "sshd may have to be reloaded: since it read its configuration at %s, a file was added, removed or renamed in %s", at, path)
	case !read.Exact:
		f.unknown(id, "cannot determine whether sshd was reloaded after %s changed: it has no PidFile", path)
	default:
		f.problem(sshdNotReloaded, shell("%s", s.ReloadCommand()), "%s changed at %s, after sshd read it at %s: sshd still uses the old configuration", path,
			when.UTC().Format(time.RFC3339), at)
	}
}

// checkUnit tells whether sshd will be the same after it is started again.
func checkUnit(e *exam, s server, unit string, f *findings) {
	for _, o := range s.UnitOptions {
		if o.Keyword != sshd.KeywordCommand || s.OwnerOf(o.Value) == sshd.OwnerAgent {
			continue
		}
		if running := s.option(sshd.KeywordCommand); running != o.Value {
			f.problem(sshdUnitOverrides, e.enableFix("--migrate"), "when %s is restarted, AuthorizedKeysCommand will be %s: %s sets it on sshd's command line, which overrides every file", unit, s.OwnerOf(o.Value).Describe(), o.File)
		}
	}
}

func (s server) option(keyword string) string {
	for _, o := range s.Options {
		if o.Keyword == keyword {
			return o.Value
		}
	}
	return ""
}

// preserveFix has systemd keep the runtime directory of a unit.
func preserveFix(unit string) fix {
	dir := "/etc/systemd/system/" + unit + ".d"
	return shell(`mkdir -p %s && printf '[Service]\nRuntimeDirectoryPreserve=yes\n' >%s/runtime-directory.conf && systemctl daemon-reload`, dir, dir)
}

// startFix starts sshd.
func startFix(s server, unit string) fix {
	if s.Systemd {
		for _, name := range []string{"ssh.service", "sshd.service"} {
			if _, _, err := unitfile.Find(s.Root, name); errors.Is(err, unitfile.ErrMasked) {
				return shell("systemctl unmask %s && systemctl enable --now %s", name, name)
			}
		}
		return shell("systemctl enable --now %s", unit)
	}
	command := s.Program
	if s.ConfigFile != sshd.DefaultConfig {
		command += " -f " + s.ConfigFile
	}
	// Debian's sshd wants it, and its unit makes it.
	return shell("mkdir -p /run/sshd && %s", command)
}

// checkAsked tells what sshd asks for keys.
func checkAsked(e *exam, s server, f *findings) {
	const id = "command"
	whom := "every user"
	if e.User != "" {
		whom = fmt.Sprintf("user %.64q", e.User)
	}
	switch {
	case sshd.IsBroken(s.effectiveErr):
		f.problem(sshdConfigBroken, brokenFix(s), "%v", s.effectiveErr)
		return
	case s.effectiveErr != nil:
		f.unknown(id, "AuthorizedKeysCommand is %v", s.effectiveErr)
		return
	}
	owner, from := s.effective.Owner, s.effective.CommandFrom.Place()
	other := func(problem *Entry, fix fix) {
		f.problem(problem, fix, "AuthorizedKeysCommand for %[2]s is %[1]s, not eic-authkeys: %[3]q, set in %[4]s", owner.Describe(), whom, s.effective.Command, from)
	}
	switch owner {
	case sshd.OwnerNone:
		f.problem(commandNone, e.enableFix(), "AuthorizedKeysCommand is not set for %s%s", whom, elsewhere(s))
	case sshd.OwnerAgent:
		f.ok(id, "AuthorizedKeysCommand for %[2]s is %[1]s, set in %[3]s", filepath.Base(s.program()), whom, from)
	case sshd.OwnerAWS:
		other(commandAWS, e.enableFix("--migrate"))
	case sshd.OwnerUserdb:
		other(commandUserdb, e.chainFix())
	case sshd.OwnerSSSD:
		other(commandSSSD, e.chainFix())
	case sshd.OwnerOSLogin:
		other(commandOslogin, e.enableFix())
	case sshd.OwnerOpkssh:
		other(commandOpkssh, e.chainFix())
	case sshd.OwnerScript:
		other(commandUnprovedScript, e.enableFix())
	default:
		other(commandOther, e.chainFix())
	}
	checkEndpoints(e, s, f)
	checkMatches(e, s, f)
	checkDrops(e, s, f)
	if off := s.access.PubkeyAuthentication(e.ctx); off != nil {
		f.limit(*off)
	}
	checkRevoked(e, s, whom, f)
}

// checkEndpoints reports addresses and ports with another command than at the
// lowest port.
func checkEndpoints(e *exam, s server, f *findings) {
	for _, conn := range s.AtEach(e.ctx, s.effective.Connection)[1:] {
		at, err := s.Server.Effective(e.ctx, conn)
		switch {
		case err != nil:
			f.unknown("command-endpoint", "AuthorizedKeysCommand at %s is %v", conn.At(), err)
		case at.Command != s.effective.Command:
			f.unknown("command-endpoint", "sshd does not use pushed keys at %s: AuthorizedKeysCommand is %s there (%s)", conn.At(), at.Owner.Describe(), at.CommandFrom.Place())
		}
	}
}

// checkDrops reports clients whose connections sshd drops.
func checkDrops(e *exam, s server, f *findings) {
	ctx, cancel := context.WithTimeout(e.ctx, programPatience)
	defer cancel()
	limits, err := s.access.Drops(ctx, e.now)
	if err != nil {
		return // reported by checkHour
	}
	for _, limit := range limits {
		f.problem(entryOf(limit.ID), limitFix(limit), "%s", limit.Text)
	}
}

// checkRevoked finds a RevokedKeys file that sshd cannot use: sshd then refuses every
// key (sshd_config(5)).
func checkRevoked(e *exam, s server, whom string, f *findings) {
	path, why := s.access.UnusableRevokedKeys(e.ctx)
	if why == "" {
		return
	}
	solution := advice("correct %s, or make it anew with ssh-keygen -k", path)
	switch st, err := os.Stat(path); {
	case err != nil:
		solution = shell("install -D -m 0644 /dev/null %s   # revokes nothing", path)
	case st.IsDir():
		solution = limitFix(s.access.Set(e.ctx, "RevokedKeys", "none"))
	}
	f.problem(revokedKeys, solution, "sshd refuses every key of %s: it cannot use RevokedKeys, %s: %s", whom, path, why)
}

// elsewhere says that the agent's command is set where it does not count.
func elsewhere(s server) string {
	config, err := s.Config()
	if err != nil {
		return ""
	}
	for _, set := range config.All(sshd.KeywordCommand) {
		if s.OwnerOf(set.Value) == sshd.OwnerAgent {
			return "; " + set.Place() + " sets eic-authkeys, but is overridden"
		}
	}
	return ""
}

// checkMatches reports Match blocks that may set another command than
// the one reported: for other users if none is named, and for addresses, since it is
// not known where somebody comes from.
func checkMatches(e *exam, s server, f *findings) {
	config, err := s.Config()
	if err != nil {
		return
	}
	for _, set := range config.Overrides() {
		if set.Keyword != sshd.KeywordCommand || set.Value == s.effective.Command || e.User != "" && !byPlace(set.Match) {
			continue
		}
		hint := "name a user to check one"
		if e.User != "" {
			hint = "give --from, or see sshd -T -C"
		}
		f.unknown("command-match", "%s sets another command, %q: %s", set.Place(), set.Value, hint)
		return
	}
}
