package sshdsetup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/eic-agent/eic-agent/internal/procfs"
	"github.com/eic-agent/eic-agent/internal/sshd"
	"github.com/eic-agent/eic-agent/internal/systemctl"
)

// reloadTime is how long sshd may take to come up again.
const reloadTime = 15 * time.Second

func (c Change) isUnit() bool { return strings.Contains(c.Path, "/systemd/system/") }

// A reloading is what became of the sshds after a change.
type reloading struct {
	said []string
	// pending are the commands that are left to the administrator: until then an sshd
	// goes on with what it read before.
	pending []string
	read    []int // processes that have read their configuration anew
}

func (r *reloading) String() string { return strings.Join(r.said, "; ") }

// reload brings a change to every sshd that answers connections and reads the
// configuration that was changed, waits until it takes connections again, and says what
// was done. Sessions go on. A configuration that sshd refuses is an error, and sshd is left
// alone: it would end. server is as it was before; units says that files of units were
// changed.
func reload(ctx context.Context, server *sshd.Server, units bool) (*reloading, error) {
	r := new(reloading)
	if !server.Live() {
		r.said = []string{"not reloaded: not the running system"}
		return r, nil
	}
	if err := readUnits(ctx, server, units); err != nil {
		return r, err
	}
	for _, s := range append([]*sshd.Server{server}, server.Others...) {
		if s.ConfigFile != server.ConfigFile {
			continue
		}
		said, err := r.one(ctx, s)
		if err != nil {
			return r, err
		}
		r.said = append(r.said, said)
	}
	sshd.NoteRead(r.read...)
	return r, nil
}

// readUnits has systemd read its files where those of units were changed. Nothing is
// restarted.
func readUnits(ctx context.Context, server *sshd.Server, units bool) error {
	if !server.Live() || !server.Systemd || !units {
		return nil
	}
	_, err := systemctl.Run(ctx, "daemon-reload")
	return err
}

// one reloads one sshd in the way in which it is run.
func (r *reloading) one(ctx context.Context, s *sshd.Server) (string, error) {
	listener, running := s.Listener()
	unit, socket := s.Service(), s.Socket()
	switch {
	case !running && socket.Active == "active" && socket.Accept:
		return "not reloaded: " + socket.Name + " starts sshd for each connection", nil
	case !running && socket.Active == "active":
		return "not reloaded: " + socket.Name + " starts sshd for the next connection", nil
	case !running:
		return "not reloaded: sshd does not run", nil
	}
	if err := s.Test(ctx); err != nil {
		return "", fmt.Errorf("sshd was not reloaded: %w", err)
	}
	if !procfs.Alive(listener.PID) && s.Systemd && unit.Name != "" {
		// It has not survived a reload: its unit starts it with what it ran
		// with before.
		_, _ = systemctl.Run(ctx, "reset-failed", unit.Name)
		if _, err := systemctl.Run(ctx, "start", unit.Name); err != nil {
			return "", err
		}
		return "started " + unit.Name, awaitUnit(ctx, unit, 0, "")
	}
	image := sshd.Image(listener.PID)
	if !s.Systemd || unit.Active != "active" || unit.MainPID != listener.PID {
		if err := syscall.Kill(listener.PID, syscall.SIGHUP); err != nil {
			return "", fmt.Errorf("sshd, process %d, could not be reloaded: %v", listener.PID, err)
		}
		r.read = append(r.read, listener.PID)
		return fmt.Sprintf("reloaded sshd, process %d", listener.PID), awaitProcess(ctx, listener.PID, image)
	}
	why := ""
	now := sshd.AskUnit(ctx, unit.Name)
	switch {
	case !sameValues(commandOptions(s.Options), commandOptions(now.Options())):
		// The command line of a process stays what it is over a reload.
		why = "whose command line changed"
	case socket.Active == "active":
		// It has the socket from systemd, and after a reload it would try to bind
		// one of its own, and end ("Cannot bind any address").
		why = "which has its socket from " + socket.Name
	default:
		if _, err := systemctl.Run(ctx, "reload", unit.Name); err != nil {
			return "", err
		}
		r.read = append(r.read, listener.PID)
		return "reloaded " + unit.Name, awaitUnit(ctx, unit, listener.PID, image)
	}
	if !survivesRestart(unit) {
		r.pending = append(r.pending, "systemctl restart "+unit.Name)
		return fmt.Sprintf("not restarted: %s, %s, has sessions that its KillMode=%s would end", unit.Name, why, unit.KillMode), nil
	}
	if _, err := systemctl.Run(ctx, "restart", unit.Name); err != nil {
		return "", err
	}
	return "restarted " + unit.Name + ", " + why + "; sessions continue", awaitUnit(ctx, unit, 0, "")
}

// survivesRestart reports whether sessions continue when a unit is restarted: systemd ends
// its main process alone, or there is nothing else in its control group, as where logind
// has each session in one of its own.
func survivesRestart(unit sshd.Unit) bool {
	if unit.KillMode == "process" || unit.KillMode == "none" {
		return true
	}
	group := procfs.Cgroup(unit.MainPID)
	if group == "" {
		return false
	}
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"} {
		text, err := os.ReadFile(filepath.Join(root, group, "cgroup.procs"))
		if pids := strings.Fields(string(text)); err == nil && slices.Contains(pids, strconv.Itoa(unit.MainPID)) {
			return len(pids) == 1
		}
	}
	return false
}

// errGone says that the sshd that was to reload has ended.
var errGone = errors.New("sshd has ended")

// isListening reports whether a process is an sshd that takes connections.
func isListening(pid int) bool {
	is := slices.ContainsFunc(sshd.Listeners(), func(l sshd.Listener) bool { return l.PID == pid })
	at, err := procfs.Listens(pid)
	return is && err == nil && len(at) > 0
}

// awaitProcess waits until a process takes connections after a reload, and is another
// image than before.
func awaitProcess(ctx context.Context, pid int, before string) error {
	return await(ctx, func() (bool, error) {
		if !procfs.Alive(pid) {
			return false, errGone
		}
		return (before == "" || sshd.Image(pid) != before) && isListening(pid), nil
	})
}

// awaitUnit is awaitProcess for the main process of a unit, which may become another.
func awaitUnit(ctx context.Context, unit sshd.Unit, pid int, before string) error {
	return await(ctx, func() (bool, error) {
		if pid != 0 && procfs.Alive(pid) {
			return (before == "" || sshd.Image(pid) != before) && isListening(pid), nil
		}
		u := sshd.AskUnit(ctx, unit.Name)
		if u.Active == "failed" || u.Active == "inactive" {
			return false, errGone
		}
		return u.Active == "active" && u.MainPID != 0 && isListening(u.MainPID), nil
	})
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
