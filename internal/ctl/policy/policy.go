// Package policy answers `eicctl policy test`: what another configuration would have
// made of the pushes that the journal has a decision on. The agent's own code decides
// (authkeys.Agent.Decide); this package reads the journal and counts.
//
// Signature, signing chain, instance and form of a record are not in the journal and are
// not decided again. A push that was granted has passed them; one that was refused before
// they were looked at counts as granted with Claimed set.
package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/authkeys"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/reason"
)

const (
	maxExamples = 3 // of each change, the latest
	// maxChanges bounds what is kept: a push for every user by every principal would
	// have a line each.
	maxChanges = 100_000
	maxText    = 256
	maxCaller  = 1024
)

// Options say which decisions are made again, and by what.
type Options struct {
	Config       *config.Config
	Path         string // of Config
	Directory    string // of the journal files; "": the journal of this host
	Trust        journal.Trust
	Since, Until time.Time // a zero Until is the end of the journal
}

// Test decides again what the journal has.
func Test(ctx context.Context, o Options) (*Report, error) {
	t := newTester(o)
	q := journal.Query{
		Directory: o.Directory, Since: o.Since, Until: o.Until,
		Matches: []string{"SYSLOG_IDENTIFIER=eic-authkeys", "SYSLOG_IDENTIFIER=eic-serial-getty", "+", "MESSAGE_ID=" + journal.Dropped},
	}
	warnings, err := journal.Read(ctx, q, t.add)
	if err != nil {
		return nil, err
	}
	t.report.Missing = append(t.report.Missing, warnings...)
	return t.finish(), nil
}

type tester struct {
	Options
	agent   *authkeys.Agent
	report  Report
	changes map[changeID]*Change
	hosts   map[string]bool
	seen    map[uint64]bool // decisions, by a hash
	seed    maphash.Seed
	unknown map[string]int // by why
	dropped int            // notes of journald that it left records out
	forged  int            // records that claim to be eic-agent's
	lost    int            // records that nobody took
}

// A changeID is what the pushes of one Change have in common.
type changeID struct {
	change    string
	was, word reason.Word
	claimed   bool
	user      string
	caller    string
}

// A decisionID tells one recorded decision from another: sshd asks twice for a login.
type decisionID struct {
	machine, user, caller, request, fingerprint string
	expires                                     int64
	was                                         reason.Word
}

func newTester(o Options) *tester {
	return &tester{
		Options: o,
		agent:   &authkeys.Agent{Config: o.Config},
		report: Report{
			Configuration: text(o.Path), Since: o.Since.UTC(), Until: o.Until.UTC(), Enforced: o.Config.Users.Enforce,
			Changes: []*Change{},
		},
		changes: make(map[changeID]*Change),
		hosts:   make(map[string]bool),
		seen:    make(map[uint64]bool),
		seed:    maphash.MakeSeed(),
		unknown: make(map[string]int),
	}
}

// add takes the next record.
func (t *tester) add(r *journal.Record) error {
	if r.Text("MESSAGE_ID") == journal.Dropped && r.Text("_TRANSPORT") == "driver" {
		t.dropped++
		return nil
	}
	e, claimed := r.Agent(t.Trust)
	switch {
	case e == nil && claimed:
		t.forged++
		return nil
	case e == nil, e.Time.Before(t.Since), !t.Until.IsZero() && !e.Time.Before(t.Until):
		return nil
	}
	t.lost += e.Lost
	if !isDecision(e) {
		return nil
	}
	id := decisionID{e.Machine, e.User, e.Caller, e.Request, e.Fingerprint, e.Expires.Unix(), e.Reason}
	hash := maphash.Comparable(t.seed, id)
	if e.KeyType != "" && t.seen[hash] {
		return nil
	}
	t.seen[hash] = true
	t.decide(e)
	if len(t.changes) > maxChanges {
		return &journal.Error{
			Sentence: fmt.Sprintf("more than %d combinations of principal and user would be decided differently", maxChanges),
			Hint:     "limit the period with --since, or read one host's journal",
		}
	}
	return nil
}

// isDecision reports whether an event grants or refuses a pushed key.
func isDecision(e *journal.Event) bool {
	switch e.Kind {
	case audit.KeyProvided, audit.GateOpened:
		return true
	case audit.RecordRefused, audit.GateRefused:
		return e.Reason.RefusesRecord()
	}
	return false
}

// isConfigured reports whether the configuration has a say in a refusal.
func isConfigured(word reason.Word) bool {
	return slices.Contains([]reason.Word{reason.LifetimeTooLong, reason.KeyType, reason.KeyTooShort, reason.UserDenied, reason.CallerNotMapped}, word)
}

func (t *tester) decide(e *journal.Event) {
	t.report.Decisions++
	t.hosts[e.Machine] = true
	when := e.Time
	if t.report.First == nil || when.Before(*t.report.First) {
		t.report.First = &when
	}
	if t.report.Last == nil || when.After(*t.report.Last) {
		t.report.Last = &when
	}
	granted := e.Kind == audit.KeyProvided || e.Kind == audit.GateOpened
	if !granted && !isConfigured(e.Reason) {
		t.report.Unchanged++
		return
	}
	if e.KeyType == "" || e.Expires.IsZero() {
		t.unknown[SummedUp]++
		return
	}
	would, err, known := t.again(e)
	id := changeID{was: e.Reason, user: e.User, caller: e.Caller}
	switch {
	case !known:
		t.unknown[SizeNotRecorded]++
		return
	case granted && err != nil:
		id.change, id.word = Refused, reason.Of(err)
	case granted && would != "":
		id.change, id.word = WouldRefuse, would
		t.report.Unchanged++
	case !granted && err == nil:
		id.change, id.word = Granted, would
		// The others were refused before the signature was looked at.
		id.claimed = e.Reason != reason.CallerNotMapped
	default:
		t.report.Unchanged++
		return
	}
	t.note(id, e)
}

// again decides again. known is false where it depends on the size of the key, which
// agents before EIC_KEY_BITS did not record.
func (t *tester) again(e *journal.Event) (would reason.Word, err error, known bool) {
	push := authkeys.Push{
		Facts: keyrecord.Facts{Expires: e.Expires.Unix(), Type: e.KeyType, Bits: e.KeyBits},
		User:  e.User, Caller: e.Caller, Decided: e.Time,
	}
	would, err = t.agent.Decide(push)
	if e.KeyType != keyrecord.TypeRSA || e.KeyBits > 0 || err != nil {
		return would, err, true // refused whatever its size
	}
	push.Bits = keyrecord.MinRSABits
	if e.Reason == reason.KeyTooShort {
		push.Bits = 1
	}
	_, least := t.agent.Decide(push)
	return would, err, least == nil
}

func (t *tester) note(id changeID, e *journal.Event) {
	c := t.changes[id]
	if c == nil {
		c = &Change{
			Change: id.change, Reason: text(string(id.word)), Was: text(string(id.was)), Claimed: id.claimed,
			User: text(e.User), Caller: audit.Clean(e.Caller, maxCaller), First: e.Time, hosts: make(map[string]bool),
		}
		t.changes[id] = c
		t.report.Changes = append(t.report.Changes, c)
	}
	c.Count++
	if e.Time.Before(c.First) {
		c.First = e.Time
	}
	if e.Time.After(c.Last) {
		c.Last = e.Time
	}
	c.hosts[e.Machine] = true
	c.Hosts = len(c.hosts)
	c.Examples = append(c.Examples, Example{
		Time: e.Time, Host: text(e.Host), Machine: text(e.Machine), Fingerprint: text(e.Fingerprint),
		KeyType: text(e.KeyType), Request: text(e.Request), Instance: text(e.Instance),
	})
	slices.SortStableFunc(c.Examples, func(x, y Example) int { return x.Time.Compare(y.Time) })
	c.Examples = c.Examples[max(len(c.Examples)-maxExamples, 0):]
	switch id.change {
	case Refused:
		t.report.Refused++
	case Granted:
		t.report.Granted++
	case WouldRefuse:
		t.report.WouldRefuse++
	}
}

func (t *tester) finish() *Report {
	r := &t.report
	r.Hosts = len(t.hosts)
	order := []string{Refused, Granted, WouldRefuse}
	slices.SortStableFunc(r.Changes, func(a, b *Change) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Change), slices.Index(order, b.Change)), cmp.Compare(b.Count, a.Count),
			cmp.Compare(a.Caller, b.Caller), cmp.Compare(a.User, b.User), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Was, b.Was))
	})
	for _, why := range []string{SizeNotRecorded, SummedUp} {
		if n := t.unknown[why]; n > 0 {
			r.Undecided = append(r.Undecided, Undecided{why, n})
		}
	}
	if t.dropped > 0 {
		r.Missing = append(r.Missing, fmt.Sprintf("journald suppressed messages: logged %d times", t.dropped))
	}
	if t.lost > 0 {
		r.Missing = append(r.Missing, fmt.Sprintf("neither journald nor syslog accepted %d messages", t.lost))
	}
	if t.forged > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("messages claiming to be eic-agent's but written by another account: %d, ignored", t.forged))
	}
	return r
}

// ErrUndecided is what Err returns where something could not be decided again, and
// nothing changes in what could.
var ErrUndecided = errors.New("some recorded decisions could not be repeated")

// Err returns ErrUndecided, or nil.
func (r *Report) Err() error {
	if len(r.Undecided) > 0 && !r.Changed() {
		return ErrUndecided
	}
	return nil
}

// Changed reports whether a push would be granted that was refused, or the reverse.
func (r *Report) Changed() bool { return r.Refused+r.Granted > 0 }

func text(s string) string { return audit.Clean(s, maxText) }
