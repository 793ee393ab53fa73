// Package systemctl tells systemd what to do.
package systemctl

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/hostcmd"
)

// timeout is as long as systemd lets a unit take to start or to stop.
const timeout = 90 * time.Second

// Run runs systemctl and returns what it prints. The error has in one line what it
// said.
func Run(ctx context.Context, args ...string) (string, error) {
	return run(ctx, "systemctl", args...)
}

// Properties returns what systemctl show prints of one unit.
func Properties(shown string) map[string]string {
	properties := make(map[string]string)
	for line := range strings.Lines(shown) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\n"), "="); ok {
			properties[name] = value
		}
	}
	return properties
}

func run(ctx context.Context, program string, args ...string) (string, error) {
	r, err := hostcmd.Command{Name: program, Args: args, Timeout: timeout}.Run(ctx)
	if err != nil {
		return "", fmt.Errorf("systemctl %s: %w", strings.Join(args, " "), err)
	}
	return r.Stdout, nil
}
