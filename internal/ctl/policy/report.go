package policy

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/output"
)

// What would change.
const (
	Refused     = "refused"      // was granted
	Granted     = "granted"      // was refused
	WouldRefuse = "would-refuse" // granted as before, because [users] enforce is false
)

// Why a decision could not be made again.
const (
	SizeNotRecorded = "key-size-not-recorded" // by an agent that did not record EIC_KEY_BITS
	SummedUp        = "not-listed-one-by-one" // one record for more than ten decisions of a run
)

// A Report is what a configuration would change. No text in it has control characters.
type Report struct {
	Configuration string    `json:"configuration"`
	Enforced      bool      `json:"enforced"` // its [users] enforce
	Since         time.Time `json:"since"`
	Until         time.Time `json:"until"`
	// First and Last are the times of the first and the last recorded decision.
	First     *time.Time `json:"first,omitempty"`
	Last      *time.Time `json:"last,omitempty"`
	Hosts     int        `json:"hosts"`
	Decisions int        `json:"decisions"` // recorded
	// Refused and Granted count the decisions that would change, WouldRefuse those that
	// would not because [users] is not enforced; Unchanged includes these.
	Refused     int       `json:"newly_refused"`
	Granted     int       `json:"newly_granted"`
	WouldRefuse int       `json:"would_refuse"`
	Unchanged   int       `json:"unchanged"`
	Changes     []*Change `json:"changes"`
	// Undecided counts decisions that could not be made again, by why.
	Undecided []Undecided `json:"undecided,omitempty"`
	Missing   []string    `json:"missing,omitempty"` // records that are missing, and why
	Notes     []string    `json:"notes,omitempty"`
}

// A Change is what would become of the pushes of one principal for one user.
type Change struct {
	Change string `json:"change"`
	Reason string `json:"reason,omitempty"` // of the refusal to come
	Was    string `json:"was,omitempty"`    // the reason that is recorded; "" for a grant
	User   string `json:"user"`
	Caller string `json:"caller,omitempty"`
	// Claimed says that the pushes were refused before their signature was looked at:
	// caller and key are what the record claimed.
	Claimed  bool      `json:"claimed,omitempty"`
	Count    int       `json:"count"`
	Hosts    int       `json:"hosts"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	Examples []Example `json:"examples"` // the latest, at most three

	hosts map[string]bool
}

// An Example is one push.
type Example struct {
	Time        time.Time `json:"time"`
	Host        string    `json:"host"`
	Machine     string    `json:"machine"`
	Fingerprint string    `json:"fingerprint,omitempty"`
	KeyType     string    `json:"key_type,omitempty"`
	Request     string    `json:"request,omitempty"`
	Instance    string    `json:"instance,omitempty"`
}

// An Undecided is a number of decisions that could not be made again.
type Undecided struct {
	Why   string `json:"why"`
	Count int    `json:"count"`
}

// Rows returns the changes, what is undecided, and what holds for all.
func (r *Report) Rows() []output.Row {
	var rows []output.Row
	for _, c := range r.Changes {
		rows = append(rows, output.Row{Kind: "change", Value: c})
	}
	for _, u := range r.Undecided {
		rows = append(rows, output.Row{Kind: "undecided", Value: u})
	}
	return append(rows, output.Row{Kind: output.Summary, Value: r, Without: []string{"changes", "undecided"}})
}

// Text writes the report for people: first the answer, then each change.
func (r *Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", r.answer())
	if r.First != nil {
		fmt.Fprintf(&b, "recorded from %s to %s on %s\n", moment(*r.First), moment(*r.Last), output.Count(r.Hosts, "host"))
	}
	heading := ""
	for _, c := range r.Changes {
		if c.Change != heading {
			heading = c.Change
			fmt.Fprintf(&b, "\n%s\n", r.heading(heading))
		}
		c.writeTo(&b)
	}
	if len(r.Undecided)+len(r.Missing)+len(r.Notes) > 0 {
		b.WriteString("\n")
	}
	for _, u := range r.Undecided {
		fmt.Fprintf(&b, "not decided: %d: %s\n", u.Count, u.why())
	}
	for _, m := range r.Missing {
		fmt.Fprintf(&b, "missing: %s\n", m)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	return b.String()
}

func (r *Report) answer() string {
	what := output.Count(r.Decisions, "recorded decision")
	switch {
	case r.Decisions == 0:
		return fmt.Sprintf("no recorded decision since %s", moment(r.Since))
	case r.Changed():
		return fmt.Sprintf("%s under %s: %d would newly be refused, %d newly granted", what, r.Configuration, r.Refused, r.Granted)
	}
	return fmt.Sprintf("%s under %s: none would change", what, r.Configuration)
}

func (r *Report) heading(change string) string {
	switch change {
	case Refused:
		return fmt.Sprintf("newly refused: %d", r.Refused)
	case Granted:
		return fmt.Sprintf("newly granted: %d", r.Granted)
	}
	return fmt.Sprintf("granted, because [users] enforce is false: %d", r.WouldRefuse)
}

func (c *Change) writeTo(b *strings.Builder) {
	why := c.Reason
	if c.Change == Granted {
		why = "was " + c.Was
	}
	fmt.Fprintf(b, "%7d  %s for %s (%s), on %s\n", c.Count, cmp.Or(c.Caller, "an unnamed caller"), c.User, why, output.Count(c.Hosts, "host"))
	if c.Claimed {
		b.WriteString("         if the record is genuine: its signature was not verified\n")
	}
	last := c.Examples[len(c.Examples)-1]
	fmt.Fprintf(b, "         last %s on %s: %s %s", moment(last.Time), last.Host, last.KeyType, last.Fingerprint)
	if last.Request != "" {
		fmt.Fprintf(b, ", request %s", last.Request)
	}
	b.WriteString("\n")
}

func (u Undecided) why() string {
	if u.Why == SizeNotRecorded {
		return "depends on the size of an RSA key, which an earlier version did not log"
	}
	return "one message stands for several decisions"
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }
