package sessions

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/journal"
)

func TestJoin(t *testing.T) {
	t.Parallel()
	const session = "session m1 b1 10.0.0.1 port 40100 r1 " + alice
	for _, c := range []struct {
		name  string
		write func(*tape)
		want  string
	}{
		{"a login asks twice", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.provided(100, keyA, "r1", alice)
			w.accepted(100, keyA)
			w.closed(100)
		}, session + ` end="sshd"; `},
		{"still open", func(w *tape) { w.provided(100, keyA, "r1", alice); w.accepted(100, keyA) }, session + ` end=""; `},
		{"shipped twice", func(w *tape) {
			w.provided(99, keyB, "r0", bob)
			w.sshd(99, "Connection closed by authenticating user ubuntu 10.0.0.1 port 7 [preauth]")
			w.provided(100, keyA, "r1", alice)
			w.accepted(100, keyA)
			w.closed(100)
			w.records = append(w.records, w.records...)
		}, session + ` end="sshd"; unused r0 10.0.0.1 port 7; `},
		{"shipped twice, with a pid and a key that were used again", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.accepted(100, keyA)
			w.closed(100)
			w.provided(100, keyA, "r2", bob)
			w.accepted(100, keyA)
			w.records = append(w.records, w.records...)
			w.closed(100)
		}, session + ` end="sshd"; session m1 b1 10.0.0.1 port 40100 r2 ` + bob + ` end="sshd"; `},
		{"the end of the one before, shipped twice", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.accepted(100, keyA)
			w.closed(100)
			w.provided(100, keyA, "r2", bob)
			w.accepted(100, keyA)
			w.records = append(w.records, w.records[2])
		}, session + ` end="sshd"; session m1 b1 10.0.0.1 port 40100 r2 ` + bob + ` end=""; `},
		{"journald took the beginning of the connection late", func(w *tape) {
			w.sshd(100, `Connection from 10.0.0.1 port 40100 on 10.0.0.2 port 22 rdomain ""`)
			w.provided(100, keyA, "r1", alice)
			w.late()
			w.accepted(100, keyA)
		}, session + ` end=""; `},
		{"shipped while it was open, and again", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.accepted(100, keyA)
			w.records = append(w.records, w.records...)
			w.closed(100)
		}, session + ` end="sshd"; `},
		{"OpenSSH 9.8", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.write("sshd-session", 100, 0, "MESSAGE", "Accepted publickey for ubuntu from 10.0.0.1 port 40100 ssh2: ED25519 "+keyA)
			w.write("sshd-session", 100, 0, "MESSAGE", "pam_unix(sshd:session): session closed for user ubuntu")
		}, session + ` end="sshd"; `},
		{"journald took the second answer late", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.provided(100, keyA, "r1", alice)
			w.accepted(100, keyA)
			w.late()
		}, session + ` end=""; `},
		{"journald took every answer late", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.accepted(100, keyA)
			w.late()
			w.closed(100)
		}, session + ` end="sshd"; `},
		{"journald took the answer later than the end", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.accepted(100, keyA)
			w.closed(100)
			w.records = append(w.records[1:], w.records[0])
		}, session + ` end="sshd"; `},
		{"journald took the answer later than the end of an offer", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.sshd(100, "Connection closed by authenticating user ubuntu 10.0.0.1 port 7 [preauth]")
			w.late()
		}, "unused r1 10.0.0.1 port 7; "},
		{"the pid is used again", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.accepted(100, keyA)
			w.closed(100)
			w.provided(100, keyB, "r2", bob)
			w.accepted(100, keyB)
		}, session + ` end="sshd"; session m1 b1 10.0.0.1 port 40100 r2 ` + bob + ` end=""; `},
		{"the pid and the push are used again", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.accepted(100, keyA)
			w.provided(100, keyA, "r1", alice)
			w.accepted(100, keyA)
		}, session + ` end=""; ` + session + ` end=""; `},
		{"OpenSSH 7.4, which ends without the user's name", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.sshd(100, "Connection closed by 10.0.0.1 port 7 [preauth]")
			w.provided(100, keyA, "r2", bob)
			w.accepted(100, keyA)
		}, "session m1 b1 10.0.0.1 port 40100 r2 " + bob + ` end=""; unused r1 10.0.0.1 port 7; `},
		{"the pid of an offer that came to nothing is used again", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.sshd(100, "Connection closed by authenticating user ubuntu 10.0.0.1 port 7 [preauth]")
			w.accepted(100, keyA) // by authorized_keys
		}, "unused r1 10.0.0.1 port 7; "},
		{"the pid of an offer that came to nothing is used for another", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.sshd(100, "Connection closed by authenticating user ubuntu 10.0.0.1 port 7 [preauth]")
			w.provided(100, keyB, "r2", bob)
		}, "unused r1 10.0.0.1 port 7; unknown r2 -; "},
		{"the end of another user's connection in the same pid", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.sshd(100, "Connection closed by authenticating user root 10.0.0.1 port 7 [preauth]")
		}, "unknown r1 -; "},
		{"another user's answer, late", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.provided(100, keyA, "r2", bob, "EIC_USER", "root")
			w.accepted(100, keyA)
			w.late()
		}, session + ` end=""; unknown r2 -; `},
		{"the end of another user's session in the same pid", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.accepted(100, keyA)
			w.sshd(100, "pam_unix(sshd:session): session closed for user root")
		}, session + ` end=""; `},
		{"the pid of an offer without an end is used again", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.sshd(100, `Connection from 10.0.0.1 port 40100 on 10.0.0.2 port 22 rdomain ""`)
			w.accepted(100, keyA)
		}, "unknown r1 -; "},
		{"the same pid on two hosts and in two boots", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.machine = "m2"
			w.provided(100, keyA, "r2", bob)
			w.accepted(100, keyA)
			w.machine, w.boot = "m1", "b2"
			w.provided(100, keyA, "r3", alice)
			w.boot = "b1"
			w.accepted(100, keyA)
			w.boot = "b2"
			w.accepted(100, keyA)
		}, "session m2 b1 10.0.0.1 port 40100 r2 " + bob + ` end=""; ` + session + ` end="boot"; session m1 b2 10.0.0.1 port 40100 r3 ` + alice + ` end=""; `},
		{"another user's offer in the same pid", func(w *tape) {
			w.provided(100, keyA, "r1", alice, "EIC_USER", "root")
			w.accepted(100, keyA)
		}, "unknown r1 -; "},
		{"in with another key", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.accepted(100, keyB)
		}, "unknown r1 10.0.0.1 port 40100; "},
		{"in with one of two pushed keys", func(w *tape) {
			w.provided(100, keyB, "r2", bob)
			w.provided(100, keyA, "r1", alice)
			w.accepted(100, keyA)
		}, session + ` end=""; unknown r2 10.0.0.1 port 40100; `},
		{"a certificate of the key", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.sshd(100, "Accepted publickey for ubuntu from 10.0.0.1 port 40100 ssh2: ED25519-CERT %s ID x (serial 0) CA RSA SHA256:z", keyA)
		}, "unknown r1 10.0.0.1 port 40100; "},
		{"FingerprintHash md5", func(w *tape) { w.provided(100, keyA, "r1", alice); w.accepted(100, keyAMD5) }, session + ` end=""; `},
		{"two principals pushed the key", func(w *tape) {
			for range 2 {
				w.provided(100, keyA, "r1", alice)
				w.provided(100, keyA, "r2", bob)
			}
			w.accepted(100, keyA)
		}, "session m1 b1 10.0.0.1 port 40100 r1 or r2 " + alice + " or " + bob + ` end=""; `},
		{"the key is one of two methods", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.sshd(100, "Partial publickey for ubuntu from 10.0.0.1 port 40100 ssh2: ED25519 %s", keyA)
			w.sshd(100, "Accepted keyboard-interactive/pam for ubuntu from 10.0.0.1 port 40100 ssh2")
		}, session + ` end=""; `},
		{"a password after an offer", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.sshd(100, "Accepted password for ubuntu from 10.0.0.1 port 40100 ssh2")
		}, "unknown r1 10.0.0.1 port 40100; "},
		{"no pushed key", func(w *tape) { w.accepted(100, keyA); w.closed(100) }, ""},
		{"over syslog", func(w *tape) {
			w.write("eic-authkeys", 7, agentUID, "_EXE", "", "_COMM", "", "MESSAGE",
				`gave sshd the key for user "x", pushed by EIC_CALLER:y EIC_EVENT=key-provided EIC_USER=ubuntu EIC_FINGERPRINT=`+keyA+` EIC_CALLER="arn:aws:iam::123456789012:user/a \"b EIC_USER:root" EIC_REQUEST_ID=r1 EIC_SSHD_PID=100`)
			w.accepted(100, keyA)
		}, `session m1 b1 10.0.0.1 port 40100 r1 arn:aws:iam::123456789012:user/a "b EIC_USER:root end=""; `},
		{"the user's process tells of the end", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.accepted(100, keyA)
			w.write("sshd", 101, 1000, "MESSAGE", "Disconnected from user ubuntu 10.0.0.1 port 40100")
		}, session + ` end="process"; `},
		{"root's word counts more", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.accepted(100, keyA)
			w.closed(100)
			w.write("sshd", 101, 1000, "MESSAGE", "Disconnected from user ubuntu 10.0.0.1 port 40100")
		}, session + ` end="sshd"; `},
		{"root's own session", func(w *tape) {
			w.provided(100, keyA, "r1", alice, "EIC_USER", "root")
			w.sshd(100, "Accepted publickey for root from 10.0.0.1 port 40100 ssh2: ED25519 %s", keyA)
			w.sshd(100, "Disconnected from user root 10.0.0.1 port 40100")
		}, session + ` end="sshd"; `},
		{"an end of another connection", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.accepted(100, keyA)
			w.write("sshd", 101, 1000, "MESSAGE", "Disconnected from user ubuntu 10.0.0.1 port 40101")
			w.write("sshd", 101, 1000, "MESSAGE", "Disconnected from user root 10.0.0.1 port 40100")
			w.closed(101)
			w.boot = "b0"
			w.closed(100)
			w.boot = "b1"
			w.sshd(1, "Server listening on 0.0.0.0 port 22.")
		}, session + ` end=""; `},
		{"refused twice", func(w *tape) {
			for range 2 {
				w.write("eic-authkeys", 7, agentUID, "EIC_EVENT", "record-refused", "EIC_REASON", "expired", "EIC_USER", "ubuntu", "EIC_FINGERPRINT", keyA, "EIC_REQUEST_ID", "r1", "EIC_SSHD_PID", "100", "MESSAGE", "refused")
			}
			w.write("eic-authkeys", 7, agentUID, "EIC_EVENT", "record-refused", "EIC_REASON", "expired", "EIC_USER", "ubuntu", "EIC_FINGERPRINT", keyA, "EIC_REQUEST_ID", "r2", "EIC_SSHD_PID", "100", "MESSAGE", "refused")
			w.write("eic-authkeys", 7, agentUID, "EIC_EVENT", "record-refused", "EIC_REASON", "expired", "EIC_USER", "ubuntu", "EIC_FINGERPRINT", keyA, "EIC_REQUEST_ID", "r2", "EIC_SSHD_PID", "101", "MESSAGE", "refused")
		}, "refused expired r1; refused expired r2; refused expired r2; "},
		{"a console with a pushed key", func(w *tape) {
			w.gate("gate-opened", "EIC_PORT", "0", "EIC_REQUEST_ID", "r1", "EIC_CALLER", alice)
			w.gate("gate-closed", "EIC_PORT", "1")
			w.gate("gate-closed", "EIC_PORT", "0", "_PID", "8")
			w.gate("gate-closed", "EIC_PORT", "0")
		}, "session m1 b1 serial port 0 r1 " + alice + ` end="gate"; `},
		{"a console that was logged out of", func(w *tape) {
			w.gate("gate-opened", "EIC_PORT", "0", "EIC_REQUEST_ID", "r1", "EIC_CALLER", alice)
			w.gate("gate-opened", "EIC_PORT", "0", "EIC_REQUEST_ID", "r2", "EIC_CALLER", bob)
			w.gate("gate-closed", "EIC_PORT", "0")
		}, "session m1 b1 serial port 0 r1 " + alice + ` end=""; session m1 b1 serial port 0 r2 ` + bob + ` end="gate"; `},
		{"a console whose record journald came to late", func(w *tape) {
			w.gate("gate-opened", "EIC_PORT", "0", "EIC_REQUEST_ID", "r1", "EIC_CALLER", alice, "_COMM", "agetty", "_EXE", "/usr/sbin/agetty")
			w.gate("gate-opened", "EIC_PORT", "0", "EIC_REQUEST_ID", "r2", "EIC_CALLER", alice, "_COMM", "login", "_EXE", "/usr/bin/login")
			w.gate("gate-opened", "EIC_PORT", "0", "EIC_REQUEST_ID", "r3", "EIC_CALLER", alice, "_COMM", "mgetty", "_EXE", "/opt/mgetty", "_SYSTEMD_UNIT", "serial-getty@ttyS0.service")
			w.gate("gate-opened", "EIC_PORT", "0", "EIC_REQUEST_ID", "r4", "EIC_CALLER", alice, "_COMM", "", "_EXE", "")
		}, "session m1 b1 serial port 0 r1 " + alice + ` end=""; session m1 b1 serial port 0 r2 ` + alice + ` end=""; session m1 b1 serial port 0 r3 ` + alice + ` end=""; session m1 b1 serial port 0 r4 ` + alice + ` end=""; `},
		{"a console whose getty could not be run", func(w *tape) {
			w.gate("gate-opened", "EIC_PORT", "0", "EIC_REQUEST_ID", "r1", "EIC_CALLER", alice)
			w.gate("gate-failed", "EIC_PORT", "0", "EIC_REASON", "getty-failed")
		}, "session m1 b1 serial port 0 r1 " + alice + ` end="gate"; `},
		{"a console without a key", func(w *tape) { w.gate("gate-broken-glass", "EIC_PORT", "0", "EIC_REASON", "imds-unreachable") },
			`session m1 b1 serial port 0 - nobody: opened without a key end=""; `},
		{"a console that stayed locked", func(w *tape) {
			w.gate("gate-refused", "EIC_PORT", "0", "EIC_REASON", "not-pushed", "MESSAGE", "stays locked")
			w.gate("gate-failed", "EIC_PORT", "0", "EIC_REASON", "imds-unreachable", "MESSAGE", "stays locked")
		}, "refused not-pushed ; "},
		{"journald left records out", func(w *tape) {
			w.write("systemd-journald", 1, 0, "MESSAGE_ID", journal.Dropped, "_TRANSPORT", "driver", "MESSAGE", "Suppressed 12 messages from ssh.service")
			w.write("x", 1, 1000, "MESSAGE_ID", journal.Dropped, "_TRANSPORT", "journal", "MESSAGE", "forged")
		}, "missing journald suppressed messages: logged 1 time, last at 2026-03-01T12:00:01Z on host-m1: Suppressed 12 messages from ssh.service; "},
		{"journald left records out on machines that come one after the other", func(w *tape) {
			dropped := func(at int, machine string) {
				w.now, w.machine = at, machine
				w.write("systemd-journald", 1, 0, "MESSAGE_ID", journal.Dropped, "_TRANSPORT", "driver", "MESSAGE", "Suppressed")
			}
			dropped(9, "m1")
			dropped(4, "m2")
		}, "missing journald suppressed messages: logged 2 times, last at 2026-03-01T12:00:10Z on host-m1: Suppressed; "},
		{"refusals on machines that come one after the other", func(w *tape) {
			for i, word := range []string{"user-denied", "expired"} {
				w.now, w.machine = 9-5*i, fmt.Sprint("m", i+1)
				w.gate("gate-refused", "EIC_PORT", "0", "EIC_REASON", word, "MESSAGE", "stays locked")
			}
		}, "refused expired ; refused user-denied ; "},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTape(t)
			c.write(w)
			if got := summary(w.report(Options{})); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if strings.HasPrefix(c.want, "missing ") {
				return // counts what was said of records, not them
			}
			w.records = append(w.records, w.records...)
			if got := summary(w.report(Options{})); got != c.want {
				t.Errorf("shipped twice: got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// What anybody can have journald record.
func TestForged(t *testing.T) {
	t.Parallel()
	const person = 1000
	for _, c := range []struct {
		name  string
		write func(*tape)
		want  string
	}{
		// Mallory logs in with a key of her own and would have it be alice's.
		{"a key by a person", func(w *tape) { w.provided(100, keyA, "r1", alice, "_UID", "1000"); w.accepted(100, keyA) },
			"note 1 record claiming to be eic-agent's ignored: uid 1000 wrote it; "},
		{"a key by another system account", func(w *tape) { w.provided(100, keyA, "r1", alice, "_UID", "33"); w.accepted(100, keyA) },
			"note 1 record claiming to be eic-agent's ignored: uid 33 wrote it; "},
		{"a key by another program of the account", func(w *tape) {
			w.provided(100, keyA, "r1", alice, "_COMM", "sh", "_EXE", "/bin/sh")
			w.provided(100, keyA, "r1", alice, "_EXE", "/bin/sh")
			w.provided(100, keyA, "r1", alice, "_COMM", "sh", "_EXE", "")
			w.accepted(100, keyA)
		}, "note 3 records claiming to be eic-agent's ignored: uid 990 wrote it; "},
		{"a key without the kernel's word", func(w *tape) { w.provided(100, keyA, "r1", alice, "_UID", ""); w.accepted(100, keyA) },
			"note 1 record claiming to be eic-agent's ignored: an unknown uid wrote it; "},
		{"a login by a person", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.write("sshd", 100, person, "MESSAGE", "Accepted publickey for ubuntu from 10.0.0.1 port 1 ssh2: ED25519 "+keyA)
		}, "unknown r1 -; "},
		{"a login without the kernel's word", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.write("sshd", 100, 0, "_UID", "", "MESSAGE", "Accepted publickey for ubuntu from 10.0.0.1 port 1 ssh2: ED25519 "+keyA)
		}, "unknown r1 -; "},
		{"a login by another program of root", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.write("sshd", 100, 0, "_COMM", "logger", "_EXE", "/usr/bin/logger", "MESSAGE", "Accepted publickey for ubuntu from 10.0.0.1 port 1 ssh2: ED25519 "+keyA)
		}, "unknown r1 -; "},
		{"the end of an offer by a person", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.write("sshd", 100, person, "MESSAGE", "Connection closed by authenticating user ubuntu 6.6.6.6 port 6 [preauth]")
			w.accepted(100, keyA)
		}, "session m1 b1 10.0.0.1 port 40100 r1 " + alice + ` end=""; `},
		{"the end of a session by a person, in sshd's process", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.accepted(100, keyA)
			w.write("sshd", 100, person, "MESSAGE", "pam_unix(sshd:session): session closed for user ubuntu")
		}, "session m1 b1 10.0.0.1 port 40100 r1 " + alice + ` end=""; `},
		{"an open gate by the agent's account", func(w *tape) {
			w.write("eic-serial-getty", 7, agentUID, "_COMM", "eic-serial-gett", "EIC_EVENT", "gate-opened", "EIC_PORT", "0")
		}, "note 1 record claiming to be eic-agent's ignored: uid 990 wrote it; "},
		{"an open gate by somebody on the console", func(w *tape) {
			w.write("eic-serial-getty", 7, person, "_COMM", "agetty", "_EXE", "/usr/sbin/agetty", "_SYSTEMD_UNIT", "serial-getty@ttyS0.service", "EIC_EVENT", "gate-opened", "EIC_PORT", "0")
		}, "note 1 record claiming to be eic-agent's ignored: uid 1000 wrote it; "},
		{"an open gate by a daemon of root that others feed", func(w *tape) {
			for _, exe := range []string{"rsyslogd", "dockerd"} {
				w.gate("gate-opened", "EIC_PORT", "0", "_COMM", exe, "_EXE", "/usr/bin/"+exe, "_SYSTEMD_UNIT", exe+".service")
			}
		}, "note 2 records claiming to be eic-agent's ignored: uid 0 wrote it; "},
		{"a key by root on the console", func(w *tape) {
			w.provided(100, keyA, "r1", alice, "_COMM", "agetty", "_EXE", "/usr/sbin/agetty", "_SYSTEMD_UNIT", "serial-getty@ttyS0.service")
			w.accepted(100, keyA)
		}, "note 1 record claiming to be eic-agent's ignored: uid 990 wrote it; "},
		{"other records of sshd by a person", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.accepted(100, keyA)
			w.write("sshd", 101, person, "MESSAGE", "Connection closed by authenticating user ubuntu 10.0.0.1 port 40100 [preauth]")
			w.write("sshd", 101, person, "MESSAGE", "Accepted publickey for ubuntu from 10.0.0.1 port 40100 ssh2: ED25519 "+keyA)
		}, "session m1 b1 10.0.0.1 port 40100 r1 " + alice + ` end=""; `},
		{"a record without its host", func(w *tape) { w.provided(100, keyA, "r1", alice, "_MACHINE_ID", ""); w.accepted(100, keyA) },
			"note 1 record claiming to be eic-agent's ignored: uid 990 wrote it; "},
		{"a message that looks like fields", func(w *tape) {
			w.write("sshd", 100, 0, "MESSAGE", "Invalid user EIC_EVENT=key-provided EIC_SSHD_PID=100 from 10.0.0.1 port 1")
			w.accepted(100, keyA)
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTape(t)
			c.write(w)
			if got := summary(w.report(Options{})); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	// Without a uid to go by, every system account is believed and no person.
	w := newTape(t)
	w.provided(100, keyA, "r1", alice, "_UID", "33")
	w.provided(101, keyA, "r2", alice, "_UID", "1000")
	if got, want := summary(w.join(journal.Trust{}, Options{}, start)), "unknown r1 -; note 1 record claiming to be eic-agent's ignored: uid 1000 wrote it; "; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// A field given twice is none.
	w = newTape(t)
	err := journal.Decode(strings.NewReader("SYSLOG_IDENTIFIER=eic-authkeys\n_PID=1\n_UID=990\n_MACHINE_ID=m1\n_BOOT_ID=b1\nEIC_EVENT=key-provided\nEIC_EVENT=record-refused\nEIC_FINGERPRINT=SHA256:x\nEIC_SSHD_PID=7\n\n"), func(r *journal.Record) error {
		w.records = append(w.records, r.Clone())
		return nil
	})
	if err != nil || len(w.records) != 1 {
		t.Fatal(err)
	}
	if got := summary(w.report(Options{})); got != "" {
		t.Errorf("an event of two kinds: %s", got)
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	w := newTape(t)
	for i, caller := range []string{alice, bob} {
		w.provided(100+i, keyA, fmt.Sprintf("r%d", i), caller)
		w.accepted(100+i, keyA)
		w.provided(200+i, keyB, fmt.Sprintf("u%d", i), caller, "EIC_USER", "postgres")
		w.write("eic-authkeys", 7, agentUID, "EIC_EVENT", "record-refused", "EIC_REASON", "expired", "EIC_USER", "postgres", "EIC_CALLER", caller, "EIC_REQUEST_ID", fmt.Sprintf("x%d", i))
		w.write("eic-authkeys", 7, agentUID, "EIC_EVENT", "run-failed", "EIC_REASON", "imds-unreachable", "EIC_USER", "postgres")
	}
	w.gate("gate-failed", "EIC_PORT", "0", "EIC_REASON", "getty-failed")
	if n := w.report(Options{}).FailedGates["getty-failed"]; n != 1 {
		t.Errorf("%d gates failed", n)
	}
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	for _, c := range []struct {
		name   string
		filter Filter
		want   string // requests
		failed int
	}{
		{"everything", Filter{}, "r0 r1 u0 u1 x0 x1", 2},
		{"user", Filter{User: "post*"}, "u0 u1 x0 x1", 2},
		{"another user", Filter{User: "ubuntu"}, "r0 r1", 0},
		{"caller", Filter{Caller: "arn:aws:iam::*:user/b*"}, "r1 u1 x1", 0},
		{"since", Filter{Since: at(2)}, "r0 r1 u0 u1 x0 x1", 2},
		{"since after", Filter{Since: at(3)}, "r1 u0 u1 x0 x1", 2},
		{"until", Filter{Until: at(2)}, "", 0},
		{"until after", Filter{Until: at(5)}, "r0 u0 x0", 0},
		{"a window", Filter{Since: at(3), Until: at(8), User: "ubuntu"}, "r1", 0},
	} {
		if err := c.filter.Check(); err != nil {
			t.Error(err)
		}
		r := w.report(Options{Filter: c.filter})
		var got []string
		for _, s := range r.Sessions {
			got = append(got, s.Request)
		}
		for _, o := range r.Unknown {
			got = append(got, o.Request)
		}
		for _, o := range r.Refusals {
			got = append(got, o.Request)
		}
		if strings.Join(got, " ") != c.want || r.Failed["imds-unreachable"] != c.failed {
			t.Errorf("%s: %q, %v, want %q", c.name, got, r.Failed, c.want)
		}
	}
	for _, f := range []Filter{{User: "["}, {Caller: "alice"}, {Caller: "arn:aws:iam::1:user/["}} {
		if f.Check() == nil {
			t.Errorf("%+v is taken", f)
		}
	}
}

// What does not matter is forgotten, and what does is bounded.
func TestBounds(t *testing.T) {
	t.Parallel()
	c := newCollector(journal.Trust{UIDs: []uint64{agentUID}}, Options{Transcript: true}, start, nil)
	w := newTape(t)
	for i := range 3 * maxIdle {
		w.records = w.records[:0]
		w.accepted(100000+i, keyA)
		w.sshd(900000+i, "Connection closed by authenticating user ubuntu 10.0.0.1 port 7 [preauth]")
		w.sshd(1, "x")
		for _, r := range w.records {
			if err := c.add(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	b := c.boots[bootID{w.machine, w.boot}]
	if len(b.processes) > maxIdle || len(b.connections) > maxIdle || len(c.idle) > maxIdle || c.entries != 0 || len(b.due) != 0 {
		t.Errorf("%d processes, %d connections, %d idle, %d entries, %d due", len(b.processes), len(b.connections), len(c.idle), c.entries, len(b.due))
	}
	// A session that a pushed key opened is not forgotten in the meantime, even if it
	// first seemed to be without one.
	w = newTape(t)
	w.provided(100, keyA, "r1", alice)
	w.accepted(100, keyA)
	w.late()
	for i := range 2 * maxIdle {
		w.accepted(100000+i, keyB)
	}
	w.closed(100)
	if got, want := summary(w.report(Options{})), "session m1 b1 10.0.0.1 port 40100 r1 "+alice+` end="sshd"; `; got != want {
		t.Errorf("got %s", got)
	}
	// What sshd says of one process is bounded.
	w = newTape(t)
	w.provided(100, keyA, "r1", alice)
	for i := range 2 * maxLines {
		w.sshd(100, "line %d", i)
	}
	if o := w.report(Options{Transcript: true}).Unknown[0]; len(o.heard.lines) != maxLines {
		t.Errorf("%d lines", len(o.heard.lines))
	}
	c.most = 1000
	var err error
	for i := 0; err == nil && i < 2*c.most; i++ {
		w.records = w.records[:0]
		w.provided(i, keyA, fmt.Sprint(i), alice)
		err = c.add(w.records[0])
	}
	var e *journal.Error
	if !errors.As(err, &e) || !strings.Contains(e.Sentence, "more than 1000 ") || e.Hint == "" {
		t.Errorf("too many: %v", err)
	}
}

// A time that JSON cannot hold costs nobody else his answer.
func TestTimesOutOfRange(t *testing.T) {
	t.Parallel()
	w := newTape(t)
	for i, expires := range []string{"9999-12-31T23:59:59-12:00", "0000-01-01T00:00:00+12:00", "soon"} {
		w.provided(100+i, keyA, "r1", alice, "EIC_EXPIRES", expires)
		w.accepted(100+i, keyA)
	}
	r := w.report(Options{})
	trail := filepath.Join(t.TempDir(), "trail")
	record := strings.Replace(trailRecord("r1", ""), "2026-03-01T12:00:00Z", "9999-12-31T23:59:59-12:00", 1)
	if err := os.WriteFile(trail, []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
	if found, err := r.AddTrail(trail); found != 1 || err != nil {
		t.Fatal(found, err)
	}
	if _, err := json.Marshal(r); err != nil || len(r.Sessions) != 3 {
		t.Errorf("%d sessions: %v", len(r.Sessions), err)
	}
}

// A person with many uids, as of a range of /etc/subuid, does not fill the report.
func TestForgedByMany(t *testing.T) {
	t.Parallel()
	w := newTape(t)
	for i := range 3 * maxAccounts {
		w.provided(100, keyA, "r1", alice, "_UID", fmt.Sprint(100000+i))
	}
	if got, want := summary(w.report(Options{})), "note 30 records claiming to be eic-agent's ignored: 30 accounts wrote them; "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
