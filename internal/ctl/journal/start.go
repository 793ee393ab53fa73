package journal

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/eic-agent/eic-agent/internal/hostcmd"
)

// A Start is the first record that a journal has of a machine.
type Start struct {
	Host    string // its name then
	Machine string
	Time    time.Time
}

const (
	// maxHead is how many records are read to find the first of each machine.
	maxHead = 20_000
	// maxStarts bounds the machines beyond those that are looked for by themselves, each
	// by a run of journalctl, which takes 40 ms in a directory of 200 machines.
	maxStarts = 256
	lookers   = 4 // runs at a time
)

// Starts returns since when a journal has records of each of its machines, in the
// order of time. complete is false where it has more machines than are looked at.
func Starts(ctx context.Context, directory string) (starts []Start, complete bool, err error) {
	args := append([]string{"--no-pager", "--field=_MACHINE_ID"}, of(directory)...)
	out, err := hostcmd.Output(ctx, "journalctl", args...)
	if err != nil {
		return nil, false, err
	}
	machines := strings.Fields(out)
	slices.Sort(machines) // which stays the same from one time to the next
	read := 0
	err = first(ctx, Query{Directory: directory}, func(r *Record) error {
		if i, found := slices.BinarySearch(machines, r.intern(fieldMachine)); found {
			starts = append(starts, Start{r.Text("_HOSTNAME"), machines[i], r.Time()})
			machines = slices.Delete(machines, i, i+1)
		}
		if read++; len(machines) == 0 || read == maxHead {
			return errEnough
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	complete = len(machines) <= maxStarts
	machines = machines[:min(len(machines), maxStarts)]
	more, errs := make([]Start, len(machines)), make([]error, lookers)
	var wg sync.WaitGroup
	for looker := range lookers {
		wg.Go(func() {
			for i := looker; i < len(machines) && errs[looker] == nil; i += lookers {
				q := Query{Directory: directory, Matches: []string{"_MACHINE_ID=" + machines[i]}}
				errs[looker] = first(ctx, q, func(r *Record) error {
					more[i] = Start{r.Text("_HOSTNAME"), machines[i], r.Time()}
					return errEnough
				})
			}
		})
	}
	wg.Wait()
	if err := cmp.Or(errs...); err != nil {
		return nil, false, err
	}
	for _, start := range more {
		if start.Machine != "" {
			starts = append(starts, start)
		}
	}
	slices.SortFunc(starts, func(a, b Start) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Machine, b.Machine)) })
	return starts, complete, nil
}

var errEnough = errors.New("enough")

// first reads records until each returns errEnough.
func first(ctx context.Context, q Query, each func(*Record) error) error {
	_, err := run(ctx, "journalctl", q.arguments(), q, each)
	if errors.Is(err, errEnough) {
		err = nil
	}
	return err
}

// End returns the time of the last record of a journal.
func End(ctx context.Context, directory string) (end time.Time, err error) {
	args := append([]string{"--no-pager", "--output=export", "--lines=1"}, of(directory)...)
	_, err = run(ctx, "journalctl", args, Query{Directory: directory}, func(r *Record) error {
		end = r.Time()
		return nil
	})
	return end, err
}
