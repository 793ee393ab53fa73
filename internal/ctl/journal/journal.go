// Package journal reads the systemd journal, of this host or of a fleet, with the
// real journalctl, and takes from it what eic-agent and sshd wrote.
package journal

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/textfile"
	"github.com/eic-agent/eic-agent/internal/hostcmd"
)

// A Query says which records are read.
type Query struct {
	// Directory holds the journal files, also those of several hosts; "" is
	// the journal of this host.
	Directory string
	Since     time.Time // zero, or before 1970: from the first record; not used with After
	Until     time.Time // zero: to the last record
	After     string    // the cursor of a record that is left out, and those before it; "" for none
	// Matches are those of journalctl: FIELD=value, and "+" for or.
	Matches []string

	program string // journalctl, or a test's
}

// An Error says why the journal could not be read.
type Error struct {
	Sentence string // without a capital and a final period
	Hint     string // what to do, or ""
}

func (e *Error) Error() string { return e.Sentence }

const (
	maxStderr = 8 << 10
	maxShown  = 300 // of what journalctl says
)

// Read calls each with every record of q. Those of one machine come in the order of time;
// the machines of a directory may come one after the other: journalctl of systemd 257 sorts
// boots whose files one collector wrote by their ends (sd-journal's compare_boot_ids). The
// records have those fields only that this package reads. It stops where each returns an
// error, and returns that. What journalctl had to say besides, such as that a file is
// damaged, is in warnings. Memory does not grow with the journal.
func Read(ctx context.Context, q Query, each func(*Record) error) (warnings []string, err error) {
	program := cmp.Or(q.program, "journalctl")
	if _, err := hostcmd.LookPath("/", program); err != nil {
		return nil, &Error{"journalctl is not installed, so the journal cannot be read", "without systemd, see syslog for eic-authkeys and sshd"}
	}
	if q.Directory != "" {
		if _, err := os.ReadDir(q.Directory); err != nil {
			return nil, &Error{fmt.Sprintf("cannot read the directory %.200q: %v", q.Directory, textfile.WithoutPath(err)), ""}
		}
	}
	if err := probe(ctx, program, q); err != nil {
		return nil, err
	}
	return run(ctx, program, q.arguments(), q, each)
}

// of returns the arguments that say which journal is read.
func of(directory string) []string {
	if directory == "" {
		return nil
	}
	// journalctl does not run in the working directory.
	if path, err := filepath.Abs(directory); err == nil {
		directory = path
	}
	return []string{"--directory=" + directory}
}

// probe finds out whether there is a journal that this user may read: with the export format
// journalctl keeps to itself what it leaves out.
func probe(ctx context.Context, program string, q Query) error {
	args := append([]string{"--no-pager", "--lines=0"}, of(q.Directory)...)
	stderr := &head{limit: maxStderr}
	cmd, err := hostcmd.Command{Name: program, Args: args}.Prepare(ctx)
	if err != nil {
		return err
	}
	cmd.Stderr = stderr
	err = cmd.Run()
	if ctx.Err() != nil {
		return errInterrupted
	}
	_, err = judge(stderr.buffer.String(), err, q.Directory)
	return err
}

var errInterrupted = &Error{"interrupted while reading the journal", ""}

// arguments has journalctl print all fields: to choose them with --output-fields takes it
// twice the time.
func (q Query) arguments() []string {
	args := append([]string{"--no-pager", "--output=export"}, of(q.Directory)...)
	switch {
	case q.After != "":
		// --after-cursor leaves out a record even where that of the cursor is gone.
		args = append(args, "--cursor="+q.After)
	case q.Since.Unix() > 0:
		args = append(args, fmt.Sprintf("--since=@%d", q.Since.Unix()))
	}
	// It ends at the first record that is later, behind which other machines' may come.
	if !q.Until.IsZero() && q.Directory == "" {
		args = append(args, fmt.Sprintf("--until=@%d", q.Until.Unix()+1))
	}
	return append(append(args, "--"), q.Matches...)
}

// run has journalctl print records, and calls each with those but that of q.After.
func run(ctx context.Context, program string, args []string, q Query, each func(*Record) error) ([]string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd, err := hostcmd.Command{Name: program, Args: args}.Prepare(ctx)
	if err != nil {
		return nil, err
	}
	stderr := &head{limit: maxStderr}
	cmd.Stderr = stderr
	stdout, in, err := newPipe()
	if err != nil {
		return nil, &Error{fmt.Sprintf("cannot start journalctl: %v", err), ""}
	}
	defer stdout.out.Close()
	cmd.Stdout = in
	err = cmd.Start()
	in.Close()
	if err != nil {
		return nil, &Error{fmt.Sprintf("cannot start journalctl: %v", err), ""}
	}
	decodeErr := Decode(stdout, func(r *Record) error {
		if q.After != "" && r.Cursor() == q.After || !q.Until.IsZero() && r.Time().Unix() > q.Until.Unix() {
			return nil
		}
		return each(r)
	})
	interrupted := ctx.Err() != nil
	if decodeErr != nil && !errors.Is(decodeErr, errCut) {
		cancel()
		_, _ = io.Copy(io.Discard, stdout)
	}
	waitErr := cmd.Wait()
	switch {
	case decodeErr != nil && !errors.Is(decodeErr, errCut):
		return nil, decodeErr
	case interrupted:
		return nil, errInterrupted
	}
	warnings, err := judge(stderr.buffer.String(), waitErr, q.Directory)
	if err == nil && decodeErr != nil {
		err = decodeErr
	}
	return warnings, err
}

// judge makes an error, or warnings, of what journalctl said.
func judge(stderr string, waitErr error, directory string) (warnings []string, err error) {
	denied := &Error{"no permission to read the system's journal", "run it as root or as a member of the group systemd-journal"}
	if directory != "" {
		denied = &Error{fmt.Sprintf("no permission to read the journal files in %.200q", directory), "run it as root or as a user that can read them"}
	}
	hint := false // the lines below one go with it
	for line := range strings.Lines(stderr) {
		continued := strings.HasPrefix(line, " ")
		line = strings.TrimSpace(line)
		switch {
		case strings.Contains(line, "You are currently not seeing messages from"),
			strings.Contains(line, "insufficient permissions"),
			strings.Contains(line, "Permission denied"):
			return nil, denied
		case strings.Contains(line, "No journal files were found"):
			if directory != "" {
				return nil, &Error{fmt.Sprintf("the directory %.200q has no journal files", directory), "give the directory that contains the .journal files"}
			}
			return nil, &Error{"this host has no journal", "check that systemd-journald is running, or use --directory"}
		case line == "", hint && continued:
		default:
			hint = strings.HasPrefix(line, "Hint:")
			if !hint {
				warnings = append(warnings, "journalctl: "+audit.Clean(line, maxShown))
			}
		}
	}
	if waitErr != nil {
		sentence := fmt.Sprintf("journalctl failed (%v)", waitErr)
		if len(warnings) > 0 {
			sentence = fmt.Sprintf("journalctl failed: %s", strings.TrimPrefix(warnings[0], "journalctl: "))
		}
		return nil, &Error{sentence, ""}
	}
	return warnings, nil
}

// A head keeps the first bytes that are written to it.
type head struct {
	buffer bytes.Buffer
	limit  int
}

func (h *head) Write(p []byte) (int, error) {
	h.buffer.Write(p[:min(len(p), h.limit-h.buffer.Len())])
	return len(p), nil
}
