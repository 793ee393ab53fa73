package serial

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/eic-agent/eic-agent/internal/atomicfile"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/ctl/settings"
)

const keyUnreachable = "serial.when_unreachable"

// settingsPath is the file of the configuration that Enable writes.
var settingsPath = settings.Path(config.DefaultPath, settings.Serial)

// choose has the configuration say what becomes of the console while the metadata service
// cannot be reached, and says what it did. set is what it says, choice "" where that
// stands. The error is ErrChoice where neither says anything.
func (s *System) choose(set, choice string) (done []string, err error) {
	sources, err := config.Sources(s.root(), config.DefaultPath)
	if err != nil {
		return nil, err
	}
	value := choice
	if choice == "" {
		value = set
	}
	by := config.SetBy(sources, keyUnreachable)
	isOld := isWritten(sources)
	switch {
	case value == "":
		return nil, ErrChoice
	case isOld: // which moves to where it belongs
	case by != "" && by != settingsPath && value != set:
		return nil, refuse("change it there", "%s has when_unreachable = %q, not %q", by, set, value)
	case by != "" && by != settingsPath:
		return nil, nil
	}
	changed, err := settings.Write(s.root(), settingsPath, settings.Text("serial", choiceText(value)))
	if err != nil {
		return nil, err
	}
	if changed {
		done = append(done, fmt.Sprintf("wrote when_unreachable = %q to %s", value, s.entry(settingsPath)))
	}
	if isOld {
		more, err := s.restore()
		return append(done, more...), err
	}
	return done, nil
}

// forget takes away what Enable wrote to the configuration.
func (s *System) forget() (done []string, err error) {
	removed, err := settings.Remove(s.root(), settingsPath)
	if err != nil {
		return nil, err
	}
	if removed {
		done = append(done, "removed "+s.entry(settingsPath))
	}
	sources, err := config.Sources(s.root(), config.DefaultPath)
	if err != nil {
		return done, nil // a configuration that is broken was not written here
	}
	if isWritten(sources) {
		more, err := s.restore()
		return append(done, more...), err
	}
	return done, nil
}

// shipped is the configuration that packages install.
const shipped = `# Configuration of the EC2 Instance Connect agent: nothing has to be set.
# eic-agent.toml(5) says what can be, and /usr/share/doc/eic-agent/examples/config.toml
# has every key with its default. An unknown key or a broken value is an error: no
# pushed key is then accepted until it is corrected.
`

// isWritten reports whether config.toml is what an earlier version of Enable made of the
// file that packages install, which was where it put the choice.
func isWritten(sources []config.Source) bool {
	return slices.ContainsFunc(sources, func(source config.Source) bool {
		added, ok := strings.CutPrefix(string(source.Text), shipped)
		return ok && source.Path == config.DefaultPath &&
			(added == "\n"+choiceText(config.UnreachableLock) || added == "\n"+choiceText(config.UnreachableOpen))
	})
}

func choiceText(value string) string { return fmt.Sprintf("[serial]\nwhen_unreachable = %q\n", value) }

// restore makes config.toml what packages install, as it was before an earlier version
// wrote to it.
func (s *System) restore() (done []string, err error) {
	path := s.path(config.DefaultPath)
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	uid, gid := os.Geteuid(), os.Getegid()
	// The agent may read it for its group alone.
	if system, ok := st.Sys().(*syscall.Stat_t); ok {
		uid, gid = int(system.Uid), int(system.Gid)
	}
	return []string{"restored " + path}, replace(path, []byte(shipped), st.Mode().Perm(), uid, gid)
}

// replace puts a file in place, whole or not at all.
func replace(path string, text []byte, mode fs.FileMode, uid, gid int) error {
	return atomicfile.Write(path, ".eicctl-*", text, func(f *os.File) error {
		return errors.Join(f.Chown(uid, gid), f.Chmod(mode))
	})
}
