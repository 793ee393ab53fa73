package doctor

import (
	"context"
	"sync"
	"time"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/ctl/logs"
	"github.com/eic-agent/eic-agent/internal/ctl/nss"
)

// defaultAccount is whom sshd runs the command as where nothing else is known.
const defaultAccount = "eic-agent"

// ownAfter is how long a probe may take before root asks the metadata service too.
const ownAfter = 700 * time.Millisecond

// An exam is what is known in one examination. What the checks share is found
// out once, on first use.
type exam struct {
	Options
	ctx context.Context
	now time.Time
	// typed is the name that was asked about where the host knows the account as User.
	typed string

	server func() server // the running sshd and its settings
	runner func() runner // whom sshd runs the command as
	config func() settings
	probe  func() probed  // what that account can see and reach
	own    func() contact // the metadata service as root sees it
	clock  func() clock
	gaps   func() []logs.Gap // what keeps records out of the journal
}

// A settings is the agent's configuration.
type settings struct {
	path    string
	cfg     *config.Config // nil where it cannot be used
	files   []string       // that are there
	problem *Entry         // with it, nil where that is not known
	fault   string         // why not
	fix     fix            // of the fault
}

// examine makes every check, those of different areas at the same time, and
// returns the findings in the order of the areas.
func examine(ctx context.Context, now time.Time, o Options) []Finding {
	e := &exam{Options: o, ctx: ctx, now: now}
	if name, err := nss.Name(ctx, o.User); err == nil && name != o.User {
		e.typed, e.User = o.User, name
	}
	e.server = sync.OnceValue(e.findServer)
	e.runner = sync.OnceValue(e.findRunner)
	e.config = sync.OnceValue(e.loadConfig)
	e.probe = sync.OnceValue(e.runProbe)
	e.own = sync.OnceValue(e.ownContact)
	e.clock = sync.OnceValue(e.readClock)
	e.gaps = sync.OnceValue(e.findGaps)

	checks := []struct {
		area  Area
		check func(*exam, *findings)
	}{
		{Server, checkServer}, {Command, checkCommand}, {Login, checkLogin}, {Settings, checkSettings},
		{Metadata, checkMetadata}, {Clock, checkClock}, {Instance, checkInstance}, {Chain, checkChain},
		{Records, checkRecords}, {Cache, checkCache}, {Journal, checkJournal}, {SELinux, checkSELinux},
		{Programs, checkPrograms}, {SerialPorts, checkSerialPorts},
	}
	results := make([]findings, len(checks))
	// If the probe gets no answer soon, root asks too.
	defer time.AfterFunc(ownAfter, func() { e.own() }).Stop()
	var wait sync.WaitGroup
	for i, c := range checks {
		results[i].area = c.area
		wait.Go(func() { c.check(e, &results[i]) })
	}
	wait.Wait()
	var all []Finding
	for _, r := range results {
		all = append(all, r.all...)
	}
	return all
}
