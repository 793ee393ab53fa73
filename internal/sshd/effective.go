package sshd

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// An Effective is the AuthorizedKeysCommand that sshd uses.
type Effective struct {
	Command string `json:"command"` // "" for none
	User    string `json:"user"`    // AuthorizedKeysCommandUser, "" for none
	// CommandFrom and UserFrom are where they are set; zero where nothing sets
	// them, and where the place could not be told.
	CommandFrom Setting `json:"command_from"`
	UserFrom    Setting `json:"user_from"`
	Owner       Owner   `json:"owner"`
	// How says who was asked: "sshd -T", "sshd -G", or "files" for the
	// package's own reading of the files.
	How string `json:"how"`
}

// Effective returns what sshd uses for a connection, the options of its command
// line included, or outside all Match blocks for the zero Connection. Where sshd
// cannot be asked the files are read; where they do not tell either, for a Match
// block with criteria that cannot be judged, the error says so.
//
// It is about the files as they are now: an sshd that was not reloaded since they
// were changed uses what they said before.
func (s *Server) Effective(ctx context.Context, conn Connection) (Effective, error) {
	config, err := s.Config()
	if err != nil {
		return Effective{}, err
	}
	values, err := s.Ask(ctx, conn)
	if errors.Is(err, ErrCannotRun) {
		return s.fromFiles(config, conn, err)
	}
	if err != nil {
		return Effective{}, fmt.Errorf("sshd refuses its configuration: %v", err)
	}
	e := Effective{Command: unlessNone(values[KeywordCommand]), User: unlessNone(values[KeywordCommandUser]), How: "sshd -T"}
	if s.Version.AtLeast(9, 3) {
		e.How = "sshd -G"
	}
	e.CommandFrom = s.place(config, KeywordCommand, e.Command, conn)
	e.UserFrom = s.place(config, KeywordCommandUser, e.User, conn)
	e.Owner = s.OwnerOf(e.Command)
	return e, nil
}

func unlessNone(value string) string {
	if strings.EqualFold(value, "none") {
		return ""
	}
	return value
}

func (s *Server) fromFiles(config *Config, conn Connection, why error) (Effective, error) {
	command, known := s.lookUp(config, KeywordCommand, conn)
	user, userKnown := s.lookUp(config, KeywordCommandUser, conn)
	if !known || !userKnown {
		return Effective{}, fmt.Errorf("%w, and a Match block has criteria that only sshd can judge", why)
	}
	e := Effective{Command: unlessNone(command.Value), User: unlessNone(user.Value), CommandFrom: command, UserFrom: user, How: "files"}
	e.Owner = s.OwnerOf(e.Command)
	return e, nil
}

// lookUp returns the setting of a keyword by the files and the command line. A
// Match block wins also over the command line.
func (s *Server) lookUp(config *Config, keyword string, conn Connection) (Setting, bool) {
	set, known := config.For(s.Root, keyword, conn)
	if len(set.Match) == 0 {
		for _, o := range s.Options {
			if o.Keyword == keyword {
				return o, known
			}
		}
	}
	return set, known
}

// place returns where the value is set that sshd says it uses.
func (s *Server) place(config *Config, keyword, value string, conn Connection) Setting {
	set, _ := s.lookUp(config, keyword, conn)
	if unlessNone(set.Value) == value {
		return set
	}
	// Our own reading of a Match block was not sshd's: take the first place that
	// has the value.
	for _, set := range append(s.Options, config.All(keyword)...) {
		if unlessNone(set.Value) == value {
			return set
		}
	}
	return Setting{}
}

// Overrides returns the settings of AuthorizedKeysCommand and its user in Match
// blocks, which win over all others for the connections that they are for.
func (c *Config) Overrides() []Setting {
	var list []Setting
	for _, s := range c.Settings {
		if len(s.Match) > 0 && (s.Keyword == KeywordCommand || s.Keyword == KeywordCommandUser) {
			list = append(list, s)
		}
	}
	return list
}
