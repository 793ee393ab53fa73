package main

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A trouble is something that breaks on an instance and must keep nobody out
// who has a key in authorized_keys.
type trouble struct {
	name          string
	cause, repair string // commands of root
	pushed        bool   // a pushed key logs in all the same
	reason        string // in the journal, "" for none
}

// nothing is the trouble that the others are measured by.
const nothing = "nothing wrong"

var troubles = []trouble{
	{
		name:   nothing,
		cause:  "true",
		repair: "true",
		pushed: true,
	},
	{
		name:   "the metadata service cut off",
		cause:  "nft add table ip cut && nft 'add chain ip cut out { type filter hook output priority 0; }' && nft add rule ip cut out ip daddr 169.254.169.254 drop",
		repair: "nft delete table ip cut",
		reason: "imds-unreachable",
	},
	{
		name: "the disk and /run full",
		cause: `for dir in /var/tmp /run; do
				fallocate -l $(($(stat -f -c '%f*%S' $dir) - (32 << 20))) $dir/filler || exit
				cat /dev/zero >$dir/rest 2>/dev/null
				! echo x 2>/dev/null >$dir/x || exit
			done`,
		repair: "rm -f /var/tmp/filler /run/filler /var/tmp/rest /run/rest /var/tmp/x /run/x",
		pushed: true,
	},
	{
		name: "/run read-only",
		// Over the one that services have files open in for writing.
		cause:  "mount --rbind /run /run && mount --make-rprivate /run && mount -o remount,bind,ro /run && ! touch /run/x 2>/dev/null",
		repair: "umount -l /run",
		pushed: true,
	},
	{
		name:   "journald stopped",
		cause:  "kill -STOP $(systemctl show -p MainPID --value systemd-journald)",
		repair: "kill -CONT $(systemctl show -p MainPID --value systemd-journald)",
		pushed: true,
	},
}

// tolerable is how much longer a login may take than the slowest that nothing
// was wrong with, when the agent has nothing to grant: the 5 seconds in which it
// answers whatever happens, and as much again, since sshd may draw out a failed
// attempt to twice its time. What else the machine does adds to both.
const tolerable = 10 * time.Second

// withstand returns the step that shows a trouble.
func (t trouble) withstand(w *world) (note string, err error) {
	other, public, err := w.NewKey("other-" + strings.NewReplacer(" ", "-", "/", "").Replace(t.name))
	if err != nil {
		return "", err
	}
	since, err := w.now()
	if err != nil {
		return "", err
	}
	defer func() {
		_, failure := w.Root(t.repair, time.Minute)
		if failure == nil && err == nil && t.reason != "" {
			failure = w.said(since, t.reason)
		}
		err = errors.Join(err, failure)
	}()
	if _, err := w.Root(t.cause, 2*time.Minute); err != nil {
		return "", err
	}
	// sshd has it in authorized_keys, and does not ask the agent.
	at, err := w.login("root", w.rootPrivate)
	if err != nil {
		return "", fmt.Errorf("with a key of authorized_keys: %w", err)
	}
	// Another key is offered first, so that the agent is asked.
	after, err := w.login("root", other, w.rootPrivate)
	if err != nil {
		return "", fmt.Errorf("with a key of authorized_keys behind another: %w", err)
	}
	slowest := max(at, after)
	if t.name == nothing {
		w.usual = slowest
	}
	if slowest > 2*w.usual+tolerable {
		return "", fmt.Errorf("logins took %v and %v, where %v is usual", at, after, w.usual)
	}
	note = fmt.Sprintf("authorized_keys %.1f s, behind another key %.1f s", at.Seconds(), after.Seconds())
	if !t.pushed {
		return note, nil
	}
	if _, err := w.push("alice", public); err != nil {
		return "", err
	}
	pushed, err := w.login("alice", other)
	if err != nil {
		return "", fmt.Errorf("with a pushed key: %w", err)
	}
	return note + fmt.Sprintf(", pushed %.1f s", pushed.Seconds()), nil
}

// said sees that a run has failed for that reason.
func (w *world) said(since moment, reason string) error {
	failed, err := w.records(since, "EIC_EVENT=run-failed")
	if err == nil && (len(failed) == 0 || failed[0].field("EIC_REASON") != reason) {
		err = fmt.Errorf("the journal says %v, want the reason %s", failed, reason)
	}
	return err
}
