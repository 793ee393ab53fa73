package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/eic-agent/eic-agent/internal/rootfile"
	"github.com/eic-agent/eic-agent/internal/sysroot"
)

// Dir returns the directory whose files are read before the configuration at path:
// /etc/eic-agent/config.d for /etc/eic-agent/config.toml.
func Dir(path string) string { return strings.TrimSuffix(path, suffix) + ".d" }

// suffix is how the name of a file in Dir ends.
const suffix = ".toml"

// A Source is one file of the configuration.
type Source struct {
	Path string // as seen from the root of the system
	Text []byte
}

// Load reads the configuration at path: first the files in Dir(path) whose names end in
// .toml and do not begin with a dot, in the order of their names, then path itself. Of
// two files that set a key the later counts, so that path has the last word.
//
// Only root may be able to change any of them. A directory that does not exist has no
// files; a file that does not exist is the default configuration at DefaultPath and an
// error elsewhere. The error is a *reason.Error that names the file and, where it can,
// line and key.
func Load(path string) (*Config, error) { return LoadIn("", path) }

// LoadIn is Load for the system whose root directory is root.
func LoadIn(root, path string) (*Config, error) { return load(root, path, path == DefaultPath) }

func load(root, path string, mayMiss bool) (*Config, error) {
	sources, err := owned.files(root, path, mayMiss)
	if err != nil {
		return nil, fault("cannot use the configuration: %v", err)
	}
	return merge(root, sources)
}

// LoadDraft reads a configuration that decides about nobody yet: Load, but the files may
// belong to anybody.
func LoadDraft(path string) (*Config, error) {
	sources, err := drafts.files("", path, false)
	if err != nil {
		return nil, fault("cannot use the configuration: %v", err)
	}
	return merge("", sources)
}

func merge(root string, sources []Source) (*Config, error) {
	c := Default()
	for _, s := range sources {
		if err := c.merge(s.Text); err != nil {
			return nil, fault("cannot use the configuration: %s: %v", at(root, s.Path), err)
		}
	}
	return c, nil
}

// Sources returns the files that LoadIn reads, in its order, unparsed.
func Sources(root, path string) ([]Source, error) {
	return owned.files(root, path, path == DefaultPath)
}

// An access reads files and lists directories.
type access struct {
	read func(path string, limit int) ([]byte, error)
	list func(path string) ([]string, error)
}

var (
	owned  = access{rootfile.Read, rootfile.ReadDir} // what only root may change
	drafts = access{readDraft, listDraft}
)

func readDraft(path string, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(text) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return text, err
}

func listDraft(path string) ([]string, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}

// SetBy returns the path of the file whose value of a key counts, such as of
// "serial.when_unreachable"; "" where none sets it.
func SetBy(sources []Source, key string) string {
	for _, s := range slices.Backward(sources) {
		var value any
		if toml.Unmarshal(s.Text, &value) != nil {
			continue
		}
		for name := range strings.SplitSeq(key, ".") {
			table, _ := value.(map[string]any)
			value = table[name]
		}
		if value != nil {
			return s.Path
		}
	}
	return ""
}

func (a access) files(root, path string, mayMiss bool) ([]Source, error) {
	names, err := a.names(root, Dir(path))
	if err != nil {
		return nil, err
	}
	var sources []Source
	add := func(path string, mayMiss bool) error {
		text, err := a.read(at(root, path), maxFile)
		if mayMiss && errors.Is(err, fs.ErrNotExist) && isAbsent(root, path) {
			return nil
		}
		if err != nil {
			return err
		}
		sources = append(sources, Source{path, text})
		return nil
	}
	for _, name := range names {
		// One that is gone by now has been removed since it was listed.
		if err := add(filepath.Join(Dir(path), name), true); err != nil {
			return nil, err
		}
	}
	if err := add(path, mayMiss); err != nil {
		return nil, err
	}
	return sources, nil
}

// list returns the names of the configuration files in a directory, in order.
func (a access) names(root, dir string) ([]string, error) {
	if isAbsent(root, dir) {
		return nil, nil
	}
	names, err := a.list(at(root, dir))
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return strings.HasPrefix(name, ".") || !strings.HasSuffix(name, suffix)
	})
	slices.Sort(names)
	return names, nil
}

// isAbsent reports whether there is no directory entry at path, in a directory that is
// there or is absent itself. A symbolic link that leads nowhere is an entry, at path as
// above it.
func isAbsent(root, path string) bool {
	if _, err := os.Lstat(entry(root, path)); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	dir := filepath.Dir(path)
	if _, err := os.Stat(at(root, dir)); err == nil || dir == path {
		return true
	}
	return isAbsent(root, dir)
}

// entry returns where the directory entry of the system below root is.
func entry(root, path string) string {
	if root == "" {
		return path
	}
	return sysroot.Entry(root, path)
}

// at returns where a file of the system below root is.
func at(root, path string) string {
	if root == "" {
		return path // which rootfile follows by itself
	}
	return sysroot.Path(root, path)
}
