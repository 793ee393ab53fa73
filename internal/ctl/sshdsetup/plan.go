package sshdsetup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/ctl/settings"
	"github.com/eic-agent/eic-agent/internal/keyscommand"
	"github.com/eic-agent/eic-agent/internal/pattern"
	"github.com/eic-agent/eic-agent/internal/sshd"
	"github.com/eic-agent/eic-agent/internal/sysroot"
)

// DropIn is the file for sshd, where sshd_config includes its directory. It sorts
// before what distributions and other packages put there.
const DropIn = "/etc/ssh/sshd_config.d/05-eic-agent.conf"

// A plan is what enable is going to change.
type plan struct {
	changes []Change
	// units says that files of systemd's units are among the changes.
	units bool
	notes []string
}

// makePlan plans how the command gets into effect, or says what is in the way.
func (o Options) makePlan(server *sshd.Server, files *sshd.Config, effective sshd.Effective, cfg *config.Config) (*plan, *Report, error) {
	command := o.command(cfg)
	p := new(plan)
	if !o.inEffect(server, effective, command) {
		blocking := o.blocking(server, files, effective)
		var foreign []sshd.Setting
		for _, s := range blocking {
			switch {
			case o.isOurs(s):
			case o.Migrate && isAWS(server, files, s) && !byHand(server, s):
				foreign = append(foreign, s)
			case s.Option == "" && covered(cfg, s, effective):
				p.notes = append(p.notes, fmt.Sprintf("%s (%s) no longer takes effect; [chain] runs it as %s", s.Value, s.Place(), o.User))
			default:
				return nil, o.conflict(server, s, effective), nil
			}
		}
		if err := p.retire(server, foreign); err != nil {
			return nil, nil, err
		}
		if err := p.place(server, files, command, o.User); err != nil {
			return nil, nil, err
		}
	}
	if server.Version.TakesExpiryUTC() && !cfg.Keys.ExpiryTime {
		if err := p.expiry(o); err != nil {
			return nil, nil, err
		}
	}
	return p, nil, nil
}

// inEffect reports whether sshd uses the command, by a file and for good.
func (o Options) inEffect(server *sshd.Server, effective sshd.Effective, command string) bool {
	return effective.Command == command && effective.User == o.User &&
		effective.CommandFrom.File == effective.UserFrom.File && effective.CommandFrom.Option == "" &&
		len(commandOptions(server.Options)) == 0 && len(commandOptions(server.UnitOptions)) == 0
}

// blocking returns the settings that win over a file of ours, or that ours would
// displace: those of the command lines, the first of each keyword outside Match
// blocks, and what sshd says that it uses wherever that is set, such as after Match
// all.
func (o Options) blocking(server *sshd.Server, files *sshd.Config, effective sshd.Effective) []sshd.Setting {
	list := commandOptions(server.Options)
	for _, s := range commandOptions(server.UnitOptions) {
		if !slices.ContainsFunc(list, func(other sshd.Setting) bool { return other.Keyword == s.Keyword && other.Value == s.Value }) {
			list = append(list, s)
		}
	}
	for _, keyword := range []string{sshd.KeywordCommand, sshd.KeywordCommandUser} {
		if s := files.Global(keyword); !s.IsZero() {
			list = append(list, s)
		}
	}
	from := effective.CommandFrom
	if from.IsZero() && effective.Command != "" {
		from = sshd.Setting{Keyword: sshd.KeywordCommand, Value: effective.Command}
	}
	if !from.IsZero() && !slices.ContainsFunc(list, func(s sshd.Setting) bool { return s.Keyword == from.Keyword && s.Value == from.Value }) {
		list = append(list, from)
	}
	return list
}

// isOurs reports whether the setting is in our block, which is rewritten.
func (o Options) isOurs(s sshd.Setting) bool {
	if s.Option != "" {
		return false
	}
	text, err := os.ReadFile(o.path(s.File))
	if err != nil {
		return false
	}
	begun := 0
	for i, line := range strings.Split(string(text), "\n") {
		switch strings.TrimSpace(line) {
		case beginMark:
			if begun == 0 {
				begun = i + 1
			}
		case endMark:
			if begun > 0 && begun < s.Line && s.Line < i+1 {
				return true
			}
			begun = 0
		}
	}
	return false
}

// isAWS reports whether the setting is one of AWS's package: its command, or the
// user beside it in the same place.
func isAWS(server *sshd.Server, files *sshd.Config, s sshd.Setting) bool {
	if s.Keyword == sshd.KeywordCommand {
		return server.OwnerOf(s.Value) == sshd.OwnerAWS
	}
	all := append(slices.Clone(server.Options), server.UnitOptions...)
	all = append(all, files.All(sshd.KeywordCommand)...)
	return slices.ContainsFunc(all, func(c sshd.Setting) bool {
		return c.Keyword == sshd.KeywordCommand && c.File == s.File && (c.Option == "") == (s.Option == "") && server.OwnerOf(c.Value) == sshd.OwnerAWS
	})
}

// byHand reports whether the setting is on the command line of an sshd of which it is
// not known how it is started.
func byHand(server *sshd.Server, s sshd.Setting) bool { return s.File == "" && !server.Systemd }

// covered reports whether [chain] runs a command that ours displaces: the words are
// the same, but for what follows the program if that is the user name alone.
func covered(cfg *config.Config, s sshd.Setting, effective sshd.Effective) bool {
	value := s.Value
	if s.Keyword == sshd.KeywordCommandUser {
		value = effective.Command
	}
	words, err := keyscommand.Split(value)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(cfg.Chain.Command, func(line string) bool {
		chained, err := keyscommand.Split(line)
		return err == nil && slices.Equal(withUser(chained), withUser(words))
	})
}

// withUser is a command with the argument that one without arguments gets.
func withUser(words []string) []string {
	if len(words) == 1 {
		return append(slices.Clone(words), "%u")
	}
	return words
}

// conflict says that a setting is in the way, and what can be done.
func (o Options) conflict(server *sshd.Server, s sshd.Setting, effective sshd.Effective) *Report {
	owner := server.OwnerOf(s.Value)
	switch {
	case s.Keyword == sshd.KeywordCommandUser && s.Option == "" && effective.Command != "" && effective.CommandFrom.Option == "":
		s = effective.CommandFrom
		owner = effective.Owner
	case s.Keyword == sshd.KeywordCommandUser:
		return refuse(Conflict, fmt.Sprintf("AuthorizedKeysCommandUser is set to %s, in %s", s.Value, s.Place()),
			"sshd would run eic-authkeys as that user: remove the line")
	case owner == sshd.OwnerNone:
		return refuse(Conflict, fmt.Sprintf("AuthorizedKeysCommand is set to none in %s", s.Place()), "none disables the command on purpose: remove the line to use eic-authkeys")
	}
	problem := fmt.Sprintf("sshd already has %s: %s (%s)", owner.Describe(), s.Value, s.Place())
	switch {
	case owner == sshd.OwnerAWS && !byHand(server, s):
		return refuse(Conflict, problem, "eicctl sshd enable --migrate replaces it with eic-authkeys; disable restores it")
	case owner == sshd.OwnerAgent:
		return refuse(Conflict, problem, "change or remove it there; eicctl sshd enable writes "+DropIn)
	case len(s.Match) > 0:
		return refuse(Conflict, problem, "a Match block that matches every connection overrides the lines outside: remove the setting from it")
	case s.Option != "":
		return refuse(Conflict, problem, "the command line overrides every file: remove the -o option, and restart sshd")
	case owner == sshd.OwnerScript:
		return refuse(Conflict, problem, "it does not verify the keys that it prints, so eic-authkeys does not run alongside it: remove it")
	}
	words, err := keyscommand.Split(s.Value)
	if err != nil {
		return refuse(Conflict, problem)
	}
	line := s.Value
	if len(words) == 1 {
		line += " %u"
	}
	hint := []string{
		"sshd runs only one AuthorizedKeysCommand. To have eic-authkeys also run the existing one, add to " + o.Config + ":",
		"[chain]",
		"command = [" + tomlString(line) + "]",
		"and run eicctl sshd enable again.",
	}
	if effective.User != "" && effective.User != o.User {
		hint = append(hint, fmt.Sprintf("It runs as %s now, and would run as %s: first test that it works as that user.", effective.User, o.User))
	}
	return refuse(Conflict, problem, hint...)
}

func tomlString(s string) string {
	if !strings.Contains(s, "'") {
		return "'" + s + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// retire plans to take AWS's settings away: the drop-in of the unit that its
// package wrote, a file for sshd that has nothing else, and lines of others.
func (p *plan) retire(server *sshd.Server, settings []sshd.Setting) error {
	lines := make(map[string][]int)
	var order []string
	for _, s := range settings {
		if s.File == "" {
			continue // of the running sshd only: a restart is enough
		}
		if lines[s.File] == nil {
			order = append(order, s.File)
		}
		lines[s.File] = append(lines[s.File], s.Line)
		if s.Option != "" {
			p.units = true
		}
	}
	for _, file := range order {
		text, err := os.ReadFile(server.Path(file))
		if err != nil {
			return err
		}
		const why = "the command of AWS's package ec2-instance-connect"
		var c Change
		switch {
		case strings.HasSuffix(filepath.Dir(file), ".d") && onlyHas(text, file):
			c, err = remove(server.Root, file, why)
		case strings.HasPrefix(file, "/etc/ssh/"):
			c, err = edit(server.Root, file, why, retire(text, lines[file]))
		default:
			return fmt.Errorf("%s has more than the command of AWS's package: remove the command from it by hand", file)
		}
		if err != nil {
			return err
		}
		p.changes = append(p.changes, c)
	}
	return nil
}

// onlyHas reports whether a file sets only AuthorizedKeysCommand and its user or, for a
// unit, only ExecStart.
func onlyHas(text []byte, file string) bool {
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		keyword, _ := sshd.SplitLine(line)
		switch keyword {
		case "", sshd.KeywordCommand, sshd.KeywordCommandUser:
		case "[service]", "execstart":
			if strings.HasPrefix(file, "/etc/ssh/") {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// place plans the drop-in where sshd_config includes it before anything else of
// ours, and a block in sshd_config where it does not.
func (p *plan) place(server *sshd.Server, files *sshd.Config, command, user string) error {
	content := block(command, user)
	const why = "AuthorizedKeysCommand and AuthorizedKeysCommandUser"
	file := files.Path
	if includesDropIn(files) {
		file = DropIn
		if _, err := os.Lstat(server.Path(DropIn)); errors.Is(err, fs.ErrNotExist) {
			if dir := filepath.Dir(DropIn); !isDir(server.Path(dir)) {
				p.changes = append(p.changes, Change{Path: dir, Action: actionMkdir, Why: "for the file in it"})
			}
			p.changes = append(p.changes, create(DropIn, why, content))
			return nil
		}
	}
	for i, c := range p.changes {
		if c.Path == file { // lines of AWS's package are retired in it
			p.changes[i].content = insert(stripBlock(c.content), content)
			p.changes[i].After = sum(p.changes[i].content)
			p.changes[i].Why = why + ", replacing those of AWS's package"
			return nil
		}
	}
	text, err := os.ReadFile(server.Path(file))
	if err != nil {
		return err
	}
	c, err := edit(server.Root, file, why, insert(stripBlock(text), content))
	p.changes = append(p.changes, c)
	return err
}

// includesDropIn reports whether sshd_config includes the drop-in, outside Match
// blocks and before every command that is set outside them.
func includesDropIn(files *sshd.Config) bool {
	for n, i := range files.Includes {
		include, err := pattern.Compile(pattern.Path, i.Value)
		if err != nil || !include.Match(DropIn) || len(i.Match) > 0 {
			continue
		}
		for _, keyword := range []string{sshd.KeywordCommand, sshd.KeywordCommandUser} {
			s := files.Global(keyword)
			var before bool
			switch {
			case s.IsZero():
			case s.File == i.File:
				before = s.Line < i.Line
			case slices.Contains(i.Files, s.File):
				before = s.File < DropIn
			default:
				before = slices.ContainsFunc(files.Includes[:n], func(e sshd.Include) bool { return slices.Contains(e.Files, s.File) })
			}
			if before {
				return false
			}
		}
		return true
	}
	return false
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// expiry plans a file of eicctl's own that turns [keys] expiry_time on.
func (p *plan) expiry(o Options) error {
	const why = "[keys] expiry_time = true: this sshd enforces the expiry too"
	sources, err := config.Sources(o.Root, o.Config)
	if err != nil {
		return err
	}
	path := settings.Path(o.Config, settings.SSHD)
	if by := config.SetBy(sources, "keys.expiry_time"); by != "" && by != path {
		p.notes = append(p.notes, by+" sets [keys] expiry_time; not changed")
		return nil
	}
	p.makeDirs(o, filepath.Dir(path))
	content := settings.Text("sshd", "[keys]\nexpiry_time = true\n")
	if _, err := os.Lstat(sysroot.Entry(o.Root, path)); errors.Is(err, fs.ErrNotExist) {
		p.changes = append(p.changes, create(path, why, content))
		return nil
	}
	c, err := edit(o.Root, path, why, content)
	p.changes = append(p.changes, c)
	return err
}

// makeDirs plans the directories that are missing for a file in dir.
func (p *plan) makeDirs(o Options, dir string) {
	if isDir(o.path(dir)) || dir == "/" {
		return
	}
	p.makeDirs(o, filepath.Dir(dir))
	p.changes = append(p.changes, Change{Path: dir, Action: actionMkdir, Why: "for the file in it"})
}
