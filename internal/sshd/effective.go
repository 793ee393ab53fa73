package sshd

import (
	"context"
	"strings"
)

// An Effective is the configuration that sshd uses for one connection.
type Effective struct {
	Command string `json:"command"` // AuthorizedKeysCommand, "" for none
	User    string `json:"user"`    // AuthorizedKeysCommandUser, "" for none
	// CommandFrom and UserFrom are where they are set; zero where nothing sets
	// them, and where the place is unknown.
	CommandFrom Setting `json:"command_from"`
	UserFrom    Setting `json:"user_from"`
	Owner       Owner   `json:"owner"`
	// How says which question sshd answered: "sshd -T", or "sshd -G".
	How string `json:"how"`
	// Connection is what sshd was asked about.
	Connection Connection `json:"-"`
	// Values is everything else that sshd uses for it: its limits.
	Values Values `json:"-"`
}

// Effective returns what sshd uses for a connection, the options of its command line
// included, and which lines set its command. The error is a *BrokenError where sshd
// refuses its configuration, and an *UnknownError where sshd does not say. For what else
// of Values Place tells which line sets it.
//
// It is about the files as they are now: an sshd that was not reloaded since they
// were changed uses what they said before.
func (s *Server) Effective(ctx context.Context, conn Connection) (Effective, error) {
	values, conn, how, err := s.AskNamed(ctx, conn)
	if err != nil {
		return Effective{}, err
	}
	e := Effective{
		Command: unlessNone(values.Get(KeywordCommand)), User: unlessNone(values.Get(KeywordCommandUser)),
		How: how, Connection: conn, Values: values,
	}
	e.Owner = s.OwnerOf(e.Command)
	if config, err := s.Config(); err == nil {
		e.CommandFrom = s.placeOf(ctx, config, KeywordCommand, e.Command, conn)
		e.UserFrom = s.placeOf(ctx, config, KeywordCommandUser, e.User, conn)
	}
	return e, nil
}

// placeOf returns where a value is set, or the zero Setting where that is not known:
// where the line that sshd says it goes by has another value, it was not understood.
func (s *Server) placeOf(ctx context.Context, config *Config, keyword, value string, conn Connection) Setting {
	set, err := s.Place(ctx, config, keyword, conn)
	if err != nil || !sameWords(unlessNone(set.Value), value) {
		return Setting{}
	}
	return set
}

// sameWords reports whether two values have the same words: sshd prints a value
// without what stands around it in the file.
func sameWords(a, b string) bool {
	plain := strings.NewReplacer(`"`, "", `\`, "", "'", "")
	fields := func(value string) string {
		value, _, _ = strings.Cut(value, " #")
		return strings.Join(strings.Fields(plain.Replace(value)), " ")
	}
	return fields(a) == fields(b)
}

func unlessNone(value string) string {
	if strings.EqualFold(value, "none") {
		return ""
	}
	return value
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
