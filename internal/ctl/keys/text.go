package keys

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/output"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// Text writes the report for people: first the answer, then what it rests on.
func (r Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", r.answer())
	if r.SSHDUser != "" {
		fmt.Fprintf(&b, "sshd      requests keys for %q, the name of %q on this host\n", r.SSHDUser, r.User)
	}
	fmt.Fprintf(&b, "instance  %s\n", r.Instance.text())
	fmt.Fprintf(&b, "time      %s\n", r.Time.Format(time.RFC3339))
	if r.ReadLimit > 0 {
		fmt.Fprintf(&b, "list      cut off at %d KiB (%s): the records beyond are not read\n  hint    %s\n", r.ReadLimit>>10, reason.OverLimit, reason.OverLimit.Hint())
	}
	for _, limit := range r.Login {
		fmt.Fprintf(&b, "sshd      %s: %s\n", strings.ToUpper(string(limit.Status)), limit.Text)
		if limit.Fix != "" {
			fmt.Fprintf(&b, "  fix     %s\n", limit.Fix)
		}
	}
	for i, record := range r.Records {
		fmt.Fprintf(&b, "\nrecord %d of %d: %s\n", i+1, len(r.Records), record.answer())
		record.writeTo(&b)
	}
	if r.Signer != nil {
		b.WriteString("\n")
		r.Signer.writeTo(&b)
	}
	return b.String()
}

// Rows returns the records, and what is left of the report.
func (r Report) Rows() []output.Row {
	var rows []output.Row
	for _, record := range r.Records {
		rows = append(rows, output.Row{Kind: "record", Value: record})
	}
	return append(rows, output.Row{Kind: output.Summary, Value: r, Without: []string{"records"}})
}

func (r Report) answer() string {
	user := fmt.Sprintf("user %q", r.User)
	switch {
	case r.Granted > r.Accepted():
		return fmt.Sprintf("%s: %d of %d records would be granted, and sshd refuses %d of them", user, r.Granted, len(r.Records), r.Granted-r.Accepted())
	case r.Granted > 0:
		return fmt.Sprintf("%s: %d of %d records would be granted", user, r.Granted, len(r.Records))
	case r.Error != nil:
		return fmt.Sprintf("%s: cannot determine the keys (%s)", user, r.Error.Reason)
	case r.Nothing != "":
		return fmt.Sprintf("%s: no key would be granted: %s", user, r.Nothing)
	}
	return fmt.Sprintf("%s: none of %d records would be granted", user, len(r.Records))
}

func (i Instance) text() string {
	id := cmp.Or(i.ID, "unknown")
	switch i.Source {
	case "board":
		return id + ", from the board"
	case "xen":
		return id + ", from the metadata service (Xen)"
	case "imds":
		return id + `, from the metadata service (attest = "imds")`
	}
	return id
}

func (r Record) answer() string {
	text := "unknown"
	switch {
	case r.Granted:
		text = "granted"
	case r.Refusal != nil:
		text = fmt.Sprintf("refused (%s)", r.Refusal.Reason)
	}
	if r.Repeats {
		text += ", the same record once more"
	}
	return text
}

func (r Record) writeTo(b *strings.Builder) {
	if r.Fingerprint != "" {
		fmt.Fprintf(b, "  key        %s %s\n", r.KeyType, r.Fingerprint)
	}
	claimed := ""
	if !r.Proved {
		claimed = "  (unverified)"
	}
	fmt.Fprintf(b, "  caller     %s%s\n", cmp.Or(r.Caller, "none"), claimed)
	fmt.Fprintf(b, "  request    %s%s\n", cmp.Or(r.Request, "none"), claimed)
	if r.Expires != nil {
		fmt.Fprintf(b, "  expires    %s%s\n", r.Expires.Format(time.RFC3339), claimed)
	}
	for _, c := range r.Checks {
		switch c.Verdict {
		case OK:
			fmt.Fprintf(b, "  %-10s ok: %s\n", c.Check, c.Detail)
		case Refused:
			fmt.Fprintf(b, "  %-10s REFUSED%s: %s\n", c.Check, inParentheses(c.Reason), c.Detail)
		case WouldRefuse:
			fmt.Fprintf(b, "  %-10s would refuse%s: %s, but [users] enforce is false\n", c.Check, inParentheses(c.Reason), c.Detail)
		default:
			fmt.Fprintf(b, "  %-10s %s\n", c.Check, strings.TrimSuffix("not checked: "+c.Detail, ": "))
		}
		if c.Fix != "" {
			fmt.Fprintf(b, "  fix        %s\n", c.Fix)
		}
	}
	if r.Refusal != nil {
		fmt.Fprintf(b, "  hint       %s\n", r.Refusal.Hint)
	}
}

func inParentheses(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

func (s Signer) writeTo(b *strings.Builder) {
	if s.Fault != nil {
		fmt.Fprintf(b, "signer: NOT VERIFIED (%s): %s\n  hint         %s\n", s.Fault.Reason, s.Fault.Detail, s.Fault.Hint)
	} else {
		fmt.Fprintf(b, "signer: verified, valid until %s\n", stamp(s.ValidUntil))
	}
	if s.Region != "" || s.Domain != "" {
		fmt.Fprintf(b, "  region       %s\n  domain       %s\n", s.Region, s.Domain)
	}
	for _, c := range s.Certificates {
		if c.Fault != nil {
			fmt.Fprintf(b, "  certificate  %s\n", c.Fault.Detail)
			continue
		}
		fmt.Fprintf(b, "  certificate  %s\n    issuer     %s\n    valid      %s to %s\n", c.Subject, c.Issuer, stamp(c.NotBefore), stamp(c.NotAfter))
	}
	for _, c := range s.Staples {
		fmt.Fprintf(b, "  staple       of %s\n", cmp.Or(c.Certificate, "no certificate above"))
		if c.NextUpdate != nil {
			fmt.Fprintf(b, "    valid      %s to %s\n", stamp(c.ThisUpdate), stamp(c.NextUpdate))
		}
		if c.Fault != nil {
			fmt.Fprintf(b, "    PROBLEM    %s\n", c.Fault.Detail)
		}
	}
}

func stamp(t *time.Time) string {
	if t == nil {
		return "an unknown time"
	}
	return t.Format(time.RFC3339)
}
