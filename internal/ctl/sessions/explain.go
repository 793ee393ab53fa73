package sessions

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/fingerprints"
	"github.com/eic-agent/eic-agent/internal/ctl/output"
	"github.com/eic-agent/eic-agent/internal/ctl/sshlog"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// A Subject is the key or the call of the API that somebody asks about.
type Subject struct {
	asked   string
	key     fingerprints.Expected
	request string // "" where a key is asked about
}

// ParseSubject reads a fingerprint in any form that `eicctl fingerprint` takes, or
// a request id.
func ParseSubject(asked string) (Subject, error) {
	key, err := fingerprints.ParseExpected(asked)
	switch {
	case err == nil && key.OfPrivate():
		return Subject{}, fmt.Errorf("%.100q is EC2's fingerprint of a key pair that it created, which the journal does not have: eicctl fingerprint prints the others from the private key", asked)
	case err == nil:
		return Subject{asked: asked, key: key}, nil
	case asked == "" || len(asked) > maxText || strings.Trim(asked, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") != "":
		return Subject{}, fmt.Errorf("%.100q is neither a fingerprint nor a request ID", asked)
	}
	return Subject{asked: asked, request: asked}, nil
}

// Wanted selects the records about it.
func (s Subject) Wanted(key Key, request string) bool {
	if s.request != "" {
		return strings.EqualFold(s.request, request)
	}
	return s.key.Is(key.Fingerprint) || s.key.Is(key.FingerprintMD5)
}

// The decisions that an Answer is made of.
const (
	DecidedSession = "session" // sshd was given the key, and let somebody in
	DecidedUnused  = "unused"  // sshd was given the key, and let nobody in with it
	DecidedUnknown = "unknown" // sshd was given the key, and no record tells what came of it
	DecidedRefused = "refused" // sshd was not given the key
)

// A Decision is one that was made about what is asked, and what came of it.
type Decision struct {
	Where
	Decision string    `json:"decision"`
	Time     time.Time `json:"time"`
	User     string    `json:"user"`
	Reason   string    `json:"reason,omitempty"`
	Key
	Push
	Pushes []Push `json:"pushes,omitempty"`
	// Causes are what may have become of it, the likeliest first; one where the
	// records leave no other.
	Causes []Cause  `json:"causes"`
	What   string   `json:"what"`
	Do     string   `json:"do"`
	SSHD   []string `json:"sshd,omitempty"` // what it said of it
	// Limit is what sshd's configuration asks for beside the key now.
	Limit string `json:"limit,omitempty"`

	offer *Offer // that it is about, or nil
}

// An Answer is what the journal has about a Subject.
type Answer struct {
	Asked     string     `json:"asked"`
	Since     time.Time  `json:"since"`
	Until     time.Time  `json:"until"`
	Decisions []Decision `json:"decisions"`
	// Records counts those of eic-agent, whatever they are about.
	Records int `json:"agent_records"`
	// SSHDRecords counts those of sshd.
	SSHDRecords int `json:"sshd_records"`
	// Causes are why there may be no decision.
	Causes []Cause  `json:"causes,omitempty"`
	What   []string `json:"what,omitempty"` // where there is no decision
	Do     []string `json:"do,omitempty"`
	// Before is what kept sshd from asking eic-agent: for this key, or for one of
	// which no record says which it was.
	Before  []Barred `json:"before,omitempty"`
	Spans   []Span   `json:"spans,omitempty"`
	Missing []string `json:"missing,omitempty"`
	Notes   []string `json:"notes,omitempty"`
}

// A Barred is a record of sshd that says why it did not ask for a key.
type Barred struct {
	Where
	Time    time.Time `json:"time"`
	User    string    `json:"user,omitempty"`
	Address string    `json:"address,omitempty"`
	KeyType string    `json:"key_type,omitempty"`
	// Certain says that the record names the key that is asked about.
	Certain bool   `json:"certain"`
	SSHD    string `json:"sshd"`
	// Limit is the line of sshd's configuration that has it refuse this now.
	Limit string `json:"limit,omitempty"`
	Do    string `json:"do,omitempty"`
}

// Explain says what the report, which was read for s with a transcript, has about
// it.
func (r *Report) Explain(s Subject) *Answer {
	a := &Answer{
		Asked: s.asked, Since: r.Since, Until: r.Until, Decisions: []Decision{}, Records: r.agents, SSHDRecords: r.sshds,
		Spans: r.Spans, Missing: r.Missing, Notes: r.Notes,
	}
	for _, session := range r.Sessions {
		a.Decisions = append(a.Decisions, session.decision())
	}
	for _, offer := range r.Unused {
		a.Decisions = append(a.Decisions, offer.decision(DecidedUnused))
	}
	for _, offer := range r.Unknown {
		a.Decisions = append(a.Decisions, offer.decision(DecidedUnknown))
	}
	for _, refusal := range r.Refusals {
		a.Decisions = append(a.Decisions, refusal.decision())
	}
	slices.SortStableFunc(a.Decisions, func(x, y Decision) int { return x.Time.Compare(y.Time) })
	for _, word := range reason.All() {
		if n := r.Failed[string(word)]; n > 0 {
			a.Notes = append(a.Notes, fmt.Sprintf("%s could not determine the pushed keys (%s): %s", output.Count(n, "run"), word, word.Hint()))
		}
	}
	for _, word := range reason.All() {
		if n := r.FailedGates[string(word)]; n > 0 {
			a.Notes = append(a.Notes, fmt.Sprintf("serial console stayed locked %s, internal error (%s): %s", output.Count(n, "time"), word, word.Hint()))
		}
	}
	for _, l := range r.logins {
		how := "from another source, such as authorized_keys"
		if l.Certificate {
			how = "with a certificate for it"
		}
		a.Notes = append(a.Notes, fmt.Sprintf("%s: %s logged in from %s with this key %s; eic-agent was not involved", l.Time.Format(time.RFC3339), l.User, l.Address, how))
	}
	for _, b := range r.barred {
		if b.exact || len(a.Decisions) == 0 {
			a.Before = append(a.Before, b.barred())
		}
	}
	if len(a.Decisions) == 0 {
		a.nothing(s)
	}
	return a
}

func (b *bar) barred() Barred {
	s := b.record
	x := Barred{
		Where: b.where, Time: s.Time, User: text(s.User), Address: text(s.Address), KeyType: text(s.KeyType), Certain: b.exact,
		SSHD: audit.Clean(s.Text, maxMessage), Do: s.Advice,
	}
	if gone := b.heard.gone; gone != nil && x.User == "" {
		x.User = text(gone.User)
	}
	if x.Address == "" {
		x.Address = b.heard.address
	}
	if s.Meaning == sshlog.Failed {
		x.Do = "sshd did not run eic-authkeys for this key, or it was not pushed then: run eicctl doctor USER, and push again"
	}
	return x
}

// atOnce is how short a session is that may not have been what the user wanted.
const atOnce = 2 * time.Second

func (s *Session) decision() Decision {
	d := Decision{
		Where: s.Where, Decision: DecidedSession, Time: s.Start, User: s.User, Key: s.Key, Push: s.Push, Pushes: s.Pushes, Causes: []Cause{CauseLetIn},
		What: fmt.Sprintf("sshd was given the key, and %s logged in from %s", s.User, s.from()),
		Do:   "nothing, if the push was expected; otherwise find the request in CloudTrail, and remove the caller's permission to push keys",
	}
	if s.heard != nil {
		d.SSHD = s.heard.lines
	}
	if s.Console {
		d.What = fmt.Sprintf("the gate opened serial port %s", s.Port)
	}
	lasted := time.Duration(-1)
	if s.End != nil {
		lasted = s.End.Sub(s.Start)
	}
	switch {
	case s.EndTold == ToldByBoot:
		d.What += "; the session ended with a restart of the host"
	case s.End == nil:
		d.What += "; the end of the session is not logged"
	default:
		d.What += "; the session ended at " + s.End.Format(time.RFC3339)
	}
	switch {
	case s.heard != nil && s.heard.broken != nil:
		d.Causes = []Cause{CauseSessionFailed}
		d.What += "; the session failed to start: " + audit.Clean(s.heard.broken.Text, maxMessage)
		d.Do = s.heard.broken.Advice
	case lasted >= 0 && lasted < atOnce && !s.Console:
		d.Causes = []Cause{CauseEndedAtOnce}
		d.What += fmt.Sprintf(", after %v: a command that finished, or a shell that exits, such as nologin", lasted.Round(time.Millisecond))
		d.Do = "if that was not intended, check the account's shell: getent passwd " + s.User + "; otherwise " + d.Do
	}
	if len(s.Pushes) > 0 {
		d.What += fmt.Sprintf("; the key was pushed %d times, and which push was used is unknown", len(s.Pushes))
	}
	return d
}

func (o *Offer) decision(kind string) Decision {
	d := Decision{
		Where: o.Where, Decision: kind, Time: o.Time, User: o.User, Key: o.Key, Push: o.Push, Causes: o.Causes, SSHD: o.heard.lines, offer: o,
		What: fmt.Sprintf("sshd was given the key for %s, but this connection opened no session with it", o.User),
	}
	if kind == DecidedUnknown {
		d.What = fmt.Sprintf("sshd was given the key for %s; the outcome is unknown, because there is ", o.User)
		switch {
		case o.Outcome != "":
			d.What = fmt.Sprintf("sshd was given the key for %s; whether it was used is not logged", o.User)
		case o.heard.records == 0:
			d.What += fmt.Sprintf("no message of sshd's process %d", o.PID)
		default:
			d.What += fmt.Sprintf("no message about the end of the login of sshd's process %d", o.PID)
		}
	}
	if o.Outcome != "" {
		d.What += ": " + o.Outcome
	}
	var whats []string
	for _, c := range o.Causes {
		what, do := c.says()
		whats = append(whats, what)
		if d.Do == "" {
			d.Do = do
		}
	}
	switch {
	case len(whats) == 1:
		d.What += "; " + whats[0]
	case kind == DecidedUnused:
		d.What += fmt.Sprintf("; sshd asked for it %s: most likely %s; otherwise one of these, and the record of it is missing: %s", times(o.asked), whats[0], strings.Join(whats[1:], "; "))
	case o.Outcome != "":
		d.What += "; one of these: " + strings.Join(whats, "; or ")
	}
	// What sshd said itself counts more than what a cause suggests, where it says
	// what to do.
	advice := o.heard.advice()
	if advice != "" && o.heard.in == nil {
		d.Do = advice
	}
	// What to do about one of several causes is not what to do.
	if kind == DecidedUnknown && (o.Outcome == "" || len(o.Causes) > 1 && advice == "") {
		d.Do = "enable sshd's messages in the journal: eicctl doctor shows why they are missing; journalctl _PID=" + fmt.Sprint(o.PID) + " shows the existing ones"
	}
	return d
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func (r *Refusal) decision() Decision {
	return Decision{
		Where: r.Where, Decision: DecidedRefused, Time: r.Time, User: r.User, Reason: r.Reason, Key: r.Key, Push: r.Push,
		Causes: []Cause{CauseRefused}, What: r.Message, Do: reason.Word(r.Reason).Hint(),
	}
}

// nothing says what it means that there is no decision.
func (a *Answer) nothing(s Subject) {
	what := "this key"
	if s.request != "" {
		what = "this request"
	}
	a.Causes = []Cause{CauseNotOffered, CauseNotAsked, CauseRecordMissing}
	switch certain := slices.ContainsFunc(a.Before, func(b Barred) bool { return b.Certain }); {
	case certain:
		a.Causes = a.Causes[1:]
		a.What = []string{fmt.Sprintf("a client offered the key, and there is no message of eic-agent about %s", what)}
	case a.SSHDRecords == 0:
		a.Causes = append([]Cause{CauseRecordMissing}, a.Causes[:2]...)
		a.What = []string{
			"unknown whether a client offered the key: the journal has no message of sshd in this period",
			"sshd may log elsewhere or too little: run eicctl doctor",
		}
	case a.Records == 0:
		a.What = []string{"the journal has no message of eic-agent"}
	default:
		a.What = []string{fmt.Sprintf("the journal has %s of eic-agent, none about %s", output.Count(a.Records, "record"), what)}
	}
	for i, c := range a.Causes {
		says, _ := c.says()
		begin := "one of these: "
		if i > 0 {
			begin = "or "
		}
		a.What = append(a.What, begin+says)
	}
	if len(a.Before) > 0 {
		a.What = append(a.What, "see below for sshd's messages about keys and clients that it refused before running eic-authkeys")
	}
	a.Do = []string{
		"check with ssh -v that the client offers the pushed key",
		"push again and run eicctl keys USER within 60 seconds",
		"check with eicctl doctor that sshd runs eic-authkeys",
		"check CloudTrail for the push: event SendSSHPublicKey",
	}
}

// Text writes the answer for people.
func (a *Answer) Text() string {
	var b strings.Builder
	for i, d := range a.Decisions {
		if i > 0 {
			b.WriteString("\n")
		}
		d.writeTo(&b)
	}
	if len(a.Decisions) == 0 {
		fmt.Fprintf(&b, "no decision about %s from %s to %s\n", a.Asked, stamp(a.Since, "the first record"), stamp(a.Until, ""))
		for _, line := range a.What {
			fmt.Fprintf(&b, "  %s\n", line)
		}
		b.WriteString("what to do:\n")
		for _, line := range a.Do {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	if len(a.Before) > 0 {
		b.WriteString("sshd refused without running eic-authkeys:\n")
	}
	for _, x := range a.Before {
		fmt.Fprintf(&b, "  %s  %s from %s\n", x.Time.Format(time.RFC3339), dash(x.User), dash(x.Address))
		fmt.Fprintf(&b, "    sshd %s\n", x.SSHD)
		if x.Limit != "" {
			fmt.Fprintf(&b, "    now  %s\n", x.Limit)
		}
		if x.Do != "" {
			fmt.Fprintf(&b, "    do   %s\n", x.Do)
		}
	}
	for _, gap := range gaps(a.Since, a.Spans, a.Missing) {
		b.WriteString(gap + "\n")
	}
	for _, note := range a.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	return b.String()
}

func (d Decision) writeTo(b *strings.Builder) {
	verdict := map[string]string{DecidedSession: "let in", DecidedUnused: "given to sshd, not let in", DecidedUnknown: "given to sshd, outcome unknown", DecidedRefused: "refused (" + d.Reason + ")"}[d.Decision]
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(b, "  %-8s %s\n", name, value)
		}
	}
	fmt.Fprintf(b, "%s  %s\n", d.Time.Format(time.RFC3339), verdict)
	line("what", d.What)
	line("now", d.Limit)
	line("do", d.Do)
	line("user", d.User)
	line("key", d.keyWithSize())
	claim := ""
	if d.Decision == DecidedRefused && reason.Word(d.Reason) != reason.CallerNotMapped {
		claim = " (its own claim)"
	}
	pushes := d.Pushes
	if len(pushes) == 0 {
		pushes = []Push{d.Push}
	}
	for _, p := range pushes {
		if p.Caller != "" {
			line("caller", p.Caller+claim)
		}
		if p.Request != "" {
			line("request", p.Request+claim)
		}
		if word := reason.Word(p.WouldRefuse); word != "" {
			line("policy", fmt.Sprintf("would refuse it if [users] were enforced (%s): %s", word, word.Hint()))
		}
	}
	line("host", d.Host)
	for _, said := range d.SSHD {
		line("sshd", said)
	}
}
