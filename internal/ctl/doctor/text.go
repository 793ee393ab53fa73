package doctor

import (
	"fmt"
	"strings"

	"github.com/eic-agent/eic-agent/internal/ctl/output"
)

// Text writes the report for people: first the answer, then what it rests on.
func (r Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", r.answer())
	area := ""
	for _, f := range r.Findings {
		if f.Area != area {
			area = f.Area
			fmt.Fprintf(&b, "\n%s\n", area)
		}
		fmt.Fprintf(&b, "  %-7s  %s: %s\n", mark(f.Status), f.ID, f.Text)
		if f.Fix != "" {
			label := "hint"
			if f.Command {
				label = "fix"
			}
			fmt.Fprintf(&b, "           %s: %s\n", label, f.Fix)
		}
	}
	return b.String()
}

// Rows returns the findings, and what is left of the report.
func (r Report) Rows() []output.Row {
	var rows []output.Row
	for _, f := range r.Findings {
		rows = append(rows, output.Row{Kind: "finding", Value: f})
	}
	return append(rows, output.Row{Kind: output.Summary, Value: r, Without: []string{"findings"}})
}

func (r Report) answer() string {
	what := "this host"
	if r.User != "" {
		what = fmt.Sprintf("user %q", r.User)
	}
	switch {
	case r.Problems > 0:
		return fmt.Sprintf("%s: %s, %d unknown, %d ok", what, output.Count(r.Problems, "problem"), r.Unknown, r.OK)
	case r.Unknown > 0:
		return fmt.Sprintf("%s: no problem found, %d unknown, %d ok", what, r.Unknown, r.OK)
	}
	return fmt.Sprintf("%s: no problem found, %d ok", what, r.OK)
}

func mark(status string) string {
	switch status {
	case OK:
		return "ok"
	case Problem:
		return "PROBLEM"
	}
	return "?"
}
