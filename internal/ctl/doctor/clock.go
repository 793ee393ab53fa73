package doctor

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxOffset is how far this host's clock may be off without a word. A pushed key
// lives for a minute.
const maxOffset = 5 * time.Second

// A clock is how this host's clock compares.
type clock struct {
	known  bool          // the metadata service gave the time
	offset time.Duration // of this host's: positive where it is ahead
	synced bool          // the kernel says that something keeps it
	state  string        // of the synchronisation, in words
}

// wrong reports whether what is decided by time is not to be believed.
func (c clock) wrong() bool { return c.known && c.offset.Abs() > maxOffset }

// readClock compares with what the metadata service says.
func (e *exam) readClock() clock {
	p := e.probe()
	var c clock
	if contact := p.Contact; !contact.Date.IsZero() {
		c.known, c.offset = true, offset(contact.Before, contact.After, contact.Date)
	}
	c.synced, c.state = synchronised()
	if !c.synced {
		// Without rtcsync chrony does not tell the kernel.
		if out, err := run(e.ctx, "chronyc", "-c", "-n", "tracking"); err == nil && strings.HasSuffix(strings.TrimSpace(out), ",Normal") {
			c.synced, c.state = true, "chrony reports that the clock is synchronized"
		}
	}
	return c
}

// offset returns the least by which a clock is off that read before and after
// around an answer of this date, which has no fractions of a second.
func offset(before, after, date time.Time) time.Duration {
	switch {
	case before.After(date.Add(time.Second)):
		return before.Sub(date.Add(time.Second))
	case after.Before(date):
		return after.Sub(date)
	}
	return 0
}

// synchronised reports whether the kernel considers its clock synchronized.
func synchronised() (bool, string) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return false, "adjtimex: " + err.Error()
	}
	if t.Status&unix.STA_UNSYNC != 0 {
		return false, "the kernel reports that the clock is not synchronized"
	}
	return true, fmt.Sprintf("the kernel reports that the clock is synchronized, maximum error %v", time.Duration(t.Maxerror)*time.Microsecond)
}

func checkClock(e *exam, f *findings) {
	p, c := e.probe(), e.clock()
	fix := e.clockFix()
	switch {
	case !c.known && p.unreached() != "":
		f.unknown("clock", "%s", because(p.unreached()))
	case !c.known:
		f.unknown("clock", "the metadata service does not return the time")
	case c.wrong() && c.offset > 0:
		f.problem(clockAhead, fix, "this host's clock is %v ahead of the metadata service's, so pushed keys expire that much too early; %s", c.offset.Round(time.Second), c.state)
	case c.wrong():
		f.problem(clockBehind, fix, "this host's clock is %v behind the metadata service's, so pushed keys seem to live that much too long; %s", -c.offset.Round(time.Second), c.state)
	default:
		f.ok("clock", "this host's clock agrees with the metadata service's")
	}
	switch {
	case c.wrong():
	case c.synced:
		f.ok("clock-sync", "%s", c.state)
	default:
		f.unknown("clock-sync", "%s (see timedatectl)", c.state)
	}
}

// clockFix sets the clock by what keeps it here.
func (e *exam) clockFix() fix {
	if _, err := run(e.ctx, "chronyc", "-n", "tracking"); err == nil {
		return shell("chronyc makestep")
	}
	if _, err := os.Stat("/run/systemd/system"); err == nil && present("timedatectl") {
		return shell("timedatectl set-ntp true")
	}
	return advice("install chrony; EC2's own time source is 169.254.169.123")
}
