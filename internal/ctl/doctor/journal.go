package doctor

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/hostcmd"
)

const (
	journalSocket = "/run/systemd/journal/socket"
	syslogSocket  = "/dev/log"
	// syncPatience is how long journald may take to write what it has.
	syncPatience = 5 * time.Second
)

// A journalState is how far an account gets with journald.
type journalState struct {
	Fault  string // missing, dead, denied, full, or ""
	Syslog bool   // somebody listens at /dev/log
}

// tryJournal connects to journald without sending it anything.
func tryJournal() journalState {
	s := journalState{Syslog: connects(syslogSocket) == nil}
	fd, err := connect(journalSocket)
	switch {
	case errors.Is(err, unix.ENOENT):
		s.Fault = "missing"
		return s
	case errors.Is(err, unix.ECONNREFUSED):
		s.Fault = "dead"
		return s
	case err != nil:
		s.Fault = "denied"
		return s
	}
	defer unix.Close(fd)
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	if n, err := unix.Poll(poll, 200); n == 0 && err == nil {
		s.Fault = "full"
	}
	return s
}

func connect(path string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func connects(path string) error {
	fd, err := connect(path)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// checkJournal checks whether the agent's messages are recorded. No login depends on
// that.
func checkJournal(e *exam, f *findings) {
	const id = "journal"
	p := e.probe()
	defer checkFollower(e, f)
	defer checkGaps(e, f)
	if p.fault != "" {
		f.unknown(id, "%s", because(p.fault))
		return
	}
	restart := e.systemdFix("systemd-journald.socket systemd-journald.service", "restart journald")
	switch s := p.Journal; {
	case s.Fault == "missing" && s.Syslog:
		f.ok(id, "there is no journald; the agent logs to syslog")
		return
	case s.Fault == "missing":
		f.problem(journalMissing, e.systemdFix("systemd-journald.socket systemd-journald.service", "start journald or a syslog daemon"), "there is neither journald (%s) nor syslog (%s), so nothing is logged", journalSocket, syslogSocket)
		return
	case s.Fault == "dead":
		f.problem(journalDead, restart, "nothing listens on %s, so nothing is logged", journalSocket)
		return
	case s.Fault == "denied":
		f.problem(journalDenied, shell("chmod 0666 %s && chmod 0755 /run/systemd/journal", journalSocket), "user %s cannot write to %s, so the agent's messages are lost", p.as, journalSocket)
		return
	case s.Fault == "full":
		f.problem(journalStuck, restart, "journald does not read messages: the queue of %s is full", journalSocket)
		return
	}
	checkJournald(e, f, restart)
}

// checkJournald asks journald for an answer, and the journal for what was left out.
func checkJournald(e *exam, f *findings, restart fix) {
	const id = "journal"
	if os.Geteuid() != 0 {
		f.unknown(id, "journald accepts messages; checking that it stores them needs root")
		return
	}
	ctx, cancel := context.WithTimeout(e.ctx, syncPatience)
	defer cancel()
	_, err := hostcmd.Output(ctx, "journalctl", "--sync")
	switch {
	case errors.Is(err, hostcmd.ErrNotFound):
		f.unknown(id, "journald accepts messages; cannot check that it stores them: journalctl: %v", hostcmd.ErrNotFound)
		return
	case hostcmd.ExitCode(err) == 1 && strings.Contains(hostcmd.FirstLine(err), "option"):
		// systemd before 228 cannot be asked.
		f.ok(id, "journald accepts messages")
	case errors.Is(err, hostcmd.ErrTimeout):
		f.problem(journalStuck, restart, "journald accepts messages but does not sync: it hangs, or its disk does")
		return
	case err != nil:
		f.unknown(id, "journald accepts messages; cannot check that it stores them: journalctl --sync: %s", hostcmd.FirstLine(err))
		return
	}
	if err == nil {
		f.ok(id, "journald accepts messages and syncs")
		checkKept(e, f, restart)
	}
	checkHour(e, f)
}
