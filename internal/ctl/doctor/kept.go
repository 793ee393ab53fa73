package doctor

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/ctl/logs"
	"github.com/eic-agent/eic-agent/internal/ctl/output"
	"github.com/eic-agent/eic-agent/internal/hostcmd"
	"github.com/eic-agent/eic-agent/internal/sshd"
)

// probeProgram is the name under which a probe writes its record.
const probeProgram = "eicctl"

// keptPatience is how long a record may take into the journal.
const keptPatience = 4 * time.Second

// findGaps returns what the configuration of journald and sshd keeps out of the journal.
func (e *exam) findGaps() []logs.Gap {
	gaps := logs.Journald("/")
	if s := e.server(); s.Server != nil && s.effectiveErr == nil {
		gaps = append(gaps, logs.SSHD(e.ctx, s.Server, sshd.Connection{User: s.user, Addr: e.From})...)
	}
	return gaps
}

// checkGaps tells what keeps records of logins out of the journal, so that eicctl audit
// and explain cannot tell what became of a key.
func checkGaps(e *exam, f *findings) {
	for _, gap := range e.gaps() {
		solution := advice("%s", gap.Fix)
		if gap.Command {
			solution = shell("%s", gap.Fix)
		}
		switch {
		case gap.ID == logs.SSHDUnknown: // checkAsked reports why
		case gap.Match != nil && e.User != "" && !byPlace(gap.Match):
			// Another user's.
		case gap.Match != nil:
			f.unknown("sshd-log", "eicctl audit misses some logins: %s", gap.What)
		default:
			f.problem(entryOf(gap.ID), solution, "%s", gap.What)
		}
	}
}

// byPlace reports whether the criteria of a Match block are about where a client comes
// from.
func byPlace(match []string) bool {
	criteria := strings.ToLower(strings.Join(match, " "))
	return slices.ContainsFunc([]string{"address", "host", "localport", "rdomain"}, func(word string) bool { return strings.Contains(criteria, word) })
}

// checkKept looks in the journal for the record that the probe wrote as the command's
// user.
func checkKept(e *exam, f *findings, restart fix) {
	const id = "journal-kept"
	p := e.probe()
	if !p.Wrote {
		f.problem(journalNotKept, restart, "neither journald nor syslog accepted a message of user %s, so the agent's messages are lost", p.as)
		return
	}
	ctx, cancel := context.WithTimeout(e.ctx, keptPatience)
	defer cancel()
	found, uid, err := journal.FindProbe(ctx, probeProgram, p.token)
	why := slices.IndexFunc(e.gaps(), func(gap logs.Gap) bool { return gap.ID == logs.Storage || gap.ID == logs.StoreLevel })
	switch {
	case found && uid == uint64(p.UID):
		f.ok(id, "a message that user %s wrote is in the journal", p.as)
	case found:
		f.unknown(id, "the journal does not record the sender: a message of user %s (user ID %d) is stored with user ID %d", p.as, p.UID, uid)
	case why >= 0:
		f.unknown(id, "a message that user %s wrote is not in the journal: %s", p.as, e.gaps()[why].What)
	case err != nil:
		f.unknown(id, "cannot check whether a message that user %s wrote is in the journal: %v", p.as, err)
	default:
		f.problem(journalNotKept, restart, "a message of priority info that user %s wrote is not in the journal after %v, though journald responds: eicctl audit misses the agent's messages too", p.as, keptPatience)
	}
}

// journalFile is the path of a file of the journal in what journalctl says.
var journalFile = regexp.MustCompile(`/\S+\.journal~?`)

// checkHour reads what the journal has of the last hour about records that it lacks.
func checkHour(e *exam, f *findings) {
	suppressed, lost := "", 0
	q := journal.Query{Since: e.now.Add(-time.Hour), Matches: []string{
		"_COMM=systemd-journal", "MESSAGE_ID=" + journal.Dropped,
		"+", "SYSLOG_IDENTIFIER=eic-authkeys", "+", "SYSLOG_IDENTIFIER=eic-serial-getty",
	}}
	ctx, cancel := context.WithTimeout(e.ctx, programPatience)
	defer cancel()
	warnings, err := journal.Read(ctx, q, func(r *journal.Record) error {
		if r.Text("MESSAGE_ID") == journal.Dropped {
			if isSSHD.MatchString(r.Text("MESSAGE")) {
				suppressed = fmt.Sprintf("%.200s", r.Text("MESSAGE"))
			}
			return nil
		}
		n, _ := r.Number(audit.FieldLost)
		lost += int(min(n, 1<<20))
		return nil
	})
	if err != nil {
		f.unknown("journal-rate", "cannot check for suppressed messages: %s", hostcmd.FirstLine(err))
		return
	}
	for _, warning := range warnings {
		if path := journalFile.FindString(warning); path != "" {
			f.problem(journalDamaged, shell("mv %s %s.damaged   # journalctl --verify --file shows the damage", path, path), "entries are missing: %s", warning)
		} else {
			f.unknown("journal-damaged", "some entries may be unreadable: %s", warning)
		}
	}
	if suppressed != "" {
		f.problem(journalSuppressed, advice("raise RateLimitBurst= in /etc/systemd/journald.conf (or LogRateLimitBurst= of the unit, if it is set there), or find the source of the messages; then %s", e.systemdFix("systemd-journald", "restart journald").text),
			"journald suppressed messages of sshd's unit, which include the agent's, in the last hour: %s", suppressed)
	} else {
		f.ok("journal-rate", "journald suppressed no messages of sshd's unit in the last hour")
	}
	if lost > 0 {
		f.unknown("journal-lost", "%s of the agent lost in the last hour: neither journald nor syslog accepted them", output.Count(lost, "message"))
	}
}

// isSSHD matches a journald message about sshd's unit.
var isSSHD = regexp.MustCompile(`from sshd?(@[^ ]*)?\.service`)

// token is one that no other record has.
func token(now time.Time) string { return fmt.Sprintf("%d-%d", os.Getpid(), now.UnixNano()) }
