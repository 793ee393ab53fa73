package serialgate

import (
	"time"

	"golang.org/x/sys/unix"
)

// An input follows when a terminal was last typed at.
type input struct {
	last time.Time // as far as is known
	seen time.Time // the time of access that was last read
	at   time.Time // when it was
}

// observe takes the time of access of the terminal, read at the time now, and
// reports whether there was input since the last observation. The time may be of
// another clock than now: between two observations the clock may have been set.
func (i *input) observe(access, now time.Time) bool {
	changed := !access.Equal(i.seen)
	if changed {
		ago := now.Round(0).Sub(access)
		i.last = now.Add(-min(max(ago, 0), now.Sub(i.at)))
	}
	i.seen, i.at = access, now
	return changed
}

// inputTime returns when the terminal was last read from, as w(1) takes it: output
// is no sign of somebody being there. The kernel keeps it with a granularity of 8
// seconds. It is zero where there is no terminal.
func inputTime(path string) time.Time {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return time.Time{}
	}
	return time.Unix(st.Atim.Unix())
}
