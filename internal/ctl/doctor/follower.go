package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/ctl/nss"
	"github.com/eic-agent/eic-agent/internal/ctl/sessionlog"
	"github.com/eic-agent/eic-agent/internal/ctl/sessions"
	"github.com/eic-agent/eic-agent/internal/hostcmd"
	"github.com/eic-agent/eic-agent/internal/systemctl"
)

// followerLag is how long ago a record may be that the follower has not read. It saves its
// place a second after each record.
const followerLag = 5 * time.Minute

const followerID = "sessions"

// A follower is eic-sessions.service on a host.
type follower struct {
	unit    map[string]string // properties of the unit
	account bool              // its account exists
	uid     uint32            // of the account
	dir     string            // of its state
	journal string            // directory of journal files, or "" for the host's journal
	said    string            // its last message
}

// checkFollower tells whether eic-sessions.service records sessions, where it is enabled.
func checkFollower(e *exam, f *findings) {
	if !systemdRuns() {
		return
	}
	out, err := run(e.ctx, "systemctl", "show", "--property=UnitFileState,ActiveState,SubState", sessionlog.Unit)
	if err != nil {
		f.unknown(followerID, "cannot determine whether %s runs: systemctl show: %s", sessionlog.Unit, hostcmd.FirstLine(err))
		return
	}
	s := follower{unit: systemctl.Properties(out), dir: sessionlog.Dir}
	if !s.wanted() {
		s.check(e.ctx, e.now, f)
		return
	}
	switch a, err := lookUp(e.ctx, sessionlog.Account); {
	case err == nil:
		s.account, s.uid = true, a.uid
	case !errors.Is(err, nss.ErrNone):
		f.unknown(followerID, "cannot look up the account %s: %v", sessionlog.Account, err)
		return
	}
	if said, err := run(e.ctx, "journalctl", "--no-pager", "--quiet", "--output=cat", "--lines=1", "_SYSTEMD_UNIT="+sessionlog.Unit, "SYSLOG_IDENTIFIER=eicctl"); err == nil {
		s.said = strings.TrimSpace(said)
	}
	s.check(e.ctx, e.now, f)
}

// wanted reports whether the service is enabled or runs.
func (s follower) wanted() bool {
	return strings.HasPrefix(s.unit["UnitFileState"], "enabled") || s.unit["ActiveState"] == "active"
}

func (s follower) check(ctx context.Context, now time.Time, f *findings) {
	active := s.unit["ActiveState"] == "active"
	restart := "systemctl restart " + sessionlog.Unit
	if !s.wanted() {
		f.ok(followerID, "skipped: %s is not enabled (eicctl audit enable)", sessionlog.Unit)
		return
	}
	if !s.account {
		f.problem(sessionsAccount, shell("systemd-sysusers eic-agent.conf && %s", restart), "the account %s of %s does not exist", sessionlog.Account, sessionlog.Unit)
		return
	}
	state, err := sessionlog.Load(s.dir)
	if why := s.locked(); why != "" {
		f.problem(sessionsState, shell("chown -R %[1]s: %[2]s && chmod -R u+rwX %[2]s && %[3]s", sessionlog.Account, s.dir, restart), "%s", why)
		return
	}
	switch path := filepath.Join(s.dir, sessionlog.StateFile); {
	case errors.Is(err, os.ErrPermission):
		f.unknown(followerID, "cannot check the state of %s: %v", sessionlog.Unit, err)
		return
	case err != nil && !errors.Is(err, sessionlog.ErrNoState):
		f.problem(sessionsState, shell("mv %[1]s %[1]s.damaged && %[2]s   # sessions are recorded from now on", path, restart), "%s cannot use its state: %v", sessionlog.Unit, err)
		return
	case !active:
		fix := shell("%s", restart)
		is := s.unit["ActiveState"]
		if is == "activating" { // it ends each time
			is, fix = "restarting", advice("see journalctl -u %s for why it stops", sessionlog.Unit)
		}
		if s.said != "" {
			is += ": " + s.said
		}
		f.problem(sessionsNotRunning, fix, "%s is enabled but %s", sessionlog.Unit, is)
		return
	case err != nil:
		f.unknown(followerID, "%s runs; it has not saved its state yet", sessionlog.Unit)
		return
	}
	at, err := unread(ctx, s.journal, state, now.Add(-followerLag))
	switch {
	case err != nil:
		f.unknown(followerID, "%s runs; cannot check whether it has read the journal: %s", sessionlog.Unit, hostcmd.FirstLine(err))
	case !at.IsZero():
		f.problem(sessionsBehind, shell("%s", restart), "%s runs, but has not read the journal from %s on", sessionlog.Unit, at.Format(time.RFC3339))
	default:
		f.ok(followerID, "%s records sessions in the journal", sessionlog.Unit)
	}
}

// locked says what keeps the follower's account from its state, or returns "".
func (s follower) locked() string {
	for path, want := range map[string]os.FileMode{s.dir: 0o700, filepath.Join(s.dir, sessionlog.StateFile): 0o400} {
		st, err := os.Stat(path)
		if err != nil {
			continue
		}
		// Others may read the file, and nobody else may write the directory.
		owner := st.Sys().(*syscall.Stat_t).Uid == s.uid
		if !(owner && st.Mode()&want == want) && !(want == 0o400 && !owner && st.Mode()&0o004 != 0) {
			return fmt.Sprintf("%s cannot use its state: %s is not accessible to %s", sessionlog.Unit, path, sessionlog.Account)
		}
	}
	return ""
}

var errFound = errors.New("found")

// unread returns the time of the first record behind the state's place, if journald took it
// before a time.
func unread(ctx context.Context, directory string, state *sessionlog.State, before time.Time) (at time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, programPatience)
	defer cancel()
	q := journal.Query{Directory: directory, After: state.Cursor, Since: state.Since, Until: before, Matches: sessions.Matches()}
	_, err = journal.Read(ctx, q, func(r *journal.Record) error {
		if r.Time().Before(before) {
			at = r.Time()
		}
		return errFound
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return at, err
}
