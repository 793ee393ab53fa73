package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/ctl/sessions"
)

func TestProgress(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	filter := sessions.Filter{Until: begin.Add(100 * time.Second)}
	read := func(p *progress) {
		for i := range 1024 {
			p.record(begin.Add(time.Duration(i+1) * 10 * time.Second / 256))
		}
	}

	// A pipe and a file get nothing, a terminal does.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if p := newProgress(w, sessions.Source{}, filter, begin); p.w != nil {
		t.Error("a pipe is taken for a terminal")
	}
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	terminal := os.NewFile(uintptr(fd), "ptmx")
	defer terminal.Close()
	p := newProgress(terminal, sessions.Source{}, filter, begin)
	if p.w == nil {
		t.Error("a terminal is not taken for one")
	}

	var b strings.Builder
	p.w = &b
	read(p)
	p.done()
	if b.Len() != 0 {
		t.Errorf("shown at once: %q", b.String())
	}
	p = newProgress(terminal, sessions.Source{}, filter, begin)
	p.w, p.begun = &b, time.Now().Add(-time.Minute)
	read(p)
	p.done()
	if got, want := b.String(), "\r\x1b[Keicctl: 256 records read\r\x1b[K"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := p.line(begin.Add(35*time.Second), p.begun.Add(time.Minute)), "1024 records read, 27% of the time from 2026-03-01 12:00:10, about 2m36s left"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
