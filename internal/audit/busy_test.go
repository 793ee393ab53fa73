package audit

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/test/need"
)

const (
	daemonVariable = "EIC_AUDIT_TEST_DAEMON"
	busyProcesses  = 60 // that log one event each
	busyLoops      = 16 // that want a processor all the time
)

// On a host that is busy, and with a queue as short as the kernel's default, no event
// is lost while a daemon is there to take it.
func TestBusy(t *testing.T) {
	for _, daemon := range []string{"journald", "busybox", "rsyslogd"} {
		t.Run(daemon, func(t *testing.T) {
			if daemon != "journald" {
				need.Program(t, daemon)
			}
			inWorld(t, "busy", "", daemonVariable+"="+daemon)
		})
	}
}

func playBusy(w *world) {
	const messages = "/run/messages"
	start := func(name string, args ...string) {
		cmd := exec.Command(name, args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
		w.must(cmd.Start())
	}
	w.must(os.WriteFile("/proc/sys/net/unix/max_dgram_qlen", []byte("10\n"), 0o644))
	count := func() int {
		text, err := os.ReadFile(messages)
		if err != nil {
			return 0
		}
		return strings.Count(string(text), "busy event")
	}
	switch os.Getenv(daemonVariable) {
	case "journald":
		w.startJournald()
		count = func() int {
			w.journalctl("--sync")
			return strings.Count(w.journalctl("-o", "cat", "SYSLOG_IDENTIFIER=busy"), "busy event")
		}
	case "busybox":
		start("busybox", "syslogd", "-n", "-O", messages)
	case "rsyslogd":
		w.must(os.WriteFile("/run/rsyslog.conf", []byte("module(load=\"imuxsock\")\n*.* "+messages+"\n"), 0o644))
		start("rsyslogd", "-n", "-f", "/run/rsyslog.conf", "-i", "/run/rsyslogd.pid")
	}
	if os.Getenv(daemonVariable) != "journald" {
		w.eventually("syslog is there", func() bool { return deliver(syslogSocket, filler, 0, nil) == nil })
	}
	for range busyLoops {
		start("sh", "-c", "while :; do :; done")
	}
	exe, err := os.Executable()
	w.must(err)
	var all []*exec.Cmd
	for range busyProcesses {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), worldVariable+"=busy event")
		cmd.ExtraFiles = []*os.File{w.report}
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
		w.must(cmd.Start())
		all = append(all, cmd)
	}
	for _, cmd := range all {
		w.must(cmd.Wait())
	}
	w.eventually(strconv.Itoa(busyProcesses)+" events are there", func() bool { return count() == busyProcesses })
}

// playBusyEvent is one of the processes.
func playBusyEvent(w *world) {
	l := recorder("busy")
	l.FinishBy(time.Now().Add(4 * time.Second))
	l.CountLosses("/run/lost")
	l.Log(Event{Kind: KeyProvided, Message: "busy event"})
	if _, err := os.Stat("/run/lost"); err == nil {
		w.fatalf("an event was lost")
	}
}
