package main

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/output"
	"github.com/eic-agent/eic-agent/internal/ctl/sessions"
)

// isStream reports whether a format has a line for each row.
func isStream(format string) bool {
	return format == output.Lines || format == output.CSV || format == output.OCSF
}

// A rowWriter prints the rows of eicctl audit in a format of lines.
type rowWriter struct {
	format string
	out    *bufio.Writer
	csv    *csv.Writer
	stderr io.Writer
	begun  bool
}

func newRowWriter(cmd *cobra.Command) *rowWriter {
	w := &rowWriter{format: outputFormat(cmd), out: bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10), stderr: cmd.ErrOrStderr()}
	w.csv = csv.NewWriter(w.out)
	return w
}

// write prints a row. Of CSV and OCSF the summary goes to standard error; OCSF has
// sessions alone.
func (w *rowWriter) write(row output.Row) error {
	report, isSummary := row.Value.(*sessions.Report)
	if isSummary && w.format != output.Lines {
		w.remarks(report)
		return nil
	}
	switch w.format {
	case output.OCSF:
		s, ok := row.Value.(*sessions.Session)
		for _, kind := range []audit.Kind{audit.SessionOpened, audit.SessionClosed} {
			if !ok {
				continue
			}
			line, err := s.OCSF(kind)
			if err == nil {
				_, err = w.out.WriteString(line)
			}
			if err != nil {
				return unwritten(err)
			}
		}
		return nil
	case output.CSV:
		w.head()
		return unwritten(w.csv.Write(sessions.CSVRow(row)))
	}
	line, err := output.Line(row)
	if err != nil {
		return outcome{code: exitUnknown, err: err}
	}
	_, err = w.out.WriteString(line)
	return unwritten(err)
}

// head prints the names of CSV's columns, once.
func (w *rowWriter) head() {
	if !w.begun && w.format == output.CSV {
		_ = w.csv.Write(sessions.CSVHead()) // the next write has its error
	}
	w.begun = true
}

// flush prints what is not printed yet. Rows without their end are all that there is where
// reading failed.
func (w *rowWriter) flush() error {
	w.csv.Flush()
	return unwritten(w.out.Flush())
}

// finish ends the rows.
func (w *rowWriter) finish() error {
	w.head()
	return w.flush()
}

// remarks prints what is not about one session, offer or refusal.
func (w *rowWriter) remarks(report *sessions.Report) {
	for _, remark := range append(report.Gaps(), report.Remarks()...) {
		fmt.Fprintf(w.stderr, "%s: note: %s\n", program, remark)
	}
}
