package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/eic-agent/eic-agent/test/journalfile"
)

// begin is after the sessions of journalfile.Fleet, which begins at 1700000000.
const begin = 1700010000

// A recorder writes records of each host, a second after the one before.
type recorder struct {
	text [hosts]strings.Builder
	n    int
}

func (r *recorder) write(host int, fields ...string) {
	e := journalfile.Entry{
		"__REALTIME_TIMESTAMP": fmt.Sprintf("%d000000", begin+r.n), "__MONOTONIC_TIMESTAMP": fmt.Sprintf("%d000000", begin-1700000000+r.n),
		"_BOOT_ID": fmt.Sprintf("%032x", host+1), "_MACHINE_ID": fmt.Sprintf("%032x", host+1001), "_HOSTNAME": fmt.Sprintf("host-%03d", host),
		"_TRANSPORT": "journal", "_SYSTEMD_UNIT": "ssh.service", "PRIORITY": "6",
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, "=")
		e[name] = value
	}
	journalfile.WriteExport(&r.text[host], r.n, e)
	r.n++
}

// agent writes a record of eic-authkeys.
func (r *recorder) agent(host, pid int, event, user, key, request string, more ...string) {
	r.write(host, append([]string{
		"SYSLOG_IDENTIFIER=eic-authkeys", "_COMM=eic-authkeys", "_EXE=/usr/bin/eic-authkeys", "_UID=990", fmt.Sprintf("_PID=%d", pid+1),
		"EIC_EVENT=" + event, "EIC_SCHEMA=1", "EIC_USER=" + user, "EIC_FINGERPRINT=" + key, "EIC_REQUEST_ID=" + request, "EIC_KEY_TYPE=ssh-ed25519",
		"EIC_CALLER=arn:aws:sts::123456789012:assumed-role/dev/" + user, fmt.Sprintf("EIC_SSHD_PID=%d", pid), "MESSAGE=" + event,
	}, more...)...)
}

// sshd writes a record of sshd.
func (r *recorder) sshd(host, pid int, message string, more ...string) {
	r.write(host, append([]string{
		"SYSLOG_IDENTIFIER=sshd", "_COMM=sshd", "_EXE=/usr/sbin/sshd", "_UID=0", fmt.Sprintf("_PID=%d", pid), "MESSAGE=" + message,
	}, more...)...)
}

func accepted(user, key string) string {
	return "Accepted publickey for " + user + " from 192.0.2.7 port 50000 ssh2: ED25519 " + key
}

func fingerprint(name string) string {
	return "SHA256:" + strings.Repeat("x", 43-len(name)) + name
}

// writeFurther writes what a fleet has besides sessions that begin and end.
func writeFurther(dir string) error {
	var r recorder
	// A pid that is used again: the first push opens no session, the second does.
	first, second := fingerprint("first"), fingerprint("second")
	r.agent(1, 700001, "key-provided", "reuse", first, "request-first")
	r.sshd(1, 700001, "Connection closed by authenticating user reuse 192.0.2.7 port 50000 [preauth]")
	r.agent(1, 700001, "key-provided", "reuse", second, "request-second")
	r.sshd(1, 700001, accepted("reuse", second))
	// A session without an end.
	open := fingerprint("open")
	r.agent(2, 700002, "key-provided", "open", open, "request-open")
	r.sshd(2, 700002, accepted("open", open))
	// Forged: by a person, as eic-authkeys and as sshd.
	forged := fingerprint("forged")
	r.agent(3, 700003, "key-provided", "forged", forged, "request-forged", "_UID=1000")
	r.sshd(3, 700003, accepted("forged", forged), "_UID=1000")
	r.agent(3, 700004, "key-provided", "half", forged, "request-half", "_UID=1000")
	r.sshd(3, 700004, accepted("half", forged))
	r.agent(3, 700005, "record-refused", "forged", forged, "request-forged", "_UID=1000", "EIC_REASON=expired")
	// Pushes that nobody used, asked for twice.
	for i := range 20 {
		key, pid := fingerprint(fmt.Sprintf("unused%d", i)), 700100+i
		for range 2 {
			r.agent(i, pid, "key-provided", "idle", key, fmt.Sprintf("request-unused-%d", i))
		}
		r.sshd(i, pid, "Connection closed by authenticating user idle 192.0.2.7 port 50000 [preauth]")
	}
	// One key on many hosts.
	for host := range 30 {
		key, pid := fingerprint("everywhere"), 700200+host
		r.agent(host, pid, "key-provided", "ops", key, fmt.Sprintf("request-ops-%d", host))
		r.sshd(host, pid, accepted("ops", key))
		r.sshd(host, pid, "pam_unix(sshd:session): session closed for user ops")
	}
	// Refusals, each recorded twice, and runs that fail.
	for i := range 24 {
		reason := []string{"expired", "bad-signature", "user-denied", "caller-not-mapped"}[i%4]
		for range 2 {
			r.agent(i, 700300+i, "record-refused", "refused", fingerprint(fmt.Sprintf("refused%d", i)), fmt.Sprintf("request-refused-%d", i), "EIC_REASON="+reason)
		}
	}
	for i := range 12 {
		r.agent(40+i%3, 700400+i, "run-failed", "failed", "", "", "EIC_REASON=imds-unreachable")
	}
	for host := range r.text {
		if r.text[host].Len() == 0 {
			continue
		}
		cmd := exec.Command(journalfile.Program, "--output="+filepath.Join(dir, fmt.Sprintf("further-%03d.journal", host)), "-")
		cmd.Stdin = strings.NewReader(r.text[host].String())
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("systemd-journal-remote: %w: %s", err, out)
		}
	}
	return nil
}
