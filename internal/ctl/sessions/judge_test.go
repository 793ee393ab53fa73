package sessions

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/journal"
)

// Each cause is shown by a record, or is one of several.
func TestCauses(t *testing.T) {
	t.Parallel()
	const closed = "Connection closed by authenticating user ubuntu 10.0.0.1 port 7 [preauth]"
	given := func(n int, lines ...string) func(*tape) {
		return func(w *tape) {
			for range n {
				w.provided(100, keyA, "r1", alice)
			}
			for _, line := range lines {
				w.sshd(100, "%s", line)
			}
		}
	}
	for _, c := range []struct {
		name  string
		write func(*tape)
		want  string
	}{
		{"accepted", func(w *tape) { w.provided(100, keyA, "r1", alice); w.accepted(100, keyA) }, "session let-in"},
		{"ended at once", func(w *tape) { w.provided(100, keyA, "r1", alice); w.accepted(100, keyA); w.closed(100) }, "session ended-at-once"},
		{"ended later", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.accepted(100, keyA)
			w.now += 2
			w.closed(100)
		}, "session let-in"},
		{"no session", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.accepted(100, keyA)
			w.sshd(100, "error: PAM: pam_open_session(): Permission denied")
			w.closed(100)
		}, "session session-failed"},
		{"by the agent", func(w *tape) {
			w.write("eic-authkeys", 7, agentUID, "EIC_EVENT", "record-refused", "EIC_REASON", "expired", "EIC_USER", "ubuntu", "EIC_FINGERPRINT", keyA, "EIC_REQUEST_ID", "r1", "EIC_SSHD_PID", "100", "MESSAGE", "refused")
		}, "refused refused-by-agent"},
		{"asked once", given(1, closed), "unused not-signed signature-refused further-method account-refused key-options"},
		{"asked twice", given(2, closed), "unused signature-refused further-method account-refused key-options"},
		{"a failed signature", given(2, "Failed publickey for ubuntu from 10.0.0.1 port 7 ssh2: ED25519 "+keyA, closed), "unused signature-refused account-refused key-options"},
		{"another key that failed", given(2, "Failed publickey for ubuntu from 10.0.0.1 port 7 ssh2: ED25519 "+keyB, closed), "unused signature-refused further-method account-refused key-options"},
		{"the first of two methods", given(2, "Partial publickey for ubuntu from 10.0.0.1 port 7 ssh2: ED25519 "+keyA, closed), "unused further-method"},
		{"the first of two methods, and no end", given(2, "Partial publickey for ubuntu from 10.0.0.1 port 7 ssh2: ED25519 "+keyA), "unknown let-in not-signed signature-refused further-method key-options account-refused other-way one-of-several"},
		{"the first of two keys", given(2, "Partial publickey for ubuntu from 10.0.0.1 port 7 ssh2: ED25519 "+keyA, "Accepted publickey for ubuntu from 10.0.0.1 port 7 ssh2: ED25519 "+keyB), "unknown one-of-several"},
		{"key options", given(1, "error: Refused by key options", closed), "unused key-options"},
		{"the account", given(2, "pam_unix(sshd:account): account ubuntu has expired (account expired)", "fatal: Access denied for user ubuntu by PAM account configuration [preauth]"), "unused account-refused"},
		{"the account, by PAM's word alone", given(2, "pam_unix(sshd:account): account ubuntu has expired (account expired)"), "unknown account-refused let-in other-way"},
		{"root", given(2, "ROOT LOGIN REFUSED FROM 10.0.0.1 port 7", closed), "unused account-refused"},
		{"another way", given(1, "Accepted password for ubuntu from 10.0.0.1 port 7 ssh2"), "unknown other-way one-of-several"},
		{"a session without its beginning", given(2, "pam_unix(sshd:session): session opened for user ubuntu(uid=1000) by (uid=0)"), "unknown let-in other-way one-of-several"},
		{"only the end of a session", given(2, "pam_unix(sshd:session): session closed for user ubuntu"), "unknown let-in other-way one-of-several"},
		{"nothing of sshd", given(2), "unknown let-in not-signed signature-refused further-method key-options account-refused other-way one-of-several"},
		{"a time-out that the listener tells of", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.sshd(1, "Timeout before authentication for connection from 10.0.0.1 to 10.0.0.2, pid = 100")
		}, "unused not-signed signature-refused further-method account-refused key-options"},
		{"the time-out of another process", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.sshd(1, "Timeout before authentication for connection from 10.0.0.1 to 10.0.0.2, pid = 101")
		}, "unknown let-in not-signed signature-refused further-method key-options account-refused other-way one-of-several"},
	} {
		w := newTape(t)
		c.write(w)
		subject, err := ParseSubject(keyA)
		if c.name == "by the agent" {
			subject, err = ParseSubject("r1")
		}
		if err != nil {
			t.Fatal(err)
		}
		a := w.report(Options{Wanted: subject.Wanted, Transcript: true}).Explain(subject)
		got := ""
		for _, d := range a.Decisions {
			got += d.Decision
			for _, cause := range d.Causes {
				got += " " + string(cause)
			}
			if d.What == "" || d.Do == "" || strings.Contains(d.What, "; ;") {
				t.Errorf("%s: what %q, do %q", c.name, d.What, d.Do)
			}
		}
		if got != c.want {
			t.Errorf("%s: got  %s\nwant %s", c.name, got, c.want)
		}
	}
	// What is not over yet is not taken for lost.
	w := newTape(t)
	w.provided(100, keyA, "r1", alice)
	if o := w.join(journal.Trust{UIDs: []uint64{agentUID}}, Options{}, start.Add(time.Minute)).Unknown[0]; o.Causes[0] != CauseUnderWay {
		t.Errorf("after a minute: %v", o.Causes)
	}
}

// Where there is no decision, what sshd refused without asking is quoted.
func TestBarred(t *testing.T) {
	t.Parallel()
	explain := func(write func(*tape)) *Answer {
		w := newTape(t)
		write(w)
		subject, err := ParseSubject(keyA)
		if err != nil {
			t.Fatal(err)
		}
		return w.report(Options{Wanted: subject.Wanted, Transcript: true}).Explain(subject)
	}
	a := explain(func(w *tape) {
		w.sshd(100, "userauth_pubkey: signature algorithm ssh-rsa not in PubkeyAcceptedAlgorithms [preauth]")
		w.sshd(100, "Connection closed by authenticating user ubuntu 10.0.0.1 port 7 [preauth]")
		w.sshd(1, "drop connection #0 from [10.0.0.2]:7 on [10.0.0.9]:22 penalty: failed authentication")
		w.sshd(101, "Failed publickey for ubuntu from 10.0.0.1 port 7 ssh2: ED25519 %s", keyB)
	})
	if len(a.Before) != 2 {
		t.Fatalf("%+v", a.Before)
	}
	b := a.Before[0]
	if b.User != "ubuntu" || b.Address != "10.0.0.1" || b.KeyType != "ssh-rsa" || b.Certain || !strings.Contains(b.SSHD, "signature algorithm ssh-rsa") || !strings.Contains(b.Do, "PubkeyAcceptedAlgorithms") {
		t.Errorf("%+v", b)
	}
	if b := a.Before[1]; b.Address != "10.0.0.2" || !strings.Contains(b.Do, "PerSourcePenalties") {
		t.Errorf("%+v", b)
	}
	for _, says := range []string{"one of these: no client offered the key", "or sshd did not run eic-authkeys: it refused the key", "ubuntu from 10.0.0.1\n    sshd userauth_pubkey: signature algorithm"} {
		if !strings.Contains(a.Text(), says) {
			t.Errorf("%q is missing in\n%s", says, a.Text())
		}
	}
	// A record that names the key tells for certain.
	a = explain(func(w *tape) { w.sshd(101, "Failed publickey for ubuntu from 10.0.0.1 port 7 ssh2: ED25519 %s", keyA) })
	if len(a.Before) != 1 || !a.Before[0].Certain || a.Before[0].User != "ubuntu" || !strings.Contains(a.Text(), "a client offered the key") {
		t.Errorf("%s", a.Text())
	}
	// The latest of each kind are kept.
	a = explain(func(w *tape) {
		w.sshd(1, "userauth_pubkey: key type ssh-dss not in PubkeyAcceptedKeyTypes [preauth]")
		for i := range 3 * maxBarred {
			w.sshd(200+i, "Invalid user x%d from 10.0.0.1 port 7", i)
		}
	})
	if n := len(a.Before); n != maxBarred+1 || a.Before[0].KeyType != "ssh-dss" || a.Before[n-1].User != fmt.Sprintf("x%d", 3*maxBarred-1) {
		t.Errorf("%+v", a.Before)
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	w := newTape(t)
	w.provided(100, keyA, "r1", alice, "EIC_LOST", "12")
	w.accepted(100, keyA)
	w.accepted(101, keyB)
	w.sshd(102, "Accepted password for ubuntu from 10.0.0.1 port 7 ssh2")
	r := w.report(Options{})
	r.Spans = []Span{{Host: "h1", From: start.Add(-time.Hour)}, {Host: "h2", From: start}}
	r.Since = start.Add(-2 * time.Minute)
	const lost = "messages may be missing: 2026-03-01T12:00:01Z on host-m1: neither journald nor syslog accepted 12 records of eic-authkeys before that\n"
	got := r.Text()
	for _, says := range []string{lost, "unknown before 2026-03-01T12:00:00Z: the journal of h2 starts there\n", "note: 1 login with a key that eic-agent did not provide"} {
		if !strings.Contains(got, says) {
			t.Errorf("%q is missing in\n%s", says, got)
		}
	}
	if strings.Contains(got, "h1") || r.OtherLogins != 1 {
		t.Errorf("%d other logins\n%s", r.OtherLogins, got)
	}
	// A login whose key turns out to be pushed is no other.
	w = newTape(t)
	w.provided(100, keyA, "r1", alice)
	w.accepted(100, keyA)
	w.late()
	if r := w.report(Options{}); r.OtherLogins != 0 || len(r.Sessions) != 1 {
		t.Errorf("%d other logins", r.OtherLogins)
	}
}

func TestSpells(t *testing.T) {
	t.Parallel()
	for login, want := range map[string]bool{
		"alice": true, "Alice": true, `EXAMPLE\alice`: true, `EXAMPLE\\\\Alice`: true, "alice@example.com": true,
		"bob": false, "": false, `alice\bob`: false, `alice\`: false, "bob@alice": false, "alice2": false,
	} {
		if got := spells(login, "alice"); got != want {
			t.Errorf("%q: %v", login, got)
		}
	}
	if !spells("alice@a", "alice@a") || spells("alice@b", "alice@a") || spells("alice", "alice@a") {
		t.Error("an account with an at sign")
	}
}
