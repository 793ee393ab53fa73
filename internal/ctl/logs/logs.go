// Package logs finds out what keeps records of sshd and of eic-agent out of a host's
// journal: from there on, a record that is missing says nothing.
package logs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/eic-agent/eic-agent/internal/ctl/accept"
	"github.com/eic-agent/eic-agent/internal/hostcmd"
	"github.com/eic-agent/eic-agent/internal/sshd"
	"github.com/eic-agent/eic-agent/internal/sysroot"
	"github.com/eic-agent/eic-agent/internal/systemctl"
	"github.com/eic-agent/eic-agent/internal/unitfile"
)

// A Gap is one thing that keeps records out of the journal.
type Gap struct {
	ID   string `json:"id"`
	What string `json:"what"` // a clause, without a period
	Fix  string `json:"fix"`
	// Command says that the fix is one: for a shell of root on this host.
	Command bool `json:"fix_is_command,omitempty"`
	// Match is the Match block that it is limited to, nil for none.
	Match []string `json:"match,omitempty"`
}

// The IDs of gaps.
const (
	Storage     = "journal-storage"    // journald keeps nothing
	StoreLevel  = "journal-level"      // journald keeps no record of priority info
	UnitLevel   = "unit-log-level"     // systemd drops the unit's records of priority info
	Namespace   = "unit-log-namespace" // the unit's records go to another journal
	UnitFilter  = "unit-log-filter"    // journald drops some of the unit's records
	DevLog      = "dev-log"            // syslog(3) does not lead to journald
	SSHDLevel   = "sshd-log-level"     // sshd logs no logins
	SSHDOutput  = "sshd-log-output"    // sshd logs to a file or to standard error
	SSHDUnknown = "sshd-log-unknown"   // sshd could not be asked
)

const (
	// journaldLog is where syslog(3) writes to, where that is journald.
	journaldLog = "/run/systemd/journal/dev-log"
)

// Gaps returns what keeps records of sshd's logins, or of eic-agent, out of the
// journal of the system whose root directory is root, as its configuration is now.
// Of what it cannot find out it says so. Only root can ask sshd.
func Gaps(ctx context.Context, root string) []Gap {
	server, err := sshd.Find(ctx, root)
	if err != nil {
		return Journald(root)
	}
	return append(Journald(root), SSHD(ctx, server, sshd.Connection{})...)
}

// SSHD returns what keeps the records of a server about the logins of a connection out
// of the journal. A gap in a Match block is returned also where the block is not for it.
func SSHD(ctx context.Context, server *sshd.Server, conn sshd.Connection) (gaps []Gap) {
	if server.Systemd {
		gaps = units(ctx, server)
	}
	return append(gaps, ofSSHD(ctx, server, conn)...)
}

// Journald returns what has journald itself keep no records, or not be given them.
func Journald(root string) (gaps []Gap) {
	storage := func(value string) bool {
		return slices.Contains([]string{"volatile", "persistent", "auto", "none"}, value)
	}
	level := func(value string) bool { return slices.Contains(levels, levelName(value)) }
	if value, set := journaldSetting(root, "Storage", storage); value == "none" {
		gaps = append(gaps, Gap{ID: Storage, What: fmt.Sprintf("Storage=%s at %s has journald keep no record", value, set.place()),
			Fix: set.fix(root, "Storage=auto"), Command: true})
	}
	if value, set := journaldSetting(root, "MaxLevelStore", level); belowInfo(value) {
		gaps = append(gaps, Gap{ID: StoreLevel, What: fmt.Sprintf("MaxLevelStore=%s at %s has journald keep no record of priority info, such as those of logins and of keys provided", value, set.place()),
			Fix: set.fix(root, "MaxLevelStore=debug"), Command: true})
	}
	target, err := os.Readlink(sysroot.Entry(root, "/dev/log"))
	_, statErr := os.Stat(sysroot.Path(root, "/run/systemd/journal/socket"))
	if _, lstatErr := os.Lstat(sysroot.Entry(root, "/dev/log")); statErr == nil && lstatErr == nil && (err != nil || target != journaldLog) {
		gaps = append(gaps, Gap{ID: DevLog, What: "/dev/log is another program's than journald's, so sshd's records go there", Fix: "ln -sf " + journaldLog + " /dev/log", Command: true})
	}
	return gaps
}

// A setting is a line of journald's configuration.
type setting struct {
	file string
	line int
}

func (s setting) place() string { return fmt.Sprintf("%s line %d", s.file, s.line) }

// fix returns a command that has an assignment win over the setting, and journald read
// it.
func (s setting) fix(root, assignment string) string {
	edit := fmt.Sprintf("sed -i '%ds|.*|%s|' %s", s.line, assignment, s.file)
	if strings.HasPrefix(s.file, "/usr/") || strings.HasPrefix(s.file, "/lib/") { // the distribution's
		edit = fmt.Sprintf(`install -d %s && printf '[Journal]\n%s\n' >>%s`, filepath.Dir(ownDropIn), assignment, ownDropIn)
	}
	if _, err := os.Stat(sysroot.Path(root, "/run/systemd/system")); err != nil {
		return edit + "   # and restart journald"
	}
	return edit + " && systemctl restart systemd-journald"
}

// ownDropIn sorts after those that others write.
const ownDropIn = "/etc/systemd/journald.conf.d/zz-eic-agent.conf"

// levels are syslog's, and what sshd and systemd call them.
var levels = []string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}

// levelName returns the name of a level that is given by its name or number.
func levelName(value string) string {
	if n, err := strconv.Atoi(value); err == nil && 0 <= n && n < len(levels) {
		return levels[n]
	}
	return value
}

// belowInfo reports whether a level of systemd's leaves out records of priority info.
func belowInfo(value string) bool {
	n := slices.Index(levels, levelName(value))
	return 0 <= n && n < slices.Index(levels, "info")
}

// journaldSetting returns the last value of a key of journald.conf(5) that journald knows,
// and where it stands; "" where it stands nowhere.
func journaldSetting(root, key string, isValid func(string) bool) (value string, set setting) {
	for _, file := range journaldFiles(root) {
		text, err := os.ReadFile(sysroot.Path(root, file))
		if err != nil {
			continue
		}
		for a := range unitfile.Assignments(string(text)) {
			if a.Section == "Journal" && a.Key == key && isValid(a.Value) {
				value, set = a.Value, setting{file, a.Line}
			}
		}
	}
	return value, set
}

// journaldFiles are those that journald reads, the one that counts most last.
func journaldFiles(root string) []string {
	dirs := []string{"/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd", "/lib/systemd"}
	var files []string
	for _, dir := range dirs {
		if _, err := os.Stat(sysroot.Path(root, dir+"/journald.conf")); err == nil {
			files = append(files, dir+"/journald.conf")
			break
		}
	}
	dropIns := make(map[string]string)
	for _, dir := range slices.Backward(dirs) {
		entries, _ := os.ReadDir(sysroot.Path(root, dir+"/journald.conf.d"))
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".conf") {
				dropIns[e.Name()] = filepath.Join(dir, "journald.conf.d", e.Name())
			}
		}
	}
	var names []string
	for name := range dropIns {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		files = append(files, dropIns[name])
	}
	return files
}

// units asks systemd about the unit of sshd.
func units(ctx context.Context, server *sshd.Server) (gaps []Gap) {
	name := server.Service().Name
	if name == "" {
		return nil
	}
	out, err := hostcmd.Output(ctx, "systemctl", "show", "--property=LogLevelMax,LogNamespace,LogFilterPatterns", sshd.Instance(name))
	if err != nil {
		return nil
	}
	unit := systemctl.Properties(out)
	if level := unit["LogLevelMax"]; belowInfo(level) {
		gaps = append(gaps, Gap{ID: UnitLevel, What: fmt.Sprintf("LogLevelMax=%s of %s drops records of priority info, such as those of logins and of keys provided", levelName(level), name),
			Fix: unitFix(server, name, "LogLevelMax=debug"), Command: true})
	}
	if namespace := unit["LogNamespace"]; namespace != "" {
		gaps = append(gaps, Gap{ID: Namespace, What: fmt.Sprintf("LogNamespace=%s of %s has its records, and those of eic-authkeys, in a journal of their own", namespace, name),
			Fix: unitFix(server, name, "LogNamespace="), Command: true})
	}
	if patterns := unit["LogFilterPatterns"]; patterns != "" {
		gaps = append(gaps, Gap{ID: UnitFilter, What: fmt.Sprintf("LogFilterPatterns=%s of %s has journald drop some of its records, and of those of eic-authkeys", patterns, name),
			Fix: unitFix(server, name, "LogFilterPatterns="), Command: true})
	}
	return gaps
}

// unitFix returns a command that sets something of the unit.
func unitFix(server *sshd.Server, unit, assignment string) string {
	dir := "/etc/systemd/system/" + unit + ".d"
	name, _, _ := strings.Cut(assignment, "=")
	fix := fmt.Sprintf(`mkdir -p %s && printf '[Service]\n%s\n' >%s/zz-%s.conf && systemctl daemon-reload`, dir, assignment, dir, name)
	if _, running := server.Listener(); running {
		fix += " && " + server.RestartCommand()
	}
	return fix
}

// ofSSHD asks sshd.
func ofSSHD(ctx context.Context, server *sshd.Server, conn sshd.Connection) (gaps []Gap) {
	for _, one := range append([]*sshd.Server{server}, server.Others...) {
		fix := "remove %s from the command line of sshd, and restart sshd"
		if one.Log != "" {
			where := "a file"
			if one.Log == "-e" {
				where = "standard error"
			}
			gaps = append(gaps, Gap{ID: SSHDOutput, What: fmt.Sprintf("sshd, %s, runs with %s, so it logs to %s and not to syslog", one.Name(), one.Log, where), Fix: fmt.Sprintf(fix, one.Log)})
		}
		if name := one.LogsAs(); name != "sshd" {
			gaps = append(gaps, Gap{ID: SSHDOutput, What: fmt.Sprintf("sshd, %s, logs as %s, and eicctl reads the messages of sshd alone", one.Name(), name), Fix: "start it by a path that ends in sshd, such as " + one.Program})
		}
		if one.Quiet {
			gaps = append(gaps, Gap{ID: SSHDLevel, What: fmt.Sprintf("sshd, %s, runs with -q, so it logs no logins", one.Name()), Fix: fmt.Sprintf(fix, "-q")})
		}
	}
	values, _, err := server.Ask(ctx, conn)
	if err != nil {
		return append(gaps, Gap{ID: SSHDUnknown, What: fmt.Sprintf("whether sshd logs logins is not known: %v", err), Fix: "run it as root, where sshd's configuration is in order"})
	}
	config, err := server.Config()
	if err != nil {
		return gaps
	}
	limit := accept.New(server, sshd.Effective{Values: values, Connection: conn}).Set(ctx, "LogLevel", "INFO")
	if level := values.Get("loglevel"); silent(level) && !server.Quiet {
		at := ""
		if set, err := server.Place(ctx, config, "loglevel", conn); err == nil && !set.IsZero() {
			at = " at " + set.Place()
		}
		return append(gaps, Gap{ID: SSHDLevel, What: fmt.Sprintf("LogLevel %s%s has sshd log no logins", level, at), Fix: limit.Fix, Command: limit.Command})
	}
	for _, set := range config.All("loglevel") {
		if words := sshd.Words(set.Value); len(set.Match) > 0 && len(words) > 0 && silent(words[0]) {
			gaps = append(gaps, Gap{ID: SSHDLevel, What: fmt.Sprintf("LogLevel %s at %s has sshd log no logins of those that Match %s is for", words[0], set.Place(), strings.Join(set.Match, " and ")),
				Fix: accept.Apply(server, fmt.Sprintf("sed -i '%ds|.*|LogLevel INFO|' %s", set.Line, set.File)), Command: true, Match: set.Match})
		}
	}
	return gaps
}

// silent reports whether sshd leaves out its records of logins at a LogLevel. sshd -T
// prints SILENT for QUIET.
func silent(level string) bool {
	return slices.Contains([]string{"SILENT", "QUIET", "FATAL", "ERROR"}, strings.ToUpper(level))
}
