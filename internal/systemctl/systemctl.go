// Package systemctl tells systemd what to do.
package systemctl

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// patience is as long as systemd lets a unit take to start or to stop.
const patience = 90 * time.Second

// Run runs systemctl and returns what it prints. The error has in one line what it
// said.
func Run(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemctl", args...)
	var said strings.Builder
	cmd.Stderr = &said
	cmd.WaitDelay = time.Second // for what it has left running
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.Join(strings.Fields(said.String()), " "))
	}
	return string(out), nil
}
