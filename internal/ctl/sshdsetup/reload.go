package sshdsetup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/eic-agent/eic-agent/internal/sshd"
	"github.com/eic-agent/eic-agent/internal/systemctl"
)

// reloadTime is how long sshd may take to come up again.
const reloadTime = 15 * time.Second

func (c Change) isUnit() bool { return strings.Contains(c.Path, "/systemd/system/") }

// reload has the running sshd read its configuration, waits until it has and takes
// connections again, and says what was done. Sessions go on. A configuration that sshd
// refuses is an error, and sshd is left alone: it would end. server is as it was before;
// units says that files of units were changed.
func reload(ctx context.Context, server *sshd.Server, units bool) (string, error) {
	if !server.Live() {
		return "not reloaded: it is not the running system", nil
	}
	if server.Systemd && units {
		if _, err := systemctl.Run(ctx, "daemon-reload"); err != nil {
			return "", err
		}
	}
	listener, running := server.Listener()
	unit := server.Service()
	switch {
	case !running && server.Socket().Active == "active":
		return "not reloaded: " + server.Socket().Name + " starts sshd for the next connection", nil
	case !running:
		return "not reloaded: sshd does not run", nil
	}
	if err := server.Test(ctx); err != nil {
		return "", fmt.Errorf("sshd was not reloaded: %w", err)
	}
	if !runs(listener.PID) && server.Systemd {
		// It has not survived a reload: its unit starts it with what it ran
		// with before.
		_, _ = systemctl.Run(ctx, "reset-failed", unit.Name)
		if _, err := systemctl.Run(ctx, "start", unit.Name); err != nil {
			return "", err
		}
		return "started " + unit.Name, await(ctx, func() (bool, error) { return isUp(ctx, unit, 0, nil) })
	}
	managed := server.Systemd && unit.Active == "active" && unit.MainPID == listener.PID
	before := image(listener.PID)
	if now, err := sshd.Find(ctx, server.Root); err == nil && managed && !sameValues(commandOptions(listener.Options), commandOptions(now.UnitOptions)) {
		// The command line of a process stays what it is over a reload.
		if unit.KillMode != "process" {
			return "not restarted, for KillMode=" + unit.KillMode + " of " + unit.Name + " might end sessions: the change counts once you restart it", nil
		}
		if _, err := systemctl.Run(ctx, "restart", unit.Name); err != nil {
			return "", err
		}
		return "restarted " + unit.Name + ", whose command line changed; sessions go on", await(ctx, func() (bool, error) { return isUp(ctx, unit, 0, nil) })
	}
	if managed {
		if _, err := systemctl.Run(ctx, "reload", unit.Name); err != nil {
			return "", err
		}
		return "reloaded " + unit.Name, await(ctx, func() (bool, error) { return isUp(ctx, unit, listener.PID, before) })
	}
	if err := syscall.Kill(listener.PID, syscall.SIGHUP); err != nil {
		return "", fmt.Errorf("sshd, process %d, could not be reloaded: %v", listener.PID, err)
	}
	return fmt.Sprintf("reloaded sshd, process %d", listener.PID), await(ctx, func() (bool, error) { return isUp(ctx, sshd.Unit{}, listener.PID, before) })
}

// errGone says that the sshd that was to reload has ended.
var errGone = errors.New("sshd has ended")

// isUp reports whether sshd takes connections after a reload: the process pid, in
// which another image runs than before, or another main process of its unit. The
// error is errGone where nothing is to be waited for.
func isUp(ctx context.Context, unit sshd.Unit, pid int, before []byte) (bool, error) {
	is := func(pid int) bool {
		return slices.ContainsFunc(sshd.Listeners(), func(l sshd.Listener) bool { return l.PID == pid })
	}
	if pid != 0 && runs(pid) {
		return is(pid) && (!bytes.Equal(image(pid), before) || !randomized()) && listens(pid), nil
	}
	if unit.Name == "" {
		return false, errGone
	}
	server, err := sshd.Find(ctx, "/")
	if err != nil {
		return false, err
	}
	u := server.Service()
	if u.Active == "failed" || u.Active == "inactive" {
		return false, errGone
	}
	return u.Active == "active" && u.MainPID != 0 && is(u.MainPID), nil
}

// runs reports whether a process is there and has not ended. Its command line does
// not tell: while the process runs another program it is empty too.
func runs(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	// The state comes after the name, which is in parentheses (proc(5)).
	state := text[bytes.LastIndexByte(text, ')')+1:]
	return !bytes.HasPrefix(state, []byte(" Z")) && !bytes.HasPrefix(state, []byte(" X"))
}

// randomized reports whether the kernel puts each program elsewhere.
func randomized() bool {
	text, err := os.ReadFile("/proc/sys/kernel/randomize_va_space")
	return err == nil && strings.TrimSpace(string(text)) != "0"
}

// image tells one run of a program in a process from the next: where the kernel
// put it. sshd runs itself anew when it reloads.
func image(pid int) []byte {
	auxiliary, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/auxv")
	return auxiliary
}

// listens reports whether a process has a socket that takes connections.
func listens(pid int) bool {
	dir := "/proc/" + strconv.Itoa(pid)
	entries, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return false
	}
	sockets := make(map[string]bool)
	for _, e := range entries {
		if target, err := os.Readlink(dir + "/fd/" + e.Name()); err == nil {
			if inode, ok := strings.CutPrefix(target, "socket:["); ok {
				sockets[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	for _, table := range []string{"/net/tcp", "/net/tcp6"} {
		text, _ := os.ReadFile(dir + table)
		for line := range strings.Lines(string(text)) {
			// The state is the fourth field (0A: listening), the inode the tenth.
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" && sockets[f[9]] {
				return true
			}
		}
	}
	return false
}

// await waits until sshd is up.
func await(ctx context.Context, isUp func() (bool, error)) error {
	for end := time.Now().Add(reloadTime); time.Now().Before(end); {
		if up, err := isUp(); up || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("sshd did not come up again within %v", reloadTime)
}
