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
)

// convert runs the commands of docs/fleet.md that make Parquet files for Security Lake of the
// events of the journals, and compares what they hold with the events.
func convert(ctx context.Context, dir, journals string) error {
	text, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	commands := regexp.MustCompile(`(?m)^    eicctl audit .*--output ocsf > ocsf\.jsonl\n(?:    duckdb .*\n(?:        .*\n)*)`).FindString(string(text))
	if commands == "" {
		return fmt.Errorf("%s has no commands for Parquet", document)
	}
	for old, now := range map[string]string{"/var/log/journal/remote": journals, "--since yesterday --until today": "--since @0"} {
		if !strings.Contains(commands, old) {
			return fmt.Errorf("the commands for Parquet have no %s", old)
		}
		commands = strings.ReplaceAll(commands, old, now)
	}
	programs, err := filepath.Abs(filepath.Dir(eicctl))
	if err != nil {
		return err
	}
	shell := func(script string) (string, error) {
		cmd := exec.CommandContext(ctx, "sh", "-euc", script)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+programs+":"+os.Getenv("PATH"))
		out, err := cmd.Output()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return strings.TrimSpace(string(out)), err
	}
	if _, err := shell(commands); err != nil {
		return fmt.Errorf("the commands for Parquet: %w", err)
	}
	const from = "'eic-agent/region=us-east-1/accountId=123456789012/eventDay=20231114/*.parquet'"
	digest := func(source string) (string, error) {
		return shell(`duckdb -c "SELECT concat_ws(' ', count(*), count(DISTINCT session.uid), count(DISTINCT actor.user.uid), min(time), max(time)) FROM ` + source + `"`)
	}
	want, err := digest("read_json_auto('ocsf.jsonl') WHERE strftime(make_timestamp_ms(time), '%Y%m%d') = '20231114'")
	if err != nil {
		return err
	}
	got, err := digest("read_parquet(" + from + ")")
	if err != nil {
		return err
	}
	fmt.Printf("\nParquet for Security Lake\n  events, sessions, principals, first, last: %s\n", got)
	if got != want || strings.HasPrefix(got, "0 ") {
		return fmt.Errorf("the Parquet files hold %q, the events %q", got, want)
	}
	return nil
}
