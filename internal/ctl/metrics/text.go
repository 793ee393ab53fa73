package metrics

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/eic-agent/eic-agent/internal/ctl/output"
)

// Text writes the metrics in Prometheus's text format, version 0.0.4.
func (s *Snapshot) Text() string {
	var b strings.Builder
	for _, m := range s.Metrics {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", m.Name, m.Help, m.Name, m.Type)
		for _, sample := range m.Samples {
			b.WriteString(m.Name)
			for i, l := range sample.Labels {
				b.WriteString(map[bool]string{true: "{", false: ","}[i == 0])
				fmt.Fprintf(&b, `%s="%s"`, l.Name, escape(l.Value))
			}
			if len(sample.Labels) > 0 {
				b.WriteString("}")
			}
			b.WriteString(" " + strconv.FormatFloat(sample.Value, 'f', -1, 64) + "\n")
		}
	}
	return b.String()
}

func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s)
}

// Rows returns the metrics.
func (s *Snapshot) Rows() []output.Row {
	var rows []output.Row
	for _, m := range s.Metrics {
		rows = append(rows, output.Row{Kind: "metric", Value: m})
	}
	return append(rows, output.Row{Kind: output.Summary, Value: s, Without: []string{"metrics"}})
}
