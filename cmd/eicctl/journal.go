package main

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/ctl/sessions"
)

// defaultAgentUser is the account of systemd/eic-agent.sysusers.conf.
const defaultAgentUser = "eic-agent"

// journalOptions are the flags of the commands that read the journal.
type journalOptions struct {
	directory, agentUser, since, until string
}

func (o *journalOptions) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.since, "since", "24h", "start `time`: 2006-01-02, \"2006-01-02 15:04\", RFC 3339, today, or how long ago, such as 7d")
	flags.StringVar(&o.until, "until", "now", "end `time`")
	flags.StringVar(&o.directory, "directory", "", "read the journal files in this `directory`, also of several hosts")
	flags.StringVar(&o.agentUser, "agent-user", "", "the `account` or uid that sshd runs eic-authkeys as (default: "+defaultAgentUser+";\nwith --directory: every uid up to 999)")
	_ = cmd.MarkFlagDirname("directory")
	for _, name := range []string{"since", "until", "agent-user"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}

// filter reads the times.
func (o *journalOptions) filter(now time.Time) (f sessions.Filter, err error) {
	if f.Since, err = journal.ParseMoment(o.since, now); err != nil {
		return f, fmt.Errorf("--since: %v", err)
	}
	if f.Since.After(now) {
		return f, fmt.Errorf("--since is in the future: %s", f.Since.Format(time.RFC3339))
	}
	if o.until != "now" {
		if f.Until, err = journal.ParseMoment(o.until, now); err != nil {
			return f, fmt.Errorf("--until: %v", err)
		}
		if !f.Until.After(f.Since) {
			return f, errors.New("--until is not after --since")
		}
	}
	return f, nil
}

// source finds out whose records are to be believed.
func (o *journalOptions) source() (sessions.Source, error) {
	s := sessions.Source{Directory: o.directory}
	if uid, err := strconv.ParseUint(o.agentUser, 10, 32); err == nil {
		s.Trust.UIDs = []uint64{uid}
		return s, nil
	}
	name := o.agentUser
	switch {
	case o.directory != "" && name == "":
		return s, nil
	case o.directory != "":
		return s, errors.New("with --directory, --agent-user is a uid: the accounts are those of other hosts")
	case name == "":
		name = defaultAgentUser
	}
	account, err := user.Lookup(name)
	if err != nil {
		return s, outcome{
			code: exitUnknown,
			err:  fmt.Errorf("this host has no account %.64q, so whose records are the agent's is not known", name),
			hint: "--agent-user names the AuthorizedKeysCommandUser of sshd's configuration",
		}
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return s, outcome{code: exitUnknown, err: err}
	}
	s.Trust.UIDs = []uint64{uid}
	return s, nil
}

// journalOutcome is what an error of reading the journal stands for.
func journalOutcome(err error) error {
	if e := (*journal.Error)(nil); errors.As(err, &e) {
		return outcome{code: exitUnknown, err: e, hint: e.Hint}
	}
	return err
}
