package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/vm/machine"
)

// A report is what eicctl doctor prints.
type report struct {
	Well     int `json:"ok"`
	Findings []finding
}

type finding struct{ ID, Status, Text, Fix string }

func (w *world) examine() (report, error) {
	out, err := w.Root("eicctl doctor --json alice 2>/dev/null", time.Minute)
	if exit := (*machine.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return report{}, err
	}
	var r report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		return report{}, fmt.Errorf("%w: %q", err, out)
	}
	return r, nil
}

// doctor shows that eicctl doctor is content with a working instance.
func doctor(w *world) (string, error) {
	var r report
	// On a busy machine a program that it asks may not answer in time.
	if err := w.eventually("every program answers in time", func() (bool, error) {
		var err error
		r, err = w.examine()
		return !slices.ContainsFunc(r.Findings, func(f finding) bool { return strings.Contains(f.Text, "timed out") }), err
	}); err != nil {
		return "", err
	}
	var faults []error
	for _, f := range r.Findings {
		// Nothing here keeps the clock right.
		if f.Status != "ok" && f.Status != "not-applicable" && f.ID != "clock-sync" {
			faults = append(faults, fmt.Errorf("%s: %s: %s", f.ID, f.Status, f.Text))
		}
	}
	if len(faults) > 0 {
		return "", errors.Join(faults...)
	}
	if r.Well < 20 {
		return "", fmt.Errorf("it has looked at %d things only: %v", r.Well, r.Findings)
	}
	return fmt.Sprintf("%d things are well", r.Well), nil
}

// audit shows that eicctl audit joins sshd's sessions to the pushes.
func audit(w *world) (string, error) {
	out, err := w.Root("journalctl --sync && eicctl audit --user alice --json", time.Minute)
	if err != nil {
		return "", err
	}
	var report struct {
		Sessions []struct {
			User, Address, Caller, Request string
			End                            time.Time
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		return "", fmt.Errorf("%w: %q", err, out)
	}
	n := 0
	for _, s := range report.Sessions {
		if s.Request != w.requests[0] {
			continue
		}
		n++
		if s.User != "alice" || s.Caller != emulator.DefaultCallerARN || s.Address == "" || s.End.IsZero() {
			return "", fmt.Errorf("it says %+v", s)
		}
	}
	if n != 2 {
		return "", fmt.Errorf("it has %d sessions of the push %s, want 2: %s", n, w.requests[0], out)
	}
	return "", nil
}
