package doctor

import (
	"context"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/ctl/sshlog"
)

// checkDrops tells of clients whose connections sshd has dropped since it last read its
// configuration, which ends every penalty. Records of the last hour count.
func checkDrops(e *exam, s server, f *findings) {
	listener, running := s.Listener()
	if os.Geteuid() != 0 || s.access == nil || !running {
		return
	}
	since := e.now.Add(-time.Hour)
	if read, err := s.LastRead(s.values); err == nil && read.At.After(since) {
		since = read.At
	}
	ctx, cancel := context.WithTimeout(e.ctx, programPatience)
	defer cancel()
	until := make(map[string]time.Time) // the end of each address's penalty
	dropped := make(map[string]int)
	startups := 0
	_, err := journal.Read(ctx, journal.Query{Since: since, Matches: []string{"SYSLOG_IDENTIFIER=sshd"}}, func(r *journal.Record) error {
		record := r.SSHD()
		// Only the listener that runs still knows of it.
		if record == nil || !record.Root() || record.Time.Before(since) || record.Origin.Process().PID != uint64(listener.PID) {
			return nil
		}
		switch text := record.Text; {
		case strings.Contains(text, " penalty of "):
			if addr, lasts, ok := penalty(text); ok {
				until[addr] = record.Time.Add(lasts)
			}
		case record.Meaning != sshlog.Dropped:
		case strings.Contains(text, " penalty: "):
			dropped[record.Address]++
			if _, known := until[record.Address]; !known {
				until[record.Address] = record.Time.Add(s.access.LongestPenalty())
			}
		case strings.HasSuffix(text, "past MaxStartups"), strings.Contains(text, "beginning MaxStartups"):
			startups++
		}
		return nil
	})
	if err != nil {
		return // which checkHour tells
	}
	for addr, n := range dropped {
		if until[addr].Before(e.now) || e.From != "" && e.From != addr {
			continue
		}
		limit := s.access.Penalty(e.ctx, addr)
		f.problem(limit.ID, limitFix(*limit), "%s; it has dropped %s, and does so until %s at the latest", limit.Text, count(n, "connection"), until[addr].UTC().Format(time.RFC3339))
	}
	if startups > 0 {
		limit := s.access.Startups(e.ctx)
		f.problem(limit.ID, limitFix(*limit), "%s; it said so %s since %s", limit.Text, count(startups, "time"), since.UTC().Format(time.RFC3339))
	}
}

// penaltyText is what sshd says of a penalty in force, at the start or behind the name of
// a function (srclimit.c of OpenSSH 9.8 to 10.6).
var penaltyText = regexp.MustCompile(`(?:^|: )(\S+?)(?:/(?:32|128))?: (?:new \S+ active|activating \S+) penalty of ([0-9.]+) seconds `)

// penalty returns whom sshd penalizes, by what it says of it, and for how long. The client
// is a network where PerSourceNetBlockSize says so. ok is false for a deferred penalty.
func penalty(text string) (client string, lasts time.Duration, ok bool) {
	m := penaltyText.FindStringSubmatch(text)
	if m == nil {
		return "", 0, false
	}
	seconds, err := strconv.ParseFloat(m[2], 64)
	return m[1], time.Duration(seconds * float64(time.Second)), err == nil
}
