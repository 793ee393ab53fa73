// Fleet shows that VictoriaLogs answers what eicctl audit answers: recorded journals of 50
// emulated hosts, with 1,000 sessions and what a stranger writes among them, are uploaded
// by the real systemd-journal-upload and, into another VictoriaLogs, by an OpenTelemetry Collector. The queries are those of docs/fleet.md and
// examples/victorialogs-alerts.yml, word for word. DuckDB runs the commands there that make
// Parquet files for Security Lake.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	ctl "github.com/eic-agent/eic-agent/internal/ctl/sessions"
	"github.com/eic-agent/eic-agent/test/journalfile"
)

const (
	hosts    = 50
	sessions = 1000
	document = "docs/fleet.md"
	rules    = "examples/victorialogs-alerts.yml"
	server   = "bin/fleet/victoria-logs"
	eicctl   = "bin/fleet/eicctl"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "eic-fleet-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	journals := filepath.Join(dir, "journals")
	if err := os.Mkdir(journals, 0o755); err != nil {
		return err
	}
	if err := (journalfile.Fleet{Hosts: hosts, Sessions: sessions}).Write(journals); err != nil {
		return err
	}
	if err := writeFurther(journals); err != nil {
		return err
	}
	fmt.Printf("%d hosts, %d sessions, and what is not one\n", hosts, sessions)

	logs, err := startServer(ctx, filepath.Join(dir, "storage"))
	if err != nil {
		return err
	}
	defer logs.stop()
	if err := logs.upload(ctx, journals); err != nil {
		return err
	}
	if err := logs.addTrail(ctx); err != nil {
		return err
	}
	report, err := audit(ctx, journals)
	if err != nil {
		return err
	}
	queries, err := documented(document)
	if err != nil {
		return err
	}
	if err := logs.compare(ctx, queries, report); err != nil {
		return err
	}
	if err := logs.checkRules(ctx); err != nil {
		return err
	}
	if err := collect(ctx, dir, journals, queries, report); err != nil {
		return err
	}
	if err := convert(ctx, dir, journals); err != nil {
		return err
	}
	return nil
}

// compare asks every question of both.
func (l *logs) compare(ctx context.Context, queries map[string]string, report *ctl.Report) error {
	different := 0
	for _, q := range questions() {
		text, ok := queries[q.name]
		if !ok {
			return fmt.Errorf("%s has no query %q", document, q.name)
		}
		rows, err := l.query(ctx, text)
		if err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		got, want := q.rows(rows), q.want(report)
		verdict := "equal"
		if !equal(got, want) {
			verdict = "DIFFERENT"
			different++
		}
		fmt.Printf("\n%s\n  VictoriaLogs %d, eicctl %d: %s\n", q.name, len(got), len(want), verdict)
		show(got, want)
	}
	if different > 0 {
		return fmt.Errorf("%d of %d answers differ", different, len(questions()))
	}
	return nil
}
