package main

import (
	"fmt"
	"strings"
	"time"
)

// A snapshot is how sshd is set up.
type snapshot struct {
	ssh       string // content, owners and modes below /etc/ssh
	effective string // as sshd -T prints it
	pid       string // of sshd
}

func (w *world) snapshot() (snapshot, error) {
	var s snapshot
	err := w.collect([]part{
		{&s.ssh, `cd /etc/ssh && find . -printf '%p %y %m %U:%G %l\n' | sort && find . -type f -exec sha256sum {} + | sort -k2`},
		{&s.effective, `sshd -T`},
		{&s.pid, `systemctl show -p MainPID ssh.service`},
	})
	return s, err
}

// An installation is what a package may leave behind.
type installation struct {
	accounts string
	units    string
	files    string // names and modes, without what comes and goes by itself
}

func (w *world) installation() (installation, error) {
	var i installation
	err := w.collect([]part{
		{&i.accounts, `cat /etc/passwd /etc/group; cut -d: -f1,2 /etc/shadow /etc/gshadow; cat /etc/subuid /etc/subgid`},
		{&i.units, `systemctl list-unit-files --no-legend --no-pager`},
		// What dpkg and the services note for themselves is not the package's.
		{&i.files, `find / -xdev \( -path /proc -o -path /sys -o -path /tmp -o -path /var/tmp -o -path /var/log -o -path /var/cache -o -path /srv/host \
			-o -path /var/lib/systemd -o -path /var/lib/dpkg -o -path /root -o -path /home -o -path '/etc/*-' \) -prune -o -printf '%p %y %m\n' | sort`},
	})
	return i, err
}

// A part is a command and where its output goes.
type part struct {
	result  *string
	command string
}

func (w *world) collect(parts []part) error {
	for _, p := range parts {
		var err error
		if *p.result, err = w.Root(p.command, time.Minute); err != nil {
			return err
		}
	}
	return nil
}

// differ is nil when nothing differs, and otherwise says what does.
func differ(what, before, now string) error {
	if before == now {
		return nil
	}
	count := map[string]int{}
	for _, line := range strings.Split(before, "\n") {
		count[line]--
	}
	for _, line := range strings.Split(now, "\n") {
		count[line]++
	}
	var changes []string
	for line, n := range count {
		if n < 0 {
			changes = append(changes, "- "+line)
		} else if n > 0 {
			changes = append(changes, "+ "+line)
		}
	}
	return fmt.Errorf("not as before: %s:\n%s", what, strings.Join(changes, "\n"))
}
