package doctor

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/ctl/sessionlog"
	"github.com/eic-agent/eic-agent/test/journalfile"
)

// TestFollower has each fault of eic-sessions.service named, and none where it works or is
// off. The releases' tests have the service itself.
func TestFollower(t *testing.T) {
	t.Parallel()
	journalfile.Need(t)
	files := t.TempDir()
	at := func(i int) journalfile.Entry {
		e := journalfile.Entry{"SYSLOG_IDENTIFIER": "sshd", "MESSAGE": fmt.Sprint(i)}
		if i == 2 {
			e["SYSLOG_IDENTIFIER"] = "cron" // of no interest to it
		}
		return e
	}
	journalfile.Write(t, filepath.Join(files, "a.journal"), at(0), at(1), at(2))
	var cursors []string
	if _, err := journal.Read(t.Context(), journal.Query{Directory: files}, func(r *journal.Record) error {
		cursors = append(cursors, r.Cursor())
		return nil
	}); err != nil || len(cursors) != 3 {
		t.Fatalf("%q, %v", cursors, err)
	}
	begin := time.Unix(1700000000, 0)
	state := func(cursor string) string {
		text, err := json.Marshal(sessionlog.State{Schema: 1, Cursor: cursor, Since: begin})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	on := map[string]string{"UnitFileState": "enabled", "ActiveState": "active", "SubState": "running"}
	stopped := map[string]string{"UnitFileState": "enabled", "ActiveState": "inactive", "SubState": "dead"}
	ending := map[string]string{"UnitFileState": "enabled", "ActiveState": "activating", "SubState": "auto-restart"}
	off := map[string]string{"UnitFileState": "disabled", "ActiveState": "inactive"}
	for name, c := range map[string]struct {
		unit    map[string]string
		state   string
		after   time.Duration // since the first record
		spoil   func(*follower)
		want    string // status and ID
		says    string
		command bool
	}{
		"all is read":                {unit: on, state: state(cursors[1]), after: time.Hour, want: "ok sessions", says: "records sessions"},
		"all of interest, before":    {unit: on, state: state(cursors[2]), after: time.Hour, want: "ok sessions"},
		"a record is not read":       {unit: on, state: state(cursors[0]), after: time.Hour, want: "problem sessions-behind", says: "from 2023-11-14T22:13:21Z on", command: true},
		"nothing is read":            {unit: on, state: state(""), after: time.Hour, want: "problem sessions-behind", says: "from 2023-11-14T22:13:20Z on", command: true},
		"it may be about to read it": {unit: on, state: state(cursors[0]), after: followerLag, want: "ok sessions"},
		"off":                        {unit: off, state: "{", after: time.Hour, want: "ok sessions", says: "not enabled"},
		"not installed":              {unit: map[string]string{"UnitFileState": "", "ActiveState": "inactive"}, want: "ok sessions", says: "not enabled"},
		"stopped":                    {unit: stopped, state: state(cursors[0]), after: time.Hour, want: "problem sessions-not-running", says: "enabled but inactive", command: true},
		"stopped before it had run":  {unit: stopped, want: "problem sessions-not-running", command: true},
		"it ends each time":          {unit: ending, state: state(cursors[1]), spoil: func(s *follower) { s.said = "eicctl: error: why" }, want: "problem sessions-not-running", says: "restarting: eicctl: error: why"},
		"it has just started":        {unit: on, want: Unknown + " sessions"},
		"the state is cut off":       {unit: ending, state: `{"schema":1,"cur`, want: "problem sessions-state", says: "unexpected end", command: true},
		"the state is of a later one": {unit: on, state: `{"schema":2}`, want: "problem sessions-state",
			says: "schema 2, not 1", command: true},
		"the account is gone": {unit: ending, state: state(cursors[0]), spoil: func(s *follower) { s.account = false }, want: "problem sessions-account", command: true},
		"the state is another account's, for it alone": {unit: ending, state: state(cursors[0]), spoil: func(s *follower) {
			s.uid++
			os.Chmod(filepath.Join(s.dir, sessionlog.StateFile), 0o600)
		}, want: "problem sessions-state", says: "not accessible to eic-sessions", command: true},
		"the directory is another account's": {unit: on, state: state(cursors[1]), spoil: func(s *follower) { s.uid++ }, want: "problem sessions-state", command: true},
		"the directory is read-only":         {unit: on, state: state(cursors[1]), spoil: func(s *follower) { os.Chmod(s.dir, 0o500) }, want: "problem sessions-state", command: true},
		"there is no journal":                {unit: on, state: state(cursors[1]), spoil: func(s *follower) { s.journal = s.dir + "/none" }, want: Unknown + " sessions", says: "cannot read the directory"},
	} {
		t.Run(name, func(t *testing.T) {
			s := follower{unit: c.unit, account: true, uid: uint32(os.Getuid()), dir: t.TempDir(), journal: files}
			path := filepath.Join(s.dir, sessionlog.StateFile)
			if c.state != "" {
				if err := os.WriteFile(path, []byte(c.state), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			t.Cleanup(func() { os.Chmod(s.dir, 0o700) })
			if c.spoil != nil {
				c.spoil(&s)
			}
			var f findings
			s.check(t.Context(), begin.Add(c.after), &f)
			if len(f.all) != 1 || f.all[0].Status+" "+f.all[0].ID != c.want || !strings.Contains(f.all[0].Text, c.says) || f.all[0].Command != c.command {
				t.Fatalf("%+v, want %s with %q", f.all, c.want, c.says)
			}
			if f.all[0].ID != sessionsState.ID || !s.account || s.uid != uint32(os.Getuid()) || c.spoil != nil {
				return
			}
			// The fix, but for systemctl.
			fix := strings.ReplaceAll(f.all[0].Fix, "systemctl", "echo")
			if out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", fix).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", fix, err, out)
			}
			f, s.unit = findings{}, on
			if s.check(t.Context(), begin.Add(c.after), &f); f.all[0].Status == Problem {
				t.Errorf("after %s: %+v", fix, f.all)
			}
		})
	}
}
