package sshd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// markPrefix begins the commands that stand for lines in a marked configuration.
const markPrefix = "/eicctl/mark/"

// Place returns the setting of a keyword that sshd uses for a connection, in a file or
// on its command line; of one that can be given more often, the first. It is sshd that
// says so: it is asked with a copy of its configuration in which each line with the
// keyword is an AuthorizedKeysCommand of its own, since sshd goes by the same rules for
// every keyword, and which of these it uses tells the line. The zero Setting means that
// nothing sets the keyword. The error is that of Ask.
func (s *Server) Place(ctx context.Context, config *Config, keyword string, conn Connection) (Setting, error) {
	keyword = strings.ToLower(keyword)
	all := commandLine(s.Options, keyword)
	all = append(all, config.All(keyword)...)
	if len(all) == 0 {
		return Setting{}, nil
	}
	n, err := s.firstOf(ctx, config, all, keyword, conn)
	if err != nil || n < 0 {
		return Setting{}, err
	}
	return all[n], nil
}

func commandLine(options []Setting, keyword string) []Setting {
	return slices.DeleteFunc(slices.Clone(options), func(o Setting) bool { return o.Keyword != keyword })
}

// firstOf returns the index of the one of these lines that sshd goes by for a
// connection, or -1 where it goes by none of them. They are settings of config and of
// the command line, or Match lines, which then stand for what is in their block.
func (s *Server) firstOf(ctx context.Context, config *Config, lines []Setting, keyword string, conn Connection) (int, error) {
	dir, err := s.tempDir()
	if err != nil {
		return -1, unknown("its configuration could not be copied to ask with: %v", err)
	}
	defer os.RemoveAll(dir)
	file, err := config.writeMarked(s.Root, dir, lines, keyword)
	if err != nil {
		return -1, unknown("its configuration could not be copied to ask with: %v", err)
	}
	var options []Setting
	for _, o := range s.Options {
		if o.Keyword != KeywordCommand && o.Keyword != KeywordCommandUser && o.Keyword != keyword {
			options = append(options, o)
		}
	}
	options = append(options, Setting{Keyword: KeywordCommandUser, Value: "root"})
	for i, line := range lines {
		if line.File == "" || line.Option != "" {
			options = append(options, Setting{Keyword: KeywordCommand, Value: markPrefix + strconv.Itoa(i)})
		}
	}
	values, _, err := s.ask(ctx, file, options, conn)
	if err != nil {
		return -1, err
	}
	mark, ok := strings.CutPrefix(values.Get(KeywordCommand), markPrefix)
	if !ok {
		return -1, nil
	}
	n, err := strconv.Atoi(mark)
	if err != nil || n < 0 || n >= len(lines) {
		return -1, unknown("sshd answered with the command %.64q", values.Get(KeywordCommand))
	}
	return n, nil
}

// writeMarked writes a copy of the files into dir and returns its first, as seen from
// root. In it every line of lines is an AuthorizedKeysCommand with its number, and no
// other line with the keyword or with a command is left.
func (c *Config) writeMarked(root, dir string, lines []Setting, keyword string) (string, error) {
	name := func(visit int) string { return filepath.Join(dir, strconv.Itoa(visit)+".conf") }
	for n, v := range c.visits {
		marks := make(map[int]int)
		for i, line := range lines {
			if line.Option == "" && line.visit == n && line.File == v.file {
				marks[line.Line] = i
			}
		}
		var text []byte
		number := 0
		for line := range bytes.Lines(v.text) {
			number++
			mark, marked := marks[number]
			k, _ := SplitLine(string(line))
			switch {
			case marked && k == "match":
				text = fmt.Appendf(append(text, line...), "\n%s %s%d\n", KeywordCommand, markPrefix, mark)
			case marked:
				text = fmt.Appendf(text, "%s %s%d\n", KeywordCommand, markPrefix, mark)
			case k == "include":
				// A line each: sshd has a limit of words in one.
				for _, i := range v.included[number] {
					text = fmt.Appendf(text, "Include %s\n", inside(root, name(i)))
				}
			case k == KeywordCommand, k == KeywordCommandUser, k == keyword:
			default:
				text = append(text, line...)
			}
		}
		if err := os.WriteFile(name(n), text, 0o600); err != nil {
			return "", err
		}
	}
	return inside(root, name(0)), nil
}

// OutsideMatch reports whether no Match block holds for a connection. Where one does
// the block is the first of them.
func (s *Server) OutsideMatch(ctx context.Context, config *Config, conn Connection) (outside bool, block Setting, err error) {
	if !config.hasMatch() {
		return true, Setting{}, nil
	}
	n, err := s.firstOf(ctx, config, config.Blocks, KeywordCommand, conn)
	if err != nil || n < 0 {
		return err == nil, Setting{}, err
	}
	return false, config.Blocks[n], nil
}
