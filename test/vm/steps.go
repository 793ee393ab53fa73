package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/eic-agent/eic-agent/test/vm/machine"
)

// A step is one thing that is shown, in order. It changes what the next ones
// find.
type step struct {
	name string
	run  func(*world) (note string, err error)
}

// steps are the life of the agent on an instance.
func steps() []step {
	all := []step{
		{"the board has the instance ID", board},
		{"the metadata service is at its address", metadata},
		{"noted how the system is, and opened a session", take},
		{"installed: nothing changed about who logs in", install},
		{"eicctl sshd enable", enable},
		{"a pushed key logs in", pushedKeyLogsIn},
		{"journalctl -x explains it", explained},
		{"the cache is the agent's own", cacheUsed},
		{"eicctl doctor finds nothing wrong", doctor},
		{"eicctl serial enable", serialEnable},
		{"the serial console is locked", serialLocked},
		{"a push opens it once", serialOpened},
		{"what is left running does not keep the console", serialKept},
		{"somebody leaves it logged in", serialLeft},
		{"eicctl audit lists the sessions", audit},
		{"refused, with the reason", refusals},
	}
	for _, t := range troubles {
		all = append(all, step{"logins with " + t.name, t.withstand})
	}
	return append(all, []step{
		{"upgraded", upgrade},
		{"eicctl sshd disable", disable},
		{"the serial session that was left is hung up", serialHungUp},
		{"removed while enabled", remove},
		{"purging restores the system", purge},
		{"logged out of the session", logOut},
		{"the emergency shell is there in front of a locked console", emergency},
	}...)
}

func board(w *world) (string, error) {
	out, err := w.Root("cat /sys/devices/virtual/dmi/id/board_asset_tag", time.Minute)
	if err == nil && out != instanceID+"\n" {
		err = fmt.Errorf("it says %q", out)
	}
	return "", err
}

func metadata(w *world) (string, error) {
	out, err := w.Root(`token=$(curl -sSf -m 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token) &&
		curl -sSf -m 5 -H "X-aws-ec2-metadata-token: $token" http://169.254.169.254/latest/meta-data/instance-id`, time.Minute)
	if err == nil && out != instanceID {
		err = fmt.Errorf("it says %q", out)
	}
	return "", err
}

// logOut ends the session that was open all the time.
func logOut(w *world) (string, error) {
	w.session.close()
	w.session = nil
	return "", nil
}

// test runs the steps and ends with the first that fails.
func test(s settings) error {
	began := time.Now()
	w, err := start(s)
	if err != nil {
		return err
	}
	all := steps()
	if s.recipe.SELinux {
		all = selinuxSteps()
	}
	failed := w.run(all)
	if failed != nil {
		if err := w.leave(); err != nil {
			fmt.Fprintln(os.Stderr, "vm: not all logs could be had:", err)
		}
		fmt.Fprintln(os.Stderr, "vm: the logs are in", w.dir)
	}
	if err := w.close(s.keep || failed != nil); err != nil && failed == nil {
		return err
	}
	if failed == nil {
		fmt.Printf("ok      %-8s in all\n", since(began))
	}
	return failed
}

func (w *world) run(steps []step) error {
	for _, step := range steps {
		// As the time service of EC2 does.
		if err := w.SetClock(); err != nil {
			return err
		}
		began := time.Now()
		note, err := step.run(w)
		if err == nil && w.session != nil {
			err = w.session.alive()
		}
		if err != nil {
			fmt.Printf("FAILED  %-8s %s\n", since(began), step.name)
			return fmt.Errorf("%s: %w", step.name, err)
		}
		if note != "" {
			note = ": " + note
		}
		fmt.Printf("ok      %-8s %s%s\n", since(began), step.name, note)
	}
	return nil
}

// leave writes what the guest knows beside the console's log.
func (w *world) leave() error {
	for _, log := range []struct{ name, command string }{
		{"journal.log", "journalctl --no-pager -b -o short-precise"},
		{"sshd.log", "journalctl --no-pager -b -u ssh"},
		{"units.log", "systemctl --no-pager --failed; systemctl --no-pager status; df; ls -la /etc/ssh /etc/ssh/sshd_config.d /etc/eic-agent /run/eic-agent"},
	} {
		out, err := w.Root(log.command, time.Minute)
		if exit := (*machine.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			return err
		}
		if err := os.WriteFile(w.path(log.name), []byte(out), 0o644); err != nil {
			return err
		}
	}
	return nil
}
