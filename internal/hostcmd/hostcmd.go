// Package hostcmd runs the programs of the host, such as sshd, systemctl and
// journalctl, in the same way everywhere: programs are looked up in the directories of
// Path and never in $PATH, the environment is empty but for a few variables, each run
// has a deadline, and what is kept of the output has a limit.
package hostcmd

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/eic-agent/eic-agent/internal/sysroot"
)

const (
	// Path is where programs are looked up, and the PATH that they get.
	Path = "/usr/sbin:/usr/bin:/sbin:/bin"
	// DefaultTimeout and DefaultMaxOutput hold for a Command that sets no other.
	DefaultTimeout   = 20 * time.Second
	DefaultMaxOutput = 1 << 20
	// waitDelay is how long output is read after the program has ended, in case it
	// has left a process behind that holds the pipe.
	waitDelay = time.Second
)

var (
	// ErrNotFound is wrapped by the error of a run whose program is not installed.
	ErrNotFound = errors.New("not found on this host")
	// ErrTimeout is wrapped by the error of a run that did not end in time.
	ErrTimeout = errors.New("timed out")
)

// A Command is one run of a program.
type Command struct {
	Name string // an absolute path as seen from Root, or a name to look up
	Args []string
	// Root is the directory that the program runs in by chroot(2); "" and "/" are
	// the running system.
	Root string
	// Credential is whom the program runs as, nil for the caller.
	Credential *syscall.Credential
	Env        []string // NAME=value, in addition to PATH, LC_ALL and HOME
	Stdin      []byte
	Timeout    time.Duration
	MaxOutput  int // bytes that are kept of each stream; the rest is read and dropped
}

// A Result is what a program printed. It is filled in also where the run failed.
type Result struct {
	Stdout, Stderr string
	Truncated      bool // output exceeded MaxOutput
}

// An ExitError is the failure of a program that ran.
type ExitError struct {
	Name   string // base name of the program
	Code   int    // exit status, or -1 where a signal ended it
	Stderr string // without blanks around it
	err    error
}

// Error returns what the program wrote to standard error as one line, or else how it
// ended.
func (e *ExitError) Error() string {
	if said := strings.Join(strings.FieldsFunc(e.Stderr, func(c rune) bool { return c == '\n' || c == '\r' }), "; "); said != "" {
		return said
	}
	return e.Name + ": " + e.err.Error()
}

func (e *ExitError) Unwrap() error { return e.err }

// ExitCode returns the exit status of the program that failed with err, or -1 if a
// signal killed it or it did not run.
func ExitCode(err error) int {
	var exit *ExitError
	if errors.As(err, &exit) {
		return exit.Code
	}
	return -1
}

// FirstLine returns the first line that a failed program wrote to standard error, or
// the text of the error.
func FirstLine(err error) string {
	var exit *ExitError
	if errors.As(err, &exit) && exit.Stderr != "" {
		line, _, _ := strings.Cut(exit.Stderr, "\n")
		return line
	}
	return err.Error()
}

// Output runs a program of the running system and returns what it printed on standard
// output.
func Output(ctx context.Context, name string, args ...string) (string, error) {
	r, err := Command{Name: name, Args: args}.Run(ctx)
	return r.Stdout, err
}

// Run runs the command. The error is an *ExitError where the program failed, wraps
// ErrNotFound or ErrTimeout, or the context's error where that was canceled. A program
// that does not end in time is killed with the processes that it started.
func (c Command) Run(ctx context.Context) (Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, cmp.Or(c.Timeout, DefaultTimeout), ErrTimeout)
	defer cancel()
	cmd, err := c.Prepare(ctx)
	if err != nil {
		return Result{}, err
	}
	limit := cmp.Or(c.MaxOutput, DefaultMaxOutput)
	stdout, stderr := head{limit: limit}, head{limit: limit}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(c.Stdin), &stdout, &stderr
	err = cmd.Run()
	r := Result{Stdout: string(stdout.kept), Stderr: string(stderr.kept), Truncated: stdout.dropped || stderr.dropped}
	return r, c.Failure(ctx, err, r.Stderr)
}

// Failure makes of the error of a run what Run returns; stderr is what the program
// wrote there. It is for callers of Prepare.
func (c Command) Failure(ctx context.Context, err error, stderr string) error {
	name := filepath.Base(c.Name)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(ctx), context.Canceled):
		return fmt.Errorf("%s: %w", name, context.Canceled)
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", name, ErrTimeout)
	case errors.As(err, &exit):
		return &ExitError{Name: name, Code: exit.ExitCode(), Stderr: strings.TrimSpace(stderr), err: exit}
	case errors.Is(err, exec.ErrWaitDelay): // it succeeded, and left a process behind
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

// Prepare returns the command for a caller that reads its output while it runs. It has
// no deadline but that of ctx, and no limit.
func (c Command) Prepare(ctx context.Context) (*exec.Cmd, error) {
	path, err := LookPath(c.Root, c.Name)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, c.Args...)
	cmd.Env = append([]string{"PATH=" + Path, "LC_ALL=C", "HOME=/"}, c.Env...)
	cmd.Dir = "/"
	cmd.WaitDelay = waitDelay
	// A session of its own: no terminal that another account's program could type
	// on, and one process group to kill.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.Credential, Setsid: true}
	if !isLive(c.Root) {
		cmd.SysProcAttr.Chroot = c.Root
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd, nil
}

// LookPath returns the path, seen from root, of the program of that name: the name
// itself if it is an absolute path, else the first in Path that is executable. The
// error wraps ErrNotFound.
func LookPath(root, name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	for dir := range strings.SplitSeq(Path, ":") {
		path := filepath.Join(dir, name)
		inRoot := path
		if !isLive(root) {
			inRoot = sysroot.Path(root, path)
		}
		if st, err := os.Stat(inRoot); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, ErrNotFound)
}

func isLive(root string) bool { return root == "" || root == "/" }

// A head keeps the beginning of what is written to it.
type head struct {
	kept    []byte
	limit   int
	dropped bool
}

func (h *head) Write(p []byte) (int, error) {
	n := min(h.limit-len(h.kept), len(p))
	h.kept = append(h.kept, p[:n]...)
	h.dropped = h.dropped || n < len(p)
	return len(p), nil
}
