package sessions

import (
	"bytes"
	"testing"

	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/ctl/output"
	"github.com/eic-agent/eic-agent/test/journalfile"
)

// BenchmarkJoin takes apart and joins what journalctl prints of 10,000 records of 1,000
// sessions, and writes them as JSON lines.
func BenchmarkJoin(b *testing.B) {
	var export bytes.Buffer
	journalfile.Fleet{Hosts: 20, Sessions: 1000}.WriteExport(&export)
	b.SetBytes(int64(export.Len()))
	b.ReportAllocs()
	for b.Loop() {
		lines := 0
		c := newCollector(journal.Trust{}, Options{}, journalfile.Begin, func(row output.Row) error {
			line, err := output.Line(row)
			lines += len(line) / max(len(line), 1)
			return err
		})
		if err := journal.Decode(bytes.NewReader(export.Bytes()), c.add); err != nil {
			b.Fatal(err)
		}
		if _, err := c.finish(); err != nil || lines != 1000 {
			b.Fatalf("%d sessions, %v", lines, err)
		}
	}
}
