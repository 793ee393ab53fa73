package serial

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/atomicfile"
	"github.com/eic-agent/eic-agent/internal/ctl/output"
)

// The unit that runs `eicctl serial check` at boot comes with the package. The link is what
// enables it: it has no [Install] section, which a preset could act on while the gate is off.
const (
	checkUnit = "/usr/lib/systemd/system/eic-serial-check.service"
	checkLink = "/etc/systemd/system/multi-user.target.wants/eic-serial-check.service"
)

// A Findings says why something else than the gate has the console, or may have it.
type Findings struct {
	Problems []Problem `json:"problems"`
}

// Rows returns a line for each problem.
func (f Findings) Rows() (rows []output.Row) {
	for _, p := range f.Problems {
		rows = append(rows, output.Row{Kind: "problem", Value: p})
	}
	return rows
}

// Text is a line for each problem, which is a record of the journal.
func (f Findings) Text() string {
	var b strings.Builder
	for _, p := range f.Problems {
		fmt.Fprintf(&b, "%s; %s\n", p.What, p.Hint)
	}
	return b.String()
}

// Check reports why the gate, although enabled, does not have the console. It waits up
// to a minute until systemd has started the getty.
func (s *System) Check(ctx context.Context) Findings {
	found := Findings{Problems: []Problem{}}
	if !s.checks() && !s.hasDropIn() {
		return found
	}
	s.awaitGetty(ctx)
	r := s.Status(ctx)
	for _, p := range r.Problems {
		switch {
		case r.failed != "" && p.What == r.failed:
			return Findings{Problems: []Problem{p}}
		case p.open:
			found.Problems = append(found.Problems, p)
		}
	}
	return found
}

// awaitGetty waits while the getty is a process of systemd's own, with a name in
// parentheses: those of Type=idle are until the boot is done.
func (s *System) awaitGetty(ctx context.Context) {
	for end := time.Now().Add(time.Minute); ctx.Err() == nil && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		var r Report
		if s.running(ctx, &r); !strings.HasPrefix(r.Program, "(") {
			return
		}
	}
}

func (s *System) hasDropIn() bool {
	for _, path := range []string{dropInPath, oldDropInPath} {
		if _, err := os.Lstat(s.entry(path)); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// checks reports whether the check runs at boot.
func (s *System) checks() bool {
	_, err := os.Lstat(s.entry(checkLink))
	return err == nil
}

// linkCheck has systemd run the check at boot, and says what it did.
func (s *System) linkCheck() (done []string, err error) {
	if s.checks() {
		return nil, nil
	}
	link := s.entry(checkLink)
	if err := atomicfile.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return nil, err
	}
	if err := os.Symlink(checkUnit, link); err != nil {
		return nil, err
	}
	return []string{"linked " + link + " to " + checkUnit}, nil
}
