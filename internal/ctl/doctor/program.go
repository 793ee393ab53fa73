package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// programPatience is how long another program may take.
	programPatience = 3 * time.Second
	// maxOutput bounds what is read of it.
	maxOutput = 1 << 20
)

// errNoProgram says that a program is not on this host, errSlow that it did not end
// in time.
var (
	errNoProgram = errors.New("it is not on this host")
	errSlow      = errors.New("it did not end in time")
)

// searchPath are the folders in which programs are looked for, whatever PATH says.
func searchPath() []string {
	return []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"}
}

// look returns the path of a program, or errNoProgram.
func look(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	for _, dir := range searchPath() {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, errNoProgram)
}

// run returns what a program prints, in the C locale, within programPatience. The
// error is an *exec.ExitError for one that failed, and wraps errNoProgram or
// errSlow.
func run(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, programPatience)
	defer cancel()
	return runWithin(ctx, name, args...)
}

// runWithin is run for as long as the context holds.
func runWithin(ctx context.Context, name string, args ...string) (string, error) {
	path, err := look(name)
	if err != nil {
		return "", err
	}
	return start(ctx, nil, nil, path, args...)
}

// start runs a program at a path, as somebody else where who is given, and with
// stdin on its standard input.
func start(ctx context.Context, who *syscall.Credential, stdin []byte, path string, args ...string) (string, error) {
	var stdout, stderr bounded
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"PATH=" + strings.Join(searchPath(), ":"), "LC_ALL=C", "HOME=/nonexistent"}
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	cmd.WaitDelay = time.Second // for what it has left running
	// Without a terminal, which an account that is not root's could type on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who, Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	if err != nil && ctx.Err() != nil {
		return "", fmt.Errorf("%s: %w", filepath.Base(path), errSlow)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		exit.Stderr = stderr.kept
	}
	return string(stdout.kept), err
}

// A bounded keeps the beginning of what is written to it.
type bounded struct{ kept []byte }

func (b *bounded) Write(p []byte) (int, error) {
	b.kept = append(b.kept, p[:min(maxOutput-len(b.kept), len(p))]...)
	return len(p), nil
}

// said returns the first line that a failed program wrote to standard error, or
// the error.
func said(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if line, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n"); line != "" {
			return line
		}
	}
	return err.Error()
}

// exitCode returns the code with which a program failed, or -1.
func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return -1
}
