package sessions

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/output"
)

// Text writes the report for people.
func (r *Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "from %s to %s\n", stamp(r.Since, "the first record"), stamp(r.Until, ""))
	for _, gap := range r.Gaps() {
		b.WriteString(gap + "\n")
	}
	hosts := r.severalHosts()
	section(&b, r.sessionsHeading(), len(r.Sessions),
		[]string{"START", "END", "USER", "FROM", "CALLER", "REQUEST", "KEY"}, hosts, func(row func(Where, Push, ...string)) {
			for _, s := range r.Sessions {
				row(s.Where, s.push(), s.Start.Format(time.RFC3339), s.end(), s.User, s.from(), s.callerText(), s.requestText(), s.key())
			}
		})
	section(&b, output.Count(len(r.Unused), "offer")+" that opened no session", len(r.Unused),
		[]string{"TIME", "USER", "FROM", "CALLER", "REQUEST", "KEY"}, hosts, func(row func(Where, Push, ...string)) {
			for _, o := range r.Unused {
				row(o.Where, o.Push, o.Time.Format(time.RFC3339), o.User, place(o.Address, o.Port), dash(o.Caller), dash(o.Request), o.key())
			}
		})
	section(&b, output.Count(len(r.Unknown), "offer")+" whose outcome is unknown", len(r.Unknown),
		[]string{"TIME", "USER", "FROM", "CALLER", "REQUEST", "KEY", "WHAT IS KNOWN"}, hosts, func(row func(Where, Push, ...string)) {
			for _, o := range r.Unknown {
				row(o.Where, o.Push, o.Time.Format(time.RFC3339), o.User, place(o.Address, o.Port), dash(o.Caller), dash(o.Request), o.key(), o.why())
			}
		})
	section(&b, output.Count(len(r.Refusals), "refusal"), len(r.Refusals),
		[]string{"TIME", "USER", "REASON", "CALLER (CLAIMED)", "REQUEST", "KEY"}, hosts, func(row func(Where, Push, ...string)) {
			for _, o := range r.Refusals {
				row(o.Where, o.Push, o.Time.Format(time.RFC3339), dash(o.User), o.Reason, dash(o.Caller), dash(o.Request), o.key())
			}
		})
	for i, remark := range r.Remarks() {
		if i == 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "note: %s\n", remark)
	}
	return b.String()
}

// Remarks returns, as sentences, what concerns no single session, offer or refusal.
func (r *Report) Remarks() []string {
	var remarks []string
	for _, word := range slices.Sorted(maps.Keys(r.Failed)) {
		remarks = append(remarks, fmt.Sprintf("%s could not determine the pushed keys (%s)", output.Count(r.Failed[word], "run"), word))
	}
	for _, word := range slices.Sorted(maps.Keys(r.FailedGates)) {
		remarks = append(remarks, fmt.Sprintf("serial console stayed locked %s, internal error (%s)", output.Count(r.FailedGates[word], "time"), word))
	}
	if r.OtherLogins > 0 {
		remarks = append(remarks, fmt.Sprintf("%s with a key that eic-agent did not provide: from authorized_keys, a certificate or another command, or the message is missing", output.Count(r.OtherLogins, "login")))
	}
	return append(remarks, r.Notes...)
}

// Gaps returns, as sentences, what is missing from the journal.
func (r *Report) Gaps() []string { return gaps(r.Since, r.Spans, r.Missing) }

func gaps(since time.Time, spans []Span, missing []string) (list []string) {
	for _, s := range spans {
		if s.From.After(since) {
			list = append(list, fmt.Sprintf("unknown before %s: the journal of %s starts there", s.From.Format(time.RFC3339), dash(s.Host)))
		}
	}
	for _, m := range missing {
		list = append(list, "messages may be missing: "+m)
	}
	return list
}

func (r *Report) sessionsHeading() string {
	keyless := 0
	for _, s := range r.Sessions {
		if s.Method == breakGlass {
			keyless++
		}
	}
	heading := output.Count(len(r.Sessions)-keyless, "session") + " opened with a pushed key"
	if keyless > 0 {
		heading += fmt.Sprintf(", %d without a key", keyless)
	}
	return heading
}

// section writes a table of n rows under a heading.
func section(b *strings.Builder, heading string, n int, head []string, hosts bool, rows func(func(Where, Push, ...string))) {
	fmt.Fprintf(b, "\n%s\n", heading)
	if n == 0 {
		return
	}
	trials, trails := false, false
	rows(func(_ Where, p Push, _ ...string) {
		trials, trails = trials || p.WouldRefuse != "", trails || p.Trail != nil
	})
	w := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	write := func(where string, push Push, cells []string) {
		if trials {
			cells = append(cells, dash(push.WouldRefuse))
		}
		if hosts {
			cells = append(cells, where)
		}
		if trails {
			trail := cmp.Or(push.Trail, &Trail{})
			cells = append(cells, dash(trail.SourceIP), dash(trail.Principal), dash(trail.UserAgent))
		}
		fmt.Fprintf(w, "  %s\n", strings.Join(cells, "\t"))
	}
	write("HOST", Push{WouldRefuse: "WOULD REFUSE", Trail: &Trail{SourceIP: "CALLED FROM", Principal: "CALLED BY", UserAgent: "CALLED WITH"}}, head)
	rows(func(where Where, p Push, cells ...string) { write(dash(where.Host), p, cells) })
	w.Flush()
}

func (r *Report) severalHosts() bool {
	machines := make(map[string]bool)
	for _, s := range r.Sessions {
		machines[s.Machine] = true
	}
	for _, o := range slices.Concat(r.Unused, r.Unknown) {
		machines[o.Machine] = true
	}
	for _, o := range r.Refusals {
		machines[o.Machine] = true
	}
	return len(machines) > 1
}

// end says when a session ended, for people.
func (s *Session) end() string {
	switch {
	case s.EndTold == ToldByBoot:
		return "by a reboot"
	case s.End == nil:
		return "not recorded"
	case s.EndTold == ToldByProcess:
		return s.End.Format(time.RFC3339) + "?"
	}
	return s.End.Format(time.RFC3339)
}

func (s *Session) from() string {
	if s.Console {
		return "serial port " + s.Port
	}
	return place(s.Address, s.Port)
}

func (s *Session) callerText() string {
	if s.Method == breakGlass {
		return "nobody: opened without a key"
	}
	return either(s.Caller, s.Pushes, func(p Push) string { return p.Caller })
}

func (s *Session) requestText() string {
	return either(s.Request, s.Pushes, func(p Push) string { return p.Request })
}

// either returns what all pushes have in common, or all that there is.
func either(common string, pushes []Push, of func(Push) string) string {
	if common != "" || len(pushes) == 0 {
		return dash(common)
	}
	var list []string
	for _, p := range pushes {
		list = append(list, dash(of(p)))
	}
	return strings.Join(list, " or ")
}

// push returns what all pushes have in common, with what CloudTrail and the policy say of
// each.
func (s *Session) push() Push {
	p := s.Push
	p.Trail = s.trail()
	if slices.ContainsFunc(s.Pushes, func(p Push) bool { return p.WouldRefuse != "" }) {
		p.WouldRefuse = either(p.WouldRefuse, s.Pushes, func(p Push) string { return p.WouldRefuse })
	}
	return p
}

// trail returns what CloudTrail has of the push, or of all that there are.
func (s *Session) trail() *Trail {
	if len(s.Pushes) == 0 || !slices.ContainsFunc(s.Pushes, func(p Push) bool { return p.Trail != nil }) {
		return s.Trail
	}
	all := func(of func(*Trail) string) string {
		return either("", s.Pushes, func(p Push) string {
			if p.Trail == nil {
				return ""
			}
			return of(p.Trail)
		})
	}
	return &Trail{
		SourceIP:  all(func(t *Trail) string { return t.SourceIP }),
		Principal: all(func(t *Trail) string { return t.Principal }),
		UserAgent: all(func(t *Trail) string { return t.UserAgent }),
	}
}

func (k Key) key() string {
	if k.Fingerprint != "" {
		return k.Fingerprint
	}
	return dash(k.FingerprintMD5)
}

func (k Key) keyWithSize() string {
	switch {
	case k.Type == "":
		return k.key()
	case k.Bits == 0:
		return fmt.Sprintf("%s (%s)", k.key(), k.Type)
	}
	return fmt.Sprintf("%s (%s, %d bits)", k.key(), k.Type, k.Bits)
}

func place(address, port string) string {
	if address == "" {
		return "-"
	}
	return address + " port " + port
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func stamp(t time.Time, zero string) string {
	if t.IsZero() {
		return zero
	}
	return t.Format(time.RFC3339)
}

// CSVHead names the columns of CSV. One that is added comes at the end.
func CSVHead() []string {
	return []string{
		"kind", "time", "end", "end_told_by", "host", "machine", "boot", "pid", "user", "address", "port", "reason",
		"caller", "request", "instance", "fingerprint", "fingerprint_md5", "key_type", "outcome",
		"called_from", "called_by", "called_with", "id", "key_bits", "would_refuse",
	}
}

// CSV writes the report as rows of the kinds that CSVRow takes.
func (r *Report) CSV(out io.Writer) error {
	w := csv.NewWriter(out)
	err := w.Write(CSVHead())
	for _, row := range r.Rows() {
		if row.Kind != output.Summary && err == nil {
			err = w.Write(CSVRow(row))
		}
	}
	w.Flush()
	return errors.Join(err, w.Error())
}

// CSVRow returns the cells of a row of the kinds session, console, unused, unknown and
// refusal. No cell is one that a spreadsheet would compute.
func CSVRow(row output.Row) []string {
	cells := map[string]string{"kind": row.Kind}
	switch value := row.Value.(type) {
	case *Session:
		value.cells(cells)
	case *Offer:
		fillCells(cells, value.Time, value.Where, value.Key, value.Push)
		cells["user"], cells["address"], cells["port"], cells["outcome"] = value.User, value.Address, value.Port, value.why()
		cells["caller"], cells["request"] = value.Caller, value.Request
	case *Refusal:
		fillCells(cells, value.Time, value.Where, value.Key, value.Push)
		cells["user"], cells["reason"], cells["outcome"] = value.User, value.Reason, value.Message
		cells["caller"], cells["request"] = value.Caller, value.Request
	}
	var line []string
	for _, column := range CSVHead() {
		line = append(line, output.Inert(cells[column]))
	}
	return line
}

func (s *Session) cells(cells map[string]string) {
	fillCells(cells, s.Start, s.Where, s.Key, s.push())
	if s.End != nil {
		cells["end"] = s.End.Format(time.RFC3339Nano)
	}
	cells["id"], cells["end_told_by"], cells["user"], cells["address"], cells["port"], cells["reason"] = s.ID, s.EndTold, s.User, s.Address, s.Port, s.Reason
	cells["caller"], cells["request"] = bare(s.callerText()), bare(s.requestText())
}

func fillCells(cells map[string]string, t time.Time, where Where, k Key, push Push) {
	cells["time"], cells["host"], cells["machine"], cells["boot"], cells["pid"] = t.Format(time.RFC3339Nano), where.Host, where.Machine, where.Boot, fmt.Sprint(where.PID)
	cells["fingerprint"], cells["fingerprint_md5"], cells["key_type"], cells["instance"], cells["would_refuse"] = k.Fingerprint, k.FingerprintMD5, k.Type, push.Instance, push.WouldRefuse
	if k.Bits > 0 {
		cells["key_bits"] = strconv.Itoa(k.Bits)
	}
	if trail := push.Trail; trail != nil {
		cells["called_from"], cells["called_by"], cells["called_with"] = trail.SourceIP, trail.Principal, trail.UserAgent
	}
}

func bare(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

// offers returns those that opened no session and those whose outcome is unknown.
func (r *Report) offers() iter.Seq2[string, []*Offer] {
	return func(yield func(string, []*Offer) bool) {
		_ = yield(kindUnused, r.Unused) && yield(kindUnknown, r.Unknown)
	}
}

// Rows returns the sessions, offers and refusals, and what is left of the
// report.
func (r *Report) Rows() []output.Row {
	var rows []output.Row
	for _, s := range r.Sessions {
		kind := kindSession
		if s.Console {
			kind = kindConsole
		}
		rows = append(rows, output.Row{Kind: kind, Value: s})
	}
	for kind, offers := range r.offers() {
		for _, o := range offers {
			rows = append(rows, output.Row{Kind: kind, Value: o})
		}
	}
	for _, o := range r.Refusals {
		rows = append(rows, output.Row{Kind: kindRefusal, Value: o})
	}
	return append(rows, r.Summary())
}

// Summary returns the row with what is left of the report.
func (r *Report) Summary() output.Row {
	return output.Row{Kind: output.Summary, Value: r, Without: []string{"sessions", "unused", "unknown", "refusals"}}
}

// Rows returns the decisions, and what is left of the answer.
func (a *Answer) Rows() []output.Row {
	var rows []output.Row
	for _, d := range a.Decisions {
		rows = append(rows, output.Row{Kind: "decision", Value: d})
	}
	return append(rows, output.Row{Kind: output.Summary, Value: a, Without: []string{"decisions"}})
}
