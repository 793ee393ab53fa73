package doctor

import (
	"context"
	"syscall"
	"time"

	"github.com/eic-agent/eic-agent/internal/hostcmd"
)

const (
	// programPatience is how long another program may take.
	programPatience = 3 * time.Second
	// maxOutput bounds what is read of it.
	maxOutput = hostcmd.DefaultMaxOutput
)

// run returns what a program prints within programPatience.
func run(ctx context.Context, name string, args ...string) (string, error) {
	r, err := hostcmd.Command{Name: name, Args: args, Timeout: programPatience}.Run(ctx)
	return r.Stdout, err
}

// start runs a program at a path, as somebody else where who is given, and with
// stdin on its standard input.
func start(ctx context.Context, who *syscall.Credential, stdin []byte, path string, args ...string) (string, error) {
	r, err := hostcmd.Command{Name: path, Args: args, Credential: who, Stdin: stdin, Timeout: patience}.Run(ctx)
	return r.Stdout, err
}
