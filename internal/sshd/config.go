package sshd

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/pattern"
	"github.com/eic-agent/eic-agent/internal/smallfile"
	"github.com/eic-agent/eic-agent/internal/sysroot"
)

const (
	// maxConfig bounds one file of the configuration.
	maxConfig = 1 << 20
	// maxDepth is sshd's own bound on Includes in Includes.
	maxDepth = 16
)

// The keywords that matter here, in lower case as a Setting has them.
const (
	KeywordCommand     = "authorizedkeyscommand"
	KeywordCommandUser = "authorizedkeyscommanduser"
)

// A Setting is one value of one keyword, and where it stands.
type Setting struct {
	Keyword string   `json:"keyword"`         // in lower case
	Value   string   `json:"value"`           // the rest of the line
	File    string   `json:"file,omitempty"`  // as seen from the root
	Line    int      `json:"line,omitempty"`  // from 1; 0 for the command line
	Match   []string `json:"match,omitempty"` // criteria of the Match blocks around it, outer first
	// Option says whose command line has it with -o, for one that does not stand
	// in a file: "unit ssh.service" or "process 812".
	Option string `json:"option,omitempty"`

	visit int // of Config.visits
}

// IsZero reports whether there is no such setting.
func (s Setting) IsZero() bool { return s.Keyword == "" }

// Place says where the setting stands: "/etc/ssh/sshd_config line 3".
func (s Setting) Place() string {
	switch {
	case s.IsZero():
		return "nowhere"
	case s.File == "" && s.Option == "":
		return "a place that was not found"
	case s.File == "":
		return "the command line of " + s.Option
	case s.Option != "":
		return fmt.Sprintf("%s line %d (%s)", s.File, s.Line, s.Option)
	case len(s.Match) > 0:
		return fmt.Sprintf("%s line %d, in Match %s", s.File, s.Line, strings.Join(s.Match, ", in Match "))
	}
	return fmt.Sprintf("%s line %d", s.File, s.Line)
}

// An Include is one pattern of an Include line.
type Include struct {
	Setting
	Files []string // that it led to, in the order read
}

// A Config is what sshd_config and the files that it includes say, in the order
// in which sshd reads it: outside Match blocks the first value of a keyword counts,
// and inside one the first value in a block that applies, before all outside.
type Config struct {
	Path     string // of the first file
	Files    []string
	Settings []Setting
	Includes []Include
	// Blocks are the Match lines: the criteria are the last element of Match.
	Blocks []Setting

	visits []visit // of files, in the order in which they were begun
}

// A visit is one reading of a file: a file that is included twice is read twice.
type visit struct {
	file string
	text []byte
	// included are the visits that an Include line led to, by its number.
	included map[int][]int
}

func (c *Config) hasMatch() bool { return len(c.Blocks) > 0 }

// ReadConfig reads the configuration at path, and what it includes, below root. It
// knows the lines' outer form only: whether sshd takes them is for sshd -t to say.
// A file that is included and cannot be read is an error, as it is for sshd.
func ReadConfig(root, path string) (*Config, error) {
	c := &Config{Path: path}
	return c, c.read(root, path, nil, 0)
}

func (c *Config) read(root, path string, match []string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s is included %d files deep", path, depth)
	}
	text, err := readFile(sysroot.Path(root, path), maxConfig)
	if err != nil {
		return err
	}
	c.Files = append(c.Files, path)
	n := len(c.visits)
	c.visits = append(c.visits, visit{file: path, text: text, included: make(map[int][]int)})
	outer := match
	number := 0
	for line := range bytes.Lines(text) {
		number++
		keyword, value := SplitLine(string(line))
		if keyword == "" {
			continue
		}
		s := Setting{Keyword: keyword, Value: value, File: path, Line: number, Match: match, visit: n}
		switch keyword {
		case "match":
			criteria, _, _ := strings.Cut(value, " #")
			match = append(slices.Clone(outer), strings.TrimSpace(criteria))
			s.Match = match
			c.Blocks = append(c.Blocks, s)
		case "include":
			if err := c.include(root, s, depth); err != nil {
				return err
			}
		default:
			c.Settings = append(c.Settings, s)
		}
	}
	return nil
}

func (c *Config) include(root string, s Setting, depth int) error {
	for _, value := range Words(s.Value) {
		if !filepath.IsAbs(value) {
			value = filepath.Join("/etc/ssh", value)
		}
		files, err := glob(root, value)
		if err != nil {
			return fmt.Errorf("%s line %d: %v", s.File, s.Line, err)
		}
		i := len(c.Includes)
		c.Includes = append(c.Includes, Include{Setting: s})
		c.Includes[i].Value = value
		for _, file := range files {
			c.Includes[i].Files = append(c.Includes[i].Files, file)
			c.visits[s.visit].included[s.Line] = append(c.visits[s.visit].included[s.Line], len(c.visits))
			if err := c.read(root, file, s.Match, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// glob returns the files below root that match an absolute pattern, as glob(3) does:
// no match is no error, and a file whose name begins with a period has to be named so.
func glob(root, path string) ([]string, error) {
	found := []string{"/"}
	for _, name := range strings.Split(strings.Trim(path, "/"), "/") {
		dirs := found
		found = nil
		if !strings.ContainsAny(name, `*?[\`) {
			for _, dir := range dirs {
				if _, err := os.Lstat(sysroot.Entry(root, filepath.Join(dir, name))); err == nil {
					found = append(found, filepath.Join(dir, name))
				}
			}
			continue
		}
		compiled, err := pattern.Compile(pattern.Path, name)
		if err != nil {
			return nil, err
		}
		for _, dir := range dirs {
			entries, _ := os.ReadDir(sysroot.Path(root, dir))
			for _, e := range entries {
				hidden := strings.HasPrefix(e.Name(), ".") && !strings.HasPrefix(name, ".")
				if !hidden && compiled.Match(e.Name()) {
					found = append(found, filepath.Join(dir, e.Name()))
				}
			}
		}
	}
	slices.Sort(found)
	return found, nil
}

// SplitLine returns keyword, in lower case, and value of a line of sshd_config, or
// nothing for a line that has none.
func SplitLine(line string) (keyword, value string) {
	line = strings.Trim(line, " \t\r\n\f")
	if line == "" || line[0] == '#' {
		return "", ""
	}
	end := strings.IndexAny(line, " \t=")
	if end < 0 {
		return strings.ToLower(strings.Trim(line, `"`)), ""
	}
	keyword, value = line[:end], strings.TrimLeft(line[end:], " \t")
	if rest, ok := strings.CutPrefix(value, "="); ok {
		value = strings.TrimLeft(rest, " \t")
	}
	return strings.ToLower(strings.Trim(keyword, `"`)), value
}

// Words splits a value at blanks; quotes hold a word together, and a word that
// starts with # begins a comment.
func Words(value string) []string {
	var list []string
	for value = strings.TrimLeft(value, " \t"); value != "" && value[0] != '#'; value = strings.TrimLeft(value, " \t") {
		if quote := value[:1]; quote == `"` || quote == "'" {
			word, rest, _ := strings.Cut(value[1:], quote)
			list, value = append(list, word), rest
			continue
		}
		end := strings.IndexAny(value, " \t")
		if end < 0 {
			end = len(value)
		}
		list, value = append(list, value[:end]), value[end:]
	}
	return list
}

// Global returns the setting of a keyword that counts where no Match block has
// another, or the zero Setting.
func (c *Config) Global(keyword string) Setting {
	for _, s := range c.Settings {
		if s.Keyword == keyword && len(s.Match) == 0 {
			return s
		}
	}
	return Setting{}
}

// All returns every setting of a keyword in the order read, those that are
// without effect and those in Match blocks included.
func (c *Config) All(keyword string) []Setting {
	var all []Setting
	for _, s := range c.Settings {
		if s.Keyword == keyword {
			all = append(all, s)
		}
	}
	return all
}

// inside returns a path below root as it is seen from root.
func inside(root, path string) string {
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return path
	}
	return "/" + rel
}

// readFile returns a file of at most limit bytes. It waits for nobody, as for who
// writes into a FIFO.
func readFile(path string, limit int) ([]byte, error) {
	fault := func(op string, err error) ([]byte, error) { return nil, &os.PathError{Op: op, Path: path, Err: err} }
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fault("open", err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fault("stat", err)
	}
	text, err := smallfile.Read(fd, st.Size, limit)
	if err != nil {
		return fault("read", err)
	}
	return text, nil
}
