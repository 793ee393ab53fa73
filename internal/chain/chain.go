// Package chain runs other AuthorizedKeysCommands after our own, so that sshd, which
// has one only, is given the keys of all.
package chain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/keyscommand"
)

const (
	// maxOutput bounds what one command prints: thousands of keys.
	maxOutput = 1 << 20
	// maxCommands bounds how many there are.
	maxCommands = 8
)

// tokens are those that a command may have: what sshd can tell an
// AuthorizedKeysCommand since it has tokens at all.
const tokens = "uftk"

// Check says what is wrong with commands to run. Each is a line as sshd takes it
// for its AuthorizedKeysCommand: split at blanks, with quotes, without a shell. The
// program is an absolute path without a detour.
func Check(lines []string) error {
	if len(lines) > maxCommands {
		return fmt.Errorf("more than %d commands", maxCommands)
	}
	for _, line := range lines {
		if err := check(line); err != nil {
			return fmt.Errorf("%.100q: %v", line, err)
		}
	}
	return nil
}

// Join returns the lines of commands that may also be written word by word: an
// element with no blank in it that does not begin with a slash is a further word of
// the command before it.
func Join(elements []string) []string {
	var lines []string
	for _, e := range elements {
		if n := len(lines); n > 0 && e != "" && !strings.HasPrefix(e, "/") && !strings.ContainsAny(e, " \t") {
			lines[n-1] += " " + e
		} else {
			lines = append(lines, e)
		}
	}
	return lines
}

func check(line string) error {
	if strings.ContainsFunc(line, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return errors.New("must not have control characters")
	}
	words, err := keyscommand.Split(line)
	if err != nil {
		return err
	}
	path := words[0]
	if !strings.HasPrefix(path, "/") || slices.ContainsFunc(strings.Split(path[1:], "/"), func(s string) bool { return s == "" || s == "." || s == ".." }) {
		return errors.New("must begin with the absolute path of a program, without ., .. or //")
	}
	letters, err := keyscommand.Tokens(strings.Join(words[1:], " "))
	if err != nil {
		return err
	}
	for _, c := range letters {
		if strings.IndexByte(tokens, c) < 0 {
			return fmt.Errorf("%%%c is none of the tokens %%u, %%f, %%t and %%k", c)
		}
	}
	return nil
}

// A Call is what sshd said.
type Call struct {
	User        string
	Fingerprint string // %f, "" if AuthorizedKeysCommand does not pass it; as the others
	KeyType     string // %t
	Key         string // %k
	Stderr      *os.File
	Root        string // the root directory for the rule about paths, "/"
}

// A Result is what came of one command.
type Result struct {
	Line string // as configured
	// Output is what it printed, ended by a line feed unless it is empty; only
	// that of a command that exited with 0, as for sshd.
	Output []byte
	Err    error // why it does not count, as part of a sentence
}

// Run runs the commands at the same time, as the calling user, with its
// environment, and returns what came of each, in their order. It returns when all are
// done, or at once when ctx is. A command that is not done then is killed with every
// process that descends from it, and so it is where this program ends before, however
// that ends: see keep.
//
// Each has standard input from /dev/null. A command whose path does not meet sshd's
// rule is not run: see keyscommand.CheckPath.
func Run(ctx context.Context, lines []string, call Call) []Result {
	results := make([]Result, len(lines))
	var wg sync.WaitGroup
	for i, line := range lines {
		results[i] = Result{Line: line}
		r := &results[i]
		p, err := start(line, call)
		if err != nil {
			r.Err = err
			continue
		}
		wg.Go(func() { r.Output, r.Err = p.finish(ctx) })
	}
	wg.Wait()
	return results
}

// A process is a command that runs under its keeper.
type process struct {
	pid    int // of the keeper
	stdout *os.File
	life   *os.File // the keeper ends the command when this is closed
	fault  *os.File // the keeper says here why it could not start the command
}

func start(line string, call Call) (*process, error) {
	args, err := arguments(line, call)
	if err != nil {
		return nil, err
	}
	if err := keyscommand.CheckPath(call.Root, args[0]); err != nil {
		return nil, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	lifeReader, life, err := os.Pipe()
	if err != nil {
		r.Close()
		return nil, err
	}
	defer lifeReader.Close()
	fault, faultWriter, err := os.Pipe()
	if err != nil {
		r.Close()
		life.Close()
		return nil, err
	}
	defer faultWriter.Close()
	keeper, err := os.StartProcess("/proc/self/exe", append([]string{keeperName}, args...), &os.ProcAttr{
		Dir:   "/",
		Files: []*os.File{null, w, call.Stderr, lifeReader, faultWriter},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		r.Close()
		life.Close()
		fault.Close()
		return nil, notStarted(err)
	}
	pid := keeper.Pid
	keeper.Release()
	return &process{pid: pid, stdout: r, life: life, fault: fault}, nil
}

// notStarted is why a command could not be started.
func notStarted(err error) error {
	var system syscall.Errno
	if errors.As(err, &system) {
		err = system
	}
	return fmt.Errorf("cannot start: %v", err)
}

// arguments returns the words of a line with the tokens put in. Like sshd it gives
// a command without arguments the user name.
func arguments(line string, call Call) ([]string, error) {
	args, err := keyscommand.Split(line)
	if err != nil {
		return nil, err
	}
	if len(args) == 1 {
		return append(args, call.User), nil
	}
	values := map[byte]string{'u': call.User}
	for c, value := range map[byte]string{'f': call.Fingerprint, 't': call.KeyType, 'k': call.Key} {
		if value != "" {
			values[c] = value
		}
	}
	for i := range args[1:] {
		if args[i+1], err = keyscommand.Expand(args[i+1], values); err != nil {
			return nil, fmt.Errorf("%v: AuthorizedKeysCommand must call eic-authkeys with %%u %%f %%t %%k", err)
		}
	}
	return args, nil
}

var (
	errLate = errors.New("timed out")
	errLong = fmt.Errorf("printed more than %d bytes", maxOutput)
)

// finish returns what the command prints, once it has exited with 0.
func (p *process) finish(ctx context.Context) ([]byte, error) {
	defer p.stdout.Close()
	defer p.life.Close()
	defer p.fault.Close()
	var out []byte
	done := make(chan error, 1)
	go func() {
		var err error
		if out, err = p.read(); err == nil {
			err = p.await()
		}
		done <- err
	}()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = errLate
	}
	if err != nil {
		// Closing life ends it. It may hang in the kernel: nobody waits for that.
		go p.reap()
		return nil, err
	}
	if err := p.reap(); err != nil {
		if why, _ := io.ReadAll(p.fault); len(why) > 0 { // the keeper has ended
			err = errors.New(string(why))
		}
		return nil, err
	}
	if n := len(out); n > 0 && out[n-1] != '\n' {
		out = append(out, '\n')
	}
	return out, nil
}

// read returns all that the command prints.
func (p *process) read() ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(p.stdout, maxOutput+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read its output: %v", err)
	}
	if len(out) > maxOutput {
		return nil, errLong
	}
	return out, nil
}

// await waits until the command has ended and leaves it to be reaped.
func (p *process) await() error {
	for {
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err
		}
	}
}

// reap waits until the command has ended and says how it failed.
func (p *process) reap() error {
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(p.pid, &status, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		switch {
		case err != nil:
			return err
		case status.Signaled():
			return fmt.Errorf("killed by signal %q", status.Signal())
		case status.ExitStatus() != 0:
			return fmt.Errorf("exited with status %d", status.ExitStatus())
		}
		return nil
	}
}
