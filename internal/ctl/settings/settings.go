// Package settings keeps what eicctl sets in the agent's configuration in files of its
// own, which the agent reads before all others: config.toml, which belongs to the package
// and to the administrator, stays as it is.
//
// A command that keeps a record of the files that it changes takes Path and Text, and
// makes directories and file with mode 0755 and 0644; the others call Write and Remove.
package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/eic-agent/eic-agent/internal/atomicfile"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/sysroot"
)

// The files of the commands. Their names sort before 01-x.toml, so that other files of the
// configuration override them.
const (
	SSHD   = "00-eicctl-sshd.toml"
	Serial = "00-eicctl-serial.toml"
)

// Path returns the path of one of these files beside the configuration at configPath.
func Path(configPath, name string) string { return filepath.Join(config.Dir(configPath), name) }

// Text returns the contents of the settings file of a command, such as "sshd", with the
// given lines.
func Text(command, lines string) []byte {
	return fmt.Appendf(nil, "# Written by \"eicctl %s enable\"; \"eicctl %[1]s disable\" removes this file. What other\n# files set overrides it: see eic-agent.toml(5).\n%s", command, lines)
}

// Write puts the file at path of the system below root in place, with the directories that
// it needs. It reports whether that changed anything.
func Write(root, path string, text []byte) (changed bool, err error) {
	entry := sysroot.Entry(root, path)
	if old, err := os.ReadFile(entry); err == nil && bytes.Equal(old, text) {
		return false, nil
	}
	if err := atomicfile.MkdirAll(filepath.Dir(entry), 0o755); err != nil {
		return false, err
	}
	return true, atomicfile.Write(entry, ".eicctl-*", text, func(f *os.File) error { return f.Chmod(0o644) })
}

// Remove takes the file away, and its directories that are empty then. It reports whether
// there was one.
func Remove(root, path string) (removed bool, err error) {
	entry := sysroot.Entry(root, path)
	if err := os.Remove(entry); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return false, err
	}
	// Neither succeeds where anything else is in it.
	dir := filepath.Dir(entry)
	if os.Remove(dir) == nil {
		os.Remove(filepath.Dir(dir))
	}
	return true, nil
}
