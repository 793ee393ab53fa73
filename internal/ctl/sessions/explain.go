package sessions

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/fingerprints"
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
		return Subject{}, fmt.Errorf("%.100q is what EC2 shows of a pair that it made, which the journal does not have: eicctl fingerprint tells the others from the private key", asked)
	case err == nil:
		return Subject{asked: asked, key: key}, nil
	case asked == "" || len(asked) > maxText || strings.Trim(asked, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") != "":
		return Subject{}, fmt.Errorf("%.100q is neither a fingerprint nor a request id", asked)
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
	DecidedUnused  = "unused"  // sshd was given the key, and let nobody in
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
	Pushes []Push   `json:"pushes,omitempty"`
	What   string   `json:"what"`
	Do     string   `json:"do"`
	SSHD   []string `json:"sshd,omitempty"` // what it said of it
}

// An Answer is what the journal has about a Subject.
type Answer struct {
	Asked     string     `json:"asked"`
	Since     time.Time  `json:"since"`
	Until     time.Time  `json:"until"`
	Decisions []Decision `json:"decisions"`
	// Records counts those of eic-agent, whatever they are about.
	Records int      `json:"agent_records"`
	What    []string `json:"what,omitempty"` // where there is no decision
	Do      []string `json:"do,omitempty"`
	Notes   []string `json:"notes,omitempty"`
}

// Explain says what the report, which was read for s with a transcript, has about
// it.
func (r *Report) Explain(s Subject) *Answer {
	a := &Answer{Asked: s.asked, Since: r.Since, Until: r.Until, Decisions: []Decision{}, Records: r.agents, Notes: r.Notes}
	for _, session := range r.Sessions {
		a.Decisions = append(a.Decisions, session.decision())
	}
	for _, offer := range r.Unused {
		a.Decisions = append(a.Decisions, offer.decision())
	}
	for _, refusal := range r.Refusals {
		a.Decisions = append(a.Decisions, refusal.decision())
	}
	slices.SortStableFunc(a.Decisions, func(x, y Decision) int { return x.Time.Compare(y.Time) })
	for _, word := range reason.All() {
		if n := r.Failed[string(word)]; n > 0 {
			a.Notes = append(a.Notes, fmt.Sprintf("%s could not find out what was pushed (%s): %s", count(n, "run"), word, word.Hint()))
		}
	}
	for _, word := range reason.All() {
		if n := r.FailedGates[string(word)]; n > 0 {
			a.Notes = append(a.Notes, fmt.Sprintf("%s a serial console stayed locked by a fault (%s): %s", count(n, "time"), word, word.Hint()))
		}
	}
	for _, l := range r.logins {
		how := "by another way, such as authorized_keys"
		if l.Certificate {
			how = "by a certificate of it"
		}
		a.Notes = append(a.Notes, fmt.Sprintf("%s: sshd let %s in from %s with this key %s; eic-agent had no part in it", l.Time.Format(time.RFC3339), l.User, l.Address, how))
	}
	if len(a.Decisions) == 0 {
		a.nothing(s)
	}
	return a
}

func (s *Session) decision() Decision {
	d := Decision{
		Where: s.Where, Decision: DecidedSession, Time: s.Start, User: s.User, Key: s.Key, Push: s.Push, Pushes: s.Pushes, SSHD: s.lines,
		What: fmt.Sprintf("sshd was given the key and let %s in from %s", s.User, s.from()),
		Do:   "nothing, if the push was expected; if it was not, look for the request in CloudTrail, and see to it that the caller may no longer push keys",
	}
	if s.Console {
		d.What = fmt.Sprintf("the gate opened serial port %s", s.Port)
	}
	switch {
	case s.EndTold == ToldByBoot:
		d.What += "; the session ended with a restart of the host"
	case s.End == nil:
		d.What += "; no end of the session is recorded"
	default:
		d.What += "; the session ended at " + s.End.Format(time.RFC3339)
	}
	if len(s.Pushes) > 0 {
		d.What += fmt.Sprintf("; the key was pushed %d times, and nothing tells which push it is owed to", len(s.Pushes))
	}
	return d
}

func (o *Offer) decision() Decision {
	d := Decision{
		Where: o.Where, Decision: DecidedUnused, Time: o.Time, User: o.User, Key: o.Key, Push: o.Push, SSHD: o.lines,
		What: fmt.Sprintf("sshd was given the key for %s, but this connection opened no session with it", o.User),
	}
	if o.Outcome != "" {
		d.What += ": " + o.Outcome
	}
	d.Do = adviceOn(o)
	return d
}

const wentAway = "run the client with ssh -v: it went away after it offered the key, as it does where it has no private key for it, or cannot use it"

// adviceOn says what to do where sshd had the key and let nobody in with it.
func adviceOn(o *Offer) string {
	// What the client said as it left is not sshd's word.
	lines := slices.DeleteFunc(append(slices.Clone(o.lines), o.Outcome), func(line string) bool {
		return strings.Contains(line, "Received disconnect from ")
	})
	said := strings.Join(lines, "\n")
	for _, c := range []struct{ sign, advice string }{
		{"Accepted ", "nothing: the client came in with another key or method"},
		{"ROOT LOGIN REFUSED", "push the key for another user: PermitRootLogin in sshd's configuration keeps root out"},
		{"not from a permitted host", "see [keys] options in the agent's configuration: its from= does not have this address"},
		{"Refused by key options", "see [keys] options in the agent's configuration, and this host's clock: sshd refused the key by the options on its line"},
		{"PAM account configuration", "see the account: PAM's account stage refused it (expired, nologin, access.conf)"},
		{"Partial publickey", "the key was one of several methods that sshd asks for (AuthenticationMethods), and the next one failed"},
		{"Too many authentication failures", "have the client offer this key alone: ssh -o IdentitiesOnly=yes -i KEY"},
		{"maximum authentication attempts", "have the client offer this key alone: ssh -o IdentitiesOnly=yes -i KEY"},
		{"Timeout before authentication", "the client took too long: run it with ssh -v"},
		{"Failed publickey", "the client does not have the private key of this public key, or its signature was not taken: push the .pub file of the key that ssh uses"},
		{"Connection closed by ", wentAway},
		{"Connection reset by ", wentAway},
		{"Disconnected from ", wentAway},
	} {
		if strings.Contains(said, c.sign) {
			return c.advice
		}
	}
	return "look at the other records of the process, with LogLevel VERBOSE in sshd's configuration: journalctl _PID=" + fmt.Sprint(o.PID)
}

func (r *Refusal) decision() Decision {
	return Decision{
		Where: r.Where, Decision: DecidedRefused, Time: r.Time, User: r.User, Reason: r.Reason, Key: r.Key, Push: r.Push,
		What: r.Message, Do: reason.Word(r.Reason).Hint(),
	}
}

// nothing says what it means that there is no decision.
func (a *Answer) nothing(s Subject) {
	what := "this key"
	if s.request != "" {
		what = "this request"
	}
	switch {
	case a.Records == 0:
		a.What = []string{
			"the journal has no record of eic-agent at all: sshd did not ask it, or it had nothing to say, which leaves no record",
			"so sshd may not be set up to ask it, or no client offered a key that was pushed for an existing user and was not expired long before",
		}
	default:
		a.What = []string{
			fmt.Sprintf("the journal has %s of eic-agent, none about %s: no client offered the key while it was pushed, or sshd did not ask", count(a.Records, "record"), what),
			"sshd does not ask for users that do not exist or are shut out, nor for a key that it finds in authorized_keys; a push whose key no client offers leaves no record",
		}
	}
	a.Do = []string{
		"see which key the client offers, and that it is the pushed one: ssh -v",
		"push again and look at once, since a push lasts 60 seconds: eicctl keys USER",
		"check that sshd asks eic-authkeys: eicctl doctor",
		"whether anything was pushed at all, CloudTrail has: event SendSSHPublicKey",
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
	for _, note := range a.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	return b.String()
}

func (d Decision) writeTo(b *strings.Builder) {
	verdict := map[string]string{DecidedSession: "let in", DecidedUnused: "given to sshd, not let in", DecidedRefused: "refused (" + d.Reason + ")"}[d.Decision]
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(b, "  %-8s %s\n", name, value)
		}
	}
	fmt.Fprintf(b, "%s  %s\n", d.Time.Format(time.RFC3339), verdict)
	line("what", d.What)
	line("do", d.Do)
	line("user", d.User)
	line("key", d.key())
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
	}
	line("host", d.Host)
	for _, said := range d.SSHD {
		line("sshd", said)
	}
}
