package doctor

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/ctl/accept"
	"github.com/eic-agent/eic-agent/internal/hostcmd"
	"github.com/eic-agent/eic-agent/internal/sshd"
)

// A fix is what puts a problem right.
type fix struct {
	text    string
	command bool // for /bin/sh as root on this host, with a comment behind it or not
}

func shell(format string, args ...any) fix { return fix{fmt.Sprintf(format, args...), true} }

// advice is for what no command does, or none on this host.
func advice(format string, args ...any) fix { return fix{fmt.Sprintf(format, args...), false} }

// limitFix is that of a limit of sshd.
func limitFix(l accept.Limit) fix { return fix{l.Fix, l.Command} }

// enableFix has sshd run the agent that is at hand. Where the command of somebody else
// is in the way, the lines that set it go first.
func (e *exam) enableFix(more ...string) fix {
	s := e.server()
	words := append([]string{"eicctl", "sshd", "enable"}, more...)
	if program := atHand(); program != installed && program != "" {
		words = append(words, "--program", program)
	}
	if e.ConfigPath != "" {
		words = append(words, "--config", e.ConfigPath)
	}
	enable := strings.Join(words, " ")
	if s.Server == nil || s.effective.Owner == sshd.OwnerNone || len(more) > 0 && s.Systemd {
		return shell("%s", enable)
	}
	if len(more) > 0 && !s.Systemd {
		return advice("remove AuthorizedKeysCommand from sshd's command line, and run %s", enable)
	}
	settings := []sshd.Setting{s.effective.CommandFrom}
	rest, another := e.others(sshd.KeywordCommand, s.effective.CommandFrom)
	users, _ := e.others(sshd.KeywordCommandUser, s.effective.UserFrom)
	if rest == 0 || users > 0 {
		settings = append(settings, s.effective.UserFrom)
	}
	edits, ok := removal(settings...)
	switch {
	case ok && another:
		return shell("%s", accept.Apply(s.Server, edits))
	case !ok:
		return advice("remove AuthorizedKeysCommand from %s, and run %s", s.effective.CommandFrom.Place(), enable)
	}
	return shell("%s && %s", edits, enable)
}

// others counts the settings of a keyword other than the one that sshd uses. ours says
// that one of them is the agent's command, outside Match blocks.
func (e *exam) others(keyword string, from sshd.Setting) (n int, ours bool) {
	s := e.server()
	config, err := s.Config()
	if err != nil {
		return 0, false
	}
	for _, set := range config.All(keyword) {
		if set.File == from.File && set.Line == from.Line {
			continue
		}
		n++
		ours = ours || len(set.Match) == 0 && s.OwnerOf(set.Value) == sshd.OwnerAgent
	}
	return n, ours
}

// removal comments lines of sshd's configuration out.
func removal(settings ...sshd.Setting) (commands string, ok bool) {
	var edits []string
	for _, set := range settings {
		edit := fmt.Sprintf("sed -i '%ds/^/#/' %s", set.Line, set.File)
		switch {
		case set.IsZero():
			continue
		case set.File == "" || set.Line == 0 || set.Option != "":
			return "", false
		case !slices.Contains(edits, edit):
			edits = append(edits, edit)
		}
	}
	return strings.Join(edits, " && "), len(edits) > 0
}

// chainFix has the command of somebody else run after the agent. Its program has to be
// there, or [chain] would name one that is not.
func (e *exam) chainFix() fix {
	enable := e.enableFix()
	command := e.server().effective.Command
	program, _, _ := strings.Cut(command, " ")
	if st, err := os.Stat(program); err != nil || !st.Mode().IsRegular() || !enable.command {
		return enable
	}
	value, err := json.Marshal([]string{command})
	if err != nil {
		return enable
	}
	set, ok := e.setFix("chain", "command", string(value))
	if !ok {
		return advice("to use both, add %q to command in [chain] of %s, and run: %s", command, e.config().path, enable.text)
	}
	return shell("%s && %s", set, enable.text)
}

// atHand returns the path of an eic-authkeys that can be run, or "".
func atHand() string {
	for _, path := range []string{installed, beside("eic-authkeys")} {
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// commandFix sets AuthorizedKeysCommand anew in the line that sets it, with the
// configuration that it names.
func (e *exam) commandFix(tokens string) fix {
	s := e.server()
	path := atHand()
	if path == "" {
		return advice("reinstall eic-agent")
	}
	command := path
	if file := s.configPath(); file != "" && !isMissing(file) {
		command += " --config " + file
	}
	return limitFix(s.access.Set(e.ctx, "AuthorizedKeysCommand", command+" "+tokens))
}

// accountFix sets AuthorizedKeysCommandUser to the agent's own account, which is made
// where it is missing.
func (e *exam) accountFix() fix {
	s := e.server()
	set := s.access.Set(e.ctx, "AuthorizedKeysCommandUser", defaultAccount)
	if from := s.effective.CommandFrom; s.effective.User == "" && from.File != "" && from.Line > 0 {
		set.Fix = accept.Apply(s.Server, fmt.Sprintf("sed -i '%da AuthorizedKeysCommandUser %s' %s", from.Line, defaultAccount, from.File))
		set.Command = true
	}
	if _, err := lookUp(e.ctx, defaultAccount); err == nil || !set.Command {
		return limitFix(set)
	}
	account := "useradd --system --home-dir / --no-create-home --shell /usr/sbin/nologin " + defaultAccount
	if _, err := os.Stat("/usr/lib/sysusers.d/eic-agent.conf"); err == nil && present("systemd-sysusers") {
		account = "systemd-sysusers eic-agent.conf"
	}
	return shell("%s && %s", account, set.Fix)
}

// present reports whether a program is installed.
func present(name string) bool {
	_, err := hostcmd.LookPath("/", name)
	return err == nil
}

// setFix sets a key of the agent's configuration: where it is set, or else in a file of
// its own. ok is false where it is set in a way that a line does not show.
func (e *exam) setFix(section, key, value string) (command string, ok bool) {
	s := e.config()
	line := key + " = " + value
	for _, path := range slices.Backward(s.files) { // the last one counts
		text, err := os.ReadFile(path)
		if err != nil {
			return "", false
		}
		for n, old := range strings.Split(string(text), "\n") {
			if regexp.MustCompile(`^\s*(` + section + `\.)?` + key + `\s*=`).MatchString(old) {
				return fmt.Sprintf("sed -i '%ds|.*|%s|' %s", n+1, line, path), !strings.ContainsAny(line, "|&\\'")
			}
		}
	}
	dir := config.Dir(s.path)
	text := fmt.Sprintf(`[%s]\n%s\n`, section, strings.ReplaceAll(line, `%`, `%%`))
	return fmt.Sprintf("install -d -m 0755 %s && printf '%s' | install -m 0644 /dev/stdin %s", dir, text, filepath.Join(dir, "60-"+section+".toml")), !strings.ContainsAny(line, `\'`)
}

// systemdFix restarts units where systemd runs, and else is advice.
func (e *exam) systemdFix(units, otherwise string) fix {
	if !systemdRuns() {
		return advice("%s", otherwise)
	}
	return shell("systemctl restart %s", units)
}

// openFix lets everybody read a file, by what keeps them from it: the file, or
// directories above it.
func openFix(path string) fix {
	var closed []string
	for p, need := path, os.FileMode(0o004); p != "/"; p, need = filepath.Dir(p), 0o001 {
		if st, err := os.Stat(p); err == nil && st.Mode()&need == 0 {
			closed = append(closed, p)
		}
	}
	if len(closed) == 0 {
		return advice("make %s world-readable", path)
	}
	return shell("chmod a+rX %s", strings.Join(closed, " "))
}

// systemdRuns does what sd_booted(3) does.
func systemdRuns() bool {
	_, err := os.Lstat("/run/systemd/system")
	return err == nil
}

// badLine finds the lines that sshd -t complains about.
var badLine = regexp.MustCompile(`(/[^\s:]+)(?::| )\s*line (\d+)`)

// brokenFix comments out the lines that sshd does not take. Without a Match line the lines
// of its block would apply to everybody.
func brokenFix(s server) fix {
	var edits []string
	for _, m := range badLine.FindAllStringSubmatch(s.effectiveErr.Error(), -1) {
		if isMatchLine(m[1], m[2]) {
			return advice("correct the Match line, %s line %s, or remove its block: without the line the block would apply to everybody", m[1], m[2])
		}
		if edit := fmt.Sprintf("sed -i '%ss/^/#/' %s", m[2], m[1]); !slices.Contains(edits, edit) {
			edits = append(edits, edit)
		}
	}
	if len(edits) == 0 {
		return advice("correct the errors that %s reports", s.TestCommand())
	}
	return shell("%s", accept.Apply(s.Server, strings.Join(edits, " && ")))
}

// isMatchLine reports whether a line of a file, by its number, begins a Match block.
func isMatchLine(path, number string) bool {
	text, err := os.ReadFile(path)
	n, numberErr := strconv.Atoi(number)
	lines := strings.Split(string(text), "\n")
	if err != nil || numberErr != nil || n < 1 || n > len(lines) {
		return false
	}
	keyword, _ := sshd.SplitLine(lines[n-1])
	return keyword == "match"
}
