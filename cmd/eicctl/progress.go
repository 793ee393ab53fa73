package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/ctl/sessions"
)

const (
	// silentTime is how long a command may take before it shows how far it is.
	silentTime = 2 * time.Second
	// progressTime is the time between two lines.
	progressTime = 200 * time.Millisecond
)

// A progress shows on a terminal how much of the journal was read.
type progress struct {
	w         io.Writer // nil: there is no terminal
	directory string
	begun     time.Time
	shown     time.Time // zero: nothing was shown
	records   int
	first, to time.Time // of the records
}

// newProgress returns one that shows nothing where stderr is no terminal.
func newProgress(stderr io.Writer, source sessions.Source, filter sessions.Filter, now time.Time) *progress {
	p := &progress{directory: source.Directory, begun: time.Now(), to: filter.Until}
	if p.to.IsZero() && source.Directory == "" {
		p.to = now
	}
	if file, ok := stderr.(*os.File); ok && isTerminal(file) {
		p.w = stderr
	}
	return p
}

func isTerminal(file *os.File) bool {
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}

// record takes the time of the next record.
func (p *progress) record(t time.Time) {
	p.records++
	if p.w == nil || p.records%256 != 0 {
		return
	}
	if p.first.IsZero() {
		p.first = t
	}
	now := time.Now()
	if now.Sub(p.begun) < silentTime || now.Sub(p.shown) < progressTime {
		return
	}
	if p.to.IsZero() { // asked for only where it is shown
		p.to = t
		if end, err := journal.End(context.Background(), p.directory); err == nil {
			p.to = end
		}
	}
	p.shown = now
	fmt.Fprintf(p.w, "\r\x1b[K%s: %s", program, p.line(t, now))
}

// line says how far the reading is at a record of time t.
func (p *progress) line(t, now time.Time) string {
	line := fmt.Sprintf("%d records read", p.records)
	all, done := p.to.Sub(p.first), t.Sub(p.first)
	if all <= 0 || done <= 0 || done > all {
		return line
	}
	share := float64(done) / float64(all)
	left := time.Duration(float64(now.Sub(p.begun)) * (1 - share) / share)
	return fmt.Sprintf("%s, %d%% of the time from %s, about %s left", line, int(share*100), p.first.Format(time.DateTime), left.Round(time.Second))
}

// done takes the line away.
func (p *progress) done() {
	if !p.shown.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = time.Time{}
	}
}
