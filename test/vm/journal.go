package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/test/vm/machine"
)

// A record is one record of the guest's journal, by field name.
type record map[string]any

func (r record) field(name string) string {
	s, _ := r[name].(string)
	return s
}

// records returns the records after the moment that match, such as
// "EIC_USER=alice".
func (w *world) records(after moment, matches ...string) ([]record, error) {
	// Not by --after-cursor, which leaves the first one out when the record at
	// the cursor does not match.
	command := "journalctl --sync && journalctl -q -b -o json --all --no-pager"
	for _, m := range matches {
		command += " " + machine.Quote(m)
	}
	out, err := w.Root(command, time.Minute)
	if err != nil {
		return nil, err
	}
	var records []record
	for decoder := json.NewDecoder(strings.NewReader(out)); decoder.More(); {
		var r record
		if err := decoder.Decode(&r); err != nil {
			return nil, fmt.Errorf("journalctl: %w in %q", err, out)
		}
		if r.received() > after {
			records = append(records, r)
		}
	}
	return records, nil
}

// A moment is a time of the guest's monotonic clock, in microseconds.
type moment int64

// received is when journald got the record.
func (r record) received() moment {
	n, _ := strconv.ParseInt(r.field("__MONOTONIC_TIMESTAMP"), 10, 64)
	return moment(n)
}

// now is the time of the guest's clock.
func (w *world) now() (moment, error) {
	out, err := w.Root("cut -d ' ' -f 1 /proc/uptime", time.Minute)
	if err != nil {
		return 0, err
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(out), 64)
	return moment(seconds * 1e6), err
}
