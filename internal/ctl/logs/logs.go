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

	"github.com/eic-agent/eic-agent/internal/hostcmd"
	"github.com/eic-agent/eic-agent/internal/sshd"
	"github.com/eic-agent/eic-agent/internal/sysroot"
	"github.com/eic-agent/eic-agent/internal/unitfile"
)

// A Gap is one thing that keeps records out of the journal.
type Gap struct {
	ID   string `json:"id"`
	What string `json:"what"` // a clause, without a period
	Fix  string `json:"fix"`
}

// The IDs of gaps.
const (
	Storage     = "journal-storage"    // journald keeps nothing
	StoreLevel  = "journal-level"      // journald keeps no record of priority info
	UnitLevel   = "unit-log-level"     // systemd drops the unit's records of priority info
	Namespace   = "unit-log-namespace" // the unit's records go to another journal
	DevLog      = "dev-log"            // syslog(3) does not lead to journald
	SSHDLevel   = "sshd-log-level"     // sshd logs no logins
	SSHDOutput  = "sshd-log-output"    // sshd logs to a file or to standard error
	SSHDUnknown = "sshd-log-unknown"   // sshd could not be asked
)

const (
	restartJournald = "systemctl restart systemd-journald"
	// journaldLog is where syslog(3) writes to, where that is journald.
	journaldLog = "/run/systemd/journal/dev-log"
)

// Gaps returns what keeps records of sshd's logins, or of eic-agent, out of the
// journal of the system whose root directory is root, as its configuration is now.
// Of what it cannot find out it says so. Only root can ask sshd.
func Gaps(ctx context.Context, root string) []Gap {
	gaps := journald(root)
	server, err := sshd.Find(ctx, root)
	if err != nil {
		return gaps
	}
	if server.Systemd {
		gaps = append(gaps, units(ctx, server)...)
	}
	return append(gaps, ofSSHD(ctx, server)...)
}

func journald(root string) (gaps []Gap) {
	if value, place := journaldSetting(root, "Storage"); strings.EqualFold(value, "none") {
		gaps = append(gaps, Gap{Storage, fmt.Sprintf("Storage=%s at %s has journald keep no record", value, place),
			fmt.Sprintf("remove the line %s; %s", place, restartJournald)})
	}
	if value, place := journaldSetting(root, "MaxLevelStore"); belowInfo(value) {
		gaps = append(gaps, Gap{StoreLevel, fmt.Sprintf("MaxLevelStore=%s at %s has journald keep no record of priority info, such as those of logins and of keys provided", value, place),
			fmt.Sprintf("remove the line %s; %s", place, restartJournald)})
	}
	target, err := os.Readlink(sysroot.Entry(root, "/dev/log"))
	_, statErr := os.Stat(sysroot.Path(root, "/run/systemd/journal/socket"))
	if _, lstatErr := os.Lstat(sysroot.Entry(root, "/dev/log")); statErr == nil && lstatErr == nil && (err != nil || target != journaldLog) {
		gaps = append(gaps, Gap{DevLog, "/dev/log is another program's than journald's, so sshd's records go there", "ln -sf " + journaldLog + " /dev/log"})
	}
	return gaps
}

// levels are syslog's, and what sshd and systemd call them.
var levels = []string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}

// levelName returns the name of a level that is given by its name or number.
func levelName(value string) string {
	if n, err := strconv.Atoi(value); err == nil && 0 <= n && n < len(levels) {
		return levels[n]
	}
	return strings.ToLower(value)
}

// belowInfo reports whether a level of systemd's leaves out records of priority info.
func belowInfo(value string) bool {
	n := slices.Index(levels, levelName(value))
	return 0 <= n && n < slices.Index(levels, "info")
}

// journaldSetting returns the last value of a key of journald.conf(5), and where it
// stands; "" where it stands nowhere.
func journaldSetting(root, key string) (value, place string) {
	for _, file := range journaldFiles(root) {
		text, err := os.ReadFile(sysroot.Path(root, file))
		if err != nil {
			continue
		}
		for a := range unitfile.Assignments(string(text)) {
			if a.Section == "Journal" && a.Key == key {
				value, place = a.Value, fmt.Sprintf("%s line %d", file, a.Line)
			}
		}
	}
	return value, place
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
	out, err := hostcmd.Output(ctx, "systemctl", "show", "--property=LogLevelMax,LogNamespace", name)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch {
		case key == "LogLevelMax" && belowInfo(value):
			gaps = append(gaps, Gap{UnitLevel, fmt.Sprintf("LogLevelMax=%s of %s drops records of priority info, such as those of logins and of keys provided", levelName(value), name),
				fmt.Sprintf("remove LogLevelMax= from %s: systemctl edit --full %s", name, name)})
		case key == "LogNamespace" && value != "":
			gaps = append(gaps, Gap{Namespace, fmt.Sprintf("LogNamespace=%s of %s has its records in a journal of their own", value, name),
				"read that journal: --directory /var/log/journal/MACHINE-ID." + value})
		}
	}
	return gaps
}

// ofSSHD asks sshd.
func ofSSHD(ctx context.Context, server *sshd.Server) (gaps []Gap) {
	for _, l := range server.Listeners {
		for _, word := range strings.Fields(l.Args)[1:] {
			if where := output(word); where != "" {
				gaps = append(gaps, Gap{SSHDOutput, fmt.Sprintf("the sshd of process %d runs with %s, so it logs to %s and not to syslog", l.PID, word, where),
					"remove " + word + " from sshd's command line, and restart sshd"})
			}
		}
	}
	values, _, err := server.Ask(ctx, sshd.Connection{})
	if err != nil {
		return append(gaps, Gap{SSHDUnknown, fmt.Sprintf("whether sshd logs logins is not known: %v", err), "run it as root, where sshd's configuration is in order"})
	}
	config, err := server.Config()
	if err != nil {
		return gaps
	}
	if level := values.Get("loglevel"); silent(level) {
		at := ""
		if set, err := server.Place(ctx, config, "loglevel", sshd.Connection{}); err == nil && !set.IsZero() {
			at = " at " + set.Place()
		}
		gaps = append(gaps, Gap{SSHDLevel, fmt.Sprintf("LogLevel %s%s has sshd log no logins", level, at), "set LogLevel INFO in sshd's configuration, and reload sshd"})
		return gaps
	}
	for _, set := range config.All("loglevel") {
		if len(set.Match) > 0 && silent(set.Value) {
			gaps = append(gaps, Gap{SSHDLevel, fmt.Sprintf("LogLevel %s at %s has sshd log no logins of those that Match %s is for", set.Value, set.Place(), strings.Join(set.Match, " and ")),
				"set LogLevel INFO there, and reload sshd"})
		}
	}
	return gaps
}

// output returns where an argument of sshd has its log written, "" where it says
// nothing of it.
func output(arg string) string {
	switch {
	case strings.HasPrefix(arg, "-E"):
		return "a file"
	case len(arg) > 1 && arg[0] == '-' && arg[1] != '-' && strings.Trim(arg[1:], "46Ddeiq") == "" && strings.Contains(arg, "e"):
		return "standard error"
	}
	return ""
}

// silent reports whether sshd leaves out its records of logins at a LogLevel.
func silent(level string) bool {
	return slices.Contains([]string{"QUIET", "FATAL", "ERROR"}, strings.ToUpper(level))
}
