package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	ctl "github.com/eic-agent/eic-agent/internal/ctl/sessions"
	"github.com/eic-agent/eic-agent/test/host"
)

const (
	collector        = "bin/fleet/collector"
	collectorExample = "examples/otel-collector.yaml"
)

// collect has the OpenTelemetry Collector send the journals to a VictoriaLogs of its own, with the
// configuration in the examples, and compares the answers.
func collect(ctx context.Context, dir, journals string, queries map[string]string, report *ctl.Report) (err error) {
	text, err := os.ReadFile(collectorExample)
	if err != nil {
		return err
	}
	config := string(text)
	logs, err := startServer(ctx, filepath.Join(dir, "collected"))
	if err != nil {
		return err
	}
	defer logs.stop()
	place := filepath.Join(dir, "place")
	if err := os.Mkdir(place, 0o700); err != nil {
		return err
	}
	receiver := regexp.MustCompile(`(?m)^  journald:\n(?:    .*\n)+`).FindString(config)
	receivers, names, err := perHost(receiver, dir, journals)
	if err != nil {
		return err
	}
	for old, now := range map[string]string{
		"/var/lib/otelcol": place, "https://logs.example.com:9428": logs.url, receiver: receivers, "[journald]": "[" + names + "]",
	} {
		if old == "" || !strings.Contains(config, old) {
			return fmt.Errorf("%s has no %q", collectorExample, old)
		}
		config = strings.Replace(config, old, now, 1)
	}
	path := filepath.Join(dir, "collector.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return err
	}
	// It follows the journals until it is stopped.
	cmd := exec.CommandContext(ctx, collector, "--config", path)
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		cmd.Process.Signal(os.Interrupt)
		err = errors.Join(err, <-ended)
	}()
	start := time.Now()
	want, err := exec.CommandContext(ctx, "journalctl", "--directory="+journals, "--output=cat", "--output-fields=_PID", "--priority=info",
		"SYSLOG_IDENTIFIER=eic-authkeys", "SYSLOG_IDENTIFIER=eic-serial-getty", "SYSLOG_IDENTIFIER=eic-sessions", "SYSLOG_IDENTIFIER=sshd", "SYSLOG_IDENTIFIER=sshd-session").Output()
	if err != nil {
		return fmt.Errorf("journalctl: %w", err)
	}
	count := fmt.Sprint(strings.Count(string(want), "\n"))
	for got := ""; got != count; time.Sleep(100 * time.Millisecond) {
		rows, err := logs.query(ctx, "* | stats count() records")
		if err != nil {
			return err
		}
		if len(rows) == 1 {
			got = rows[0]["records"]
		}
		select {
		case err := <-ended:
			ended <- nil
			return fmt.Errorf("the collector ended: %v: %s", err, tail(said.String()))
		default:
		}
		if time.Since(start) > host.Patience {
			return fmt.Errorf("the collector has sent %s of %s records: %s", got, count, tail(said.String()))
		}
	}
	fmt.Printf("\nthe OpenTelemetry Collector sent %s records in %.1f s\n", count, time.Since(start).Seconds())
	if err := logs.addTrail(ctx); err != nil {
		return err
	}
	return logs.compare(ctx, queries, report)
}

// perHost returns the receiver once for each journal, as each host has its own: journalctl
// --follow does not read the journals of several hosts to the end.
func perHost(receiver, dir, journals string) (receivers, names string, err error) {
	files, err := filepath.Glob(journals + "/*.journal")
	if err != nil {
		return "", "", err
	}
	var list []string
	for i, file := range files {
		own := filepath.Join(dir, fmt.Sprint("host", i))
		if err := errors.Join(os.Mkdir(own, 0o755), os.Link(file, filepath.Join(own, filepath.Base(file)))); err != nil {
			return "", "", err
		}
		name := fmt.Sprint("journald/", i)
		receivers += strings.Replace(receiver, "  journald:\n", "  "+name+":\n    directory: "+own+"\n", 1)
		list = append(list, name)
	}
	return receivers, strings.Join(list, ", "), nil
}

func tail(text string) string { return text[max(0, len(text)-1000):] }
