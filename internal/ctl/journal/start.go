package journal

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/hostcmd"
)

// A Start is the first record that a journal has of a machine.
type Start struct {
	Host    string // its name then
	Machine string
	Time    time.Time
}

// maxStarts bounds the machines that are looked at, each by a run of journalctl.
const maxStarts = 64

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
	complete = len(machines) <= maxStarts
	for _, machine := range machines[:min(len(machines), maxStarts)] {
		start, err := startOf(ctx, directory, machine)
		if err != nil {
			return nil, false, err
		}
		starts = append(starts, start)
	}
	slices.SortFunc(starts, func(a, b Start) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Machine, b.Machine)) })
	return starts, complete, nil
}

var errEnough = errors.New("enough")

func startOf(ctx context.Context, directory, machine string) (s Start, err error) {
	q := Query{Directory: directory, Matches: []string{"_MACHINE_ID=" + machine}}
	first := func(r Record) error {
		s = Start{r.Text("_HOSTNAME"), machine, r.Time()}
		return errEnough
	}
	_, err = run(ctx, "journalctl", q.arguments(true), q, first)
	if errors.Is(err, errArguments) {
		_, err = run(ctx, "journalctl", q.arguments(false), q, first)
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return s, err
}
