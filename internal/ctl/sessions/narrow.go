package sessions

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
)

// maxMachines is how many machines are named to journalctl.
const maxMachines = 100

// plainName has what may be in a user name that is neither a pattern nor one of the
// spellings that belong to another account.
const plainName = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

// narrows reports whether the records of eic-agent alone tell what the filter selects.
// A user who is no pattern has to be spelled as the account is, but for the case.
func (f Filter) narrows() bool { return f.Caller != "" || f.namesUser() }

func (f Filter) namesUser() bool { return f.User != "" && strings.Trim(f.User, plainName) == "" }

// selects reports whether a record of eic-agent may be of what the filter selects.
func (f Filter) selects(e *journal.Event) bool {
	return (!f.namesUser() || strings.EqualFold(f.User, e.User)) && (f.Caller == "" || config.MatchCaller(f.Caller, e.Caller))
}

// narrow limits a query to the machines that have a record of eic-agent that the filter
// selects, and to the time from the first of them on. It reads all records of eic-agent
// in the query's time. found is false where there is none.
//
// A match for EIC_USER or EIC_CALLER does not do: a record that came over syslog has
// no such fields, and a session shows every push of its key, by any caller.
func narrow(ctx context.Context, q *journal.Query, trust journal.Trust, f Filter) (found bool, err error) {
	if !f.narrows() {
		return true, nil
	}
	agents := *q
	agents.Matches = []string{"SYSLOG_IDENTIFIER=eic-authkeys", "SYSLOG_IDENTIFIER=eic-serial-getty"}
	if !f.Until.IsZero() {
		agents.Until = f.Until.Add(Lead)
	}
	machines := make(map[string]bool)
	var first time.Time
	_, err = journal.Read(ctx, agents, func(r *journal.Record) error {
		e, claimed := r.Agent(trust)
		machine := r.Text("_MACHINE_ID")
		// The report says who forged a record, whomever it is about.
		if !claimed || e != nil && !f.selects(e) || machine == "" {
			return nil
		}
		machines[machine] = true
		if at := r.Time(); first.IsZero() || at.Before(first) {
			first = at
		}
		return nil
	})
	if err != nil || len(machines) == 0 {
		return false, err
	}
	if since := first.Add(-Lead); since.After(q.Since) {
		q.Since = since
	}
	if len(machines) > maxMachines {
		return true, nil
	}
	var names []string
	for _, machine := range slices.Sorted(maps.Keys(machines)) {
		names = append(names, "_MACHINE_ID="+machine)
	}
	// "+" parts alternatives.
	var matches []string
	for _, match := range append(q.Matches, "+") {
		if match == "+" {
			matches = append(matches, names...)
		}
		matches = append(matches, match)
	}
	q.Matches = matches[:len(matches)-1]
	return true, nil
}
