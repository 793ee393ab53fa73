package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"

	ctl "github.com/eic-agent/eic-agent/internal/ctl/sessions"
)

// audit asks eicctl.
func audit(ctx context.Context, journals string) (*ctl.Report, error) {
	out, err := exec.CommandContext(ctx, eicctl, "audit", "--directory", journals, "--since", "@0", "--json").Output()
	if err != nil {
		return nil, fmt.Errorf("eicctl audit: %w", err)
	}
	var report ctl.Report
	return &report, json.Unmarshal(out, &report)
}

// documented returns the queries of a document: blocks that begin with "# NAME".
func documented(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	queries := make(map[string]string)
	for _, m := range regexp.MustCompile(`(?m)^    # ([a-z -]+)\n((?:    .*\n)+)`).FindAllStringSubmatch(string(text), -1) {
		queries[m[1]] = strings.ReplaceAll(m[2], "\n    ", "\n")
	}
	return queries, nil
}

// A question is asked of both.
type question struct {
	name string
	rows func([]row) []string       // of VictoriaLogs' answer
	want func(*ctl.Report) []string // of eicctl's
}

// opsUser is one of the fleet's principals.
const opsUser = "arn:aws:sts::123456789012:assumed-role/ops/user7"

func questions() []question {
	return []question{
		{"sessions of a principal", columns("_HOSTNAME", "EIC_USER", "address", "EIC_REQUEST_ID"), sessionsOf(func(s *ctl.Session) bool { return s.Caller == opsUser })},
		{"all sessions", columns("_HOSTNAME", "EIC_USER", "address", "EIC_REQUEST_ID"), sessionsOf(func(*ctl.Session) bool { return true })},
		{"pushes never used", columns("_HOSTNAME", "EIC_USER", "EIC_REQUEST_ID"), func(r *ctl.Report) (list []string) {
			for _, o := range append(r.Unused, r.Unknown...) {
				list = append(list, line(o.Host, o.User, o.Request))
			}
			return list
		}},
		{"one key on many hosts", columns("EIC_FINGERPRINT", "hosts"), func(r *ctl.Report) (list []string) {
			hosts := make(map[string]map[string]bool)
			for _, s := range r.Sessions {
				if hosts[s.Fingerprint] == nil {
					hosts[s.Fingerprint] = make(map[string]bool)
				}
				hosts[s.Fingerprint][s.Machine] = true
			}
			for key, on := range hosts {
				if len(on) > 3 {
					list = append(list, line(key, fmt.Sprint(len(on))))
				}
			}
			return list
		}},
		{"sessions without a call in cloudtrail", columns("_HOSTNAME", "EIC_USER", "address", "EIC_REQUEST_ID"), sessionsOf(func(s *ctl.Session) bool {
			var n int
			_, err := fmt.Sscanf(s.Request, "00000000-0000-4000-8000-%d", &n)
			return err != nil || n >= trailed
		})},
		{"refusals by reason", columns("EIC_REASON", "refusals"), func(r *ctl.Report) []string {
			counts := make(map[string]int)
			for _, refusal := range r.Refusals {
				counts[refusal.Reason]++
			}
			return counted(counts)
		}},
		{"hosts whose agent fails", failedByReason, func(r *ctl.Report) []string { return counted(r.Failed) }},
	}
}

// failedByReason adds up the hosts, which eicctl does not tell apart.
func failedByReason(rows []row) []string {
	counts := make(map[string]int)
	for _, r := range rows {
		n, _ := strconv.Atoi(r["runs"])
		counts[r["EIC_REASON"]] += n
	}
	return counted(counts)
}

func counted(counts map[string]int) (list []string) {
	for _, word := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, line(word, fmt.Sprint(counts[word])))
	}
	return list
}

func sessionsOf(wanted func(*ctl.Session) bool) func(*ctl.Report) []string {
	return func(r *ctl.Report) (list []string) {
		for _, s := range r.Sessions {
			if wanted(s) {
				list = append(list, line(s.Host, s.User, s.Address, s.Request))
			}
		}
		return list
	}
}

func columns(names ...string) func([]row) []string {
	return func(rows []row) (list []string) {
		for _, r := range rows {
			var values []string
			for _, name := range names {
				values = append(values, r[name])
			}
			list = append(list, line(values...))
		}
		return list
	}
}

func line(values ...string) string { return strings.Join(values, "  ") }

func equal(got, want []string) bool {
	slices.Sort(got)
	slices.Sort(want)
	return slices.Equal(got, want) && len(want) > 0
}

// show prints some of two lists, and what only one of them has.
func show(got, want []string) {
	for _, l := range got[:min(len(got), 3)] {
		fmt.Println("   ", l)
	}
	shown := 0
	for _, pair := range []struct {
		name string
		a, b []string
	}{{"only VictoriaLogs", got, want}, {"only eicctl", want, got}} {
		for _, l := range pair.a {
			if !slices.Contains(pair.b, l) && shown < 10 {
				shown++
				fmt.Printf("    %s: %s\n", pair.name, l)
			}
		}
	}
}
