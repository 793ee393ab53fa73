package sessions

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/reason"
)

const hostile = "=cmd|' /C calc'!A1\n\x1b[2J\u202e\tEIC_USER=root\xff, \"x\""

// hostileReport has as much of a stranger's text as there can be.
func hostileReport(t *testing.T) *Report {
	w := newTape(t)
	w.machine, w.boot = hostile, hostile
	w.provided(100, keyA, hostile, hostile, "EIC_INSTANCE_ID", hostile, "EIC_KEY_TYPE", hostile)
	w.accepted(100, keyA)
	w.sshd(100, "%s", hostile)
	w.provided(101, hostile, "@"+hostile, "-"+hostile, "EIC_USER", "+"+hostile)
	w.sshd(101, "Connection closed by authenticating user %s port 7 %s [preauth]", hostile, hostile)
	w.provided(102, keyA, "\t"+hostile, "\r"+hostile)
	w.sshd(102, "Disconnecting authenticating user ubuntu =1 port =2: %s [preauth]", hostile)
	w.provided(103, keyA, "\t"+hostile, "\r"+hostile)
	w.sshd(103, "%s", hostile)
	w.sshd(104, "key type %s not in PubkeyAcceptedKeyTypes", hostile)
	w.sshd(104, "Failed publickey for %s from %s port 1 ssh2: RSA %s", hostile, hostile, keyA)
	w.write("eic-authkeys", 7, agentUID, "EIC_EVENT", "record-refused", "EIC_REASON", hostile, "EIC_USER", hostile, "EIC_CALLER", hostile, "MESSAGE", hostile)
	w.write("eic-authkeys", 7, agentUID, "EIC_EVENT", "run-failed", "EIC_REASON", hostile)
	r := w.report(Options{Transcript: true})
	for _, p := range []*Push{&r.Sessions[0].Push, &r.Unused[0].Push, &r.Unknown[0].Push} {
		p.Trail = &Trail{Principal: text(hostile), SourceIP: text(hostile), UserAgent: text(hostile)}
	}
	return r
}

func TestHostileText(t *testing.T) {
	t.Parallel()
	r := hostileReport(t)
	if len(r.Sessions) != 1 || len(r.Unused) != 2 || len(r.Unknown) != 1 || len(r.Refusals) != 1 || r.Failed["other"] != 1 {
		t.Fatalf("%s %v", summary(r), r.Failed)
	}
	plain := func(name, text string, lines int) {
		t.Helper()
		if n := strings.Count(text, "\n"); n != lines {
			t.Errorf("%s has %d lines, want %d:\n%s", name, n, lines, text)
		}
		for _, c := range text {
			if c != '\n' && !unicode.IsPrint(c) {
				t.Errorf("%s holds %U", name, c)
			}
		}
	}
	plain("the table", r.Text(), 20)
	subject, err := ParseSubject(keyA)
	if err != nil {
		t.Fatal(err)
	}
	answer := r.Explain(subject)
	var list []string
	for _, d := range answer.Decisions {
		list = append(list, d.What, d.Do)
		list = append(list, d.SSHD...)
	}
	for _, s := range list {
		plain("an answer", s, 0)
	}
	plain("the answers", answer.Text(), strings.Count(answer.Text(), "\n"))

	var b bytes.Buffer
	if err := r.CSV(&b); err != nil {
		t.Fatal(err)
	}
	plain("CSV", b.String(), 6)
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 6 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, row := range rows {
		for _, cell := range row {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") {
				t.Errorf("the cell %q is a formula", cell)
			}
		}
	}
	text, err := json.Marshal(r)
	if err != nil || bytes.ContainsAny(text, "\x1b\n\t") || bytes.Contains(text, []byte(`\u001b`)) || bytes.Contains(text, []byte(`\n`)) {
		t.Errorf("JSON: %v, %s", err, text)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	w := newTape(t)
	w.provided(100, keyA, "r1", alice)
	w.accepted(100, keyA)
	w.closed(100)
	w.provided(101, keyA, "r3", alice)
	w.accepted(101, keyA)
	w.closed(101)
	w.machine = "m2"
	w.provided(100, keyA, "r2", bob)
	r := w.report(Options{Filter: Filter{Since: start}})
	r.Sessions[0].Trail = &Trail{SourceIP: "192.0.2.1", Principal: alice, UserAgent: "aws-cli"}
	want := `from 2026-03-01T12:00:00Z to 2026-03-01T13:00:00Z

2 sessions opened with a pushed key
  START                 END                   USER    FROM                 CALLER                                REQUEST  KEY                                                 HOST     CALLED FROM  CALLED BY                             CALLED WITH
  2026-03-01T12:00:02Z  2026-03-01T12:00:03Z  ubuntu  10.0.0.1 port 40100  arn:aws:iam::123456789012:user/alice  r1       SHA256:AAAAlzfVUExX9mwoQ+/bfxzKZSbLpijiDPul+AEndxQ  host-m1  192.0.2.1    arn:aws:iam::123456789012:user/alice  aws-cli
  2026-03-01T12:00:05Z  2026-03-01T12:00:06Z  ubuntu  10.0.0.1 port 40101  arn:aws:iam::123456789012:user/alice  r3       SHA256:AAAAlzfVUExX9mwoQ+/bfxzKZSbLpijiDPul+AEndxQ  host-m1  -            -                                     -

0 offers that opened no session

1 offer whose outcome is unknown
  TIME                  USER    FROM  CALLER                              REQUEST  KEY                                                 WHAT IS KNOWN                     HOST
  2026-03-01T12:00:07Z  ubuntu  -     arn:aws:iam::123456789012:user/bob  r2       SHA256:AAAAlzfVUExX9mwoQ+/bfxzKZSbLpijiDPul+AEndxQ  no message of sshd's process 100  host-m2

0 refusals
`
	if got := r.Text(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Each value is in the column of its name.
func TestColumns(t *testing.T) {
	t.Parallel()
	end := start.Add(time.Hour)
	where, key := Where{"host", "machine", "boot", 7}, Key{"fp", "md5", "type", 3072}
	push := Push{Caller: "caller", Request: "request", Instance: "instance", WouldRefuse: "would", Trail: &Trail{SourceIP: "from", Principal: "by", UserAgent: "with"}}
	r := &Report{
		Sessions: []*Session{
			{ID: "ID", Where: where, Start: start, End: &end, EndTold: "told", User: "user", Address: "address", Port: "port", Key: key, Push: push},
			{Where: where, Start: start, User: "user", Port: "port", Console: true, Method: breakGlass, Reason: "reason"},
		},
		Unused:   []*Offer{{Where: where, Time: start, User: "user", Address: "address", Port: "port", Outcome: "outcome", Key: key, Push: push}},
		Refusals: []*Refusal{{Where: where, Time: start, User: "user", Reason: "reason", Message: "message", Key: key, Push: push}},
	}
	const want = `kind,time,end,end_told_by,host,machine,boot,pid,user,address,port,reason,caller,request,instance,fingerprint,fingerprint_md5,key_type,outcome,called_from,called_by,called_with,id,key_bits,would_refuse
session,2026-03-01T12:00:00Z,2026-03-01T13:00:00Z,told,host,machine,boot,7,user,address,port,,caller,request,instance,fp,md5,type,,from,by,with,ID,3072,would
console,2026-03-01T12:00:00Z,,,host,machine,boot,7,user,,port,reason,nobody: opened without a key,,,,,,,,,,,,
unused,2026-03-01T12:00:00Z,,,host,machine,boot,7,user,address,port,,caller,request,instance,fp,md5,type,outcome,from,by,with,,3072,would
refusal,2026-03-01T12:00:00Z,,,host,machine,boot,7,user,,,reason,caller,request,instance,fp,md5,type,message,from,by,with,,3072,would
`
	var b strings.Builder
	if err := r.CSV(&b); err != nil || b.String() != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, b.String(), want)
	}
}

// A push that only enforce = false let through is marked wherever its session or offer is
// shown, with the reason, and so is the size of its key.
func TestWouldRefuse(t *testing.T) {
	t.Parallel()
	w := newTape(t)
	would := func(pid int, key, request, caller, word string) {
		bits := []string{"EIC_KEY_TYPE", "ssh-rsa", "EIC_KEY_BITS", "3072"}
		w.provided(pid, key, request, caller, bits...)
		if word != "" {
			w.provided(pid, key, request, caller, append(bits, "EIC_EVENT", "would-refuse", "EIC_REASON", word)...)
		}
	}
	would(100, keyA, "r1", alice, "caller-not-mapped")
	would(100, keyA, "r1", alice, "caller-not-mapped") // sshd asks twice
	w.accepted(100, keyA)
	would(101, keyA, "r2", bob, "user-denied")
	w.accepted(101, keyA)
	n := len(w.records) - 1
	w.records = slices.Insert(w.records[:n], n-2, w.records[n]) // those of the agent are late
	would(102, keyA, "r3", bob, "user-denied")
	would(103, keyA, "r4", alice, "")
	would(103, keyA, "r5", bob, "caller-not-mapped")
	w.accepted(103, keyA)
	would(104, keyA, "r6", alice, "")
	w.accepted(104, keyA)
	gate := []string{"EIC_PORT", "0", "EIC_REQUEST_ID", "r7", "EIC_FINGERPRINT", keyA}
	w.gate("would-refuse", append(gate, "EIC_REASON", "caller-not-mapped")...)
	w.gate("gate-opened", gate...)
	w.gate("gate-opened", "EIC_PORT", "0", "EIC_REQUEST_ID", "r8", "EIC_FINGERPRINT", keyA)
	r := w.report(Options{Transcript: true})

	var got []string
	for _, row := range r.Rows() {
		switch value := row.Value.(type) {
		case *Session:
			got = append(got, fmt.Sprintf("%s %s=%s", row.Kind, value.requestText(), value.push().WouldRefuse))
			if e := value.Event(audit.SessionOpened); !strings.HasSuffix(value.push().WouldRefuse, string(e.Reason)) || (e.Reason == "") != (value.push().WouldRefuse == "") || e.KeyBits != value.Bits {
				t.Errorf("the event has reason %q and %d bits", e.Reason, e.KeyBits)
			}
		case *Offer:
			got = append(got, fmt.Sprintf("%s %s=%s asked %d", row.Kind, value.Request, value.WouldRefuse, value.asked))
		}
	}
	want := []string{
		"session r1=caller-not-mapped", "session r2=user-denied", "session r4 or r5=- or caller-not-mapped", "session r6=",
		"console r7=caller-not-mapped", "console r8=", "unknown r3=user-denied asked 1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	if text := r.Text(); strings.Count(text, "  WOULD REFUSE\n") != 2 || strings.Count(text, "  caller-not-mapped\n") != 2 || !strings.Contains(text, "  - or caller-not-mapped\n") {
		t.Errorf("the table is\n%s", text)
	}
	var b strings.Builder
	if err := r.CSV(&b); err != nil || strings.Count(b.String(), ",3072,user-denied\n") != 2 {
		t.Errorf("CSV: %v\n%s", err, b.String())
	}
	subject, err := ParseSubject("r3")
	if err != nil {
		t.Fatal(err)
	}
	text := r.Explain(subject).Text()
	for _, want := range []string{
		"  policy   would refuse it if [users] were enforced (user-denied): push the key for another user, or change [users] allow and deny\n",
		"  key      " + keyA + " (ssh-rsa, 3072 bits)\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

// All pushes that may have opened a session are in the table and in CSV, and sessions
// that no push opened are listed apart.
func TestSeveralPushes(t *testing.T) {
	t.Parallel()
	w := newTape(t)
	w.provided(100, keyA, "r1", alice)
	w.provided(100, keyA, "r2", bob)
	w.accepted(100, keyA)
	w.gate("gate-broken-glass", "EIC_PORT", "0", "EIC_REASON", "imds-unreachable")
	r := w.report(Options{})
	r.Sessions[0].Pushes[1].Trail = &Trail{SourceIP: "192.0.2.1", Principal: bob, UserAgent: "aws-cli"}
	var b strings.Builder
	if err := r.CSV(&b); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{r.Text(), strings.ReplaceAll(b.String(), ",", "  ")} {
		if strings.Count(text, "- or 192.0.2.1  ") != 1 || strings.Count(text, "- or "+bob+"  ") != 1 || !strings.Contains(text, "- or aws-cli") {
			t.Errorf("got\n%s", text)
		}
	}
	if heading := "\n1 session opened with a pushed key, 1 without a key\n"; !strings.Contains(r.Text(), heading) {
		t.Errorf("%q is missing in\n%s", heading, r.Text())
	}
}

func TestParseSubject(t *testing.T) {
	t.Parallel()
	key := Key{Fingerprint: keyA, FingerprintMD5: keyAMD5}
	for _, asked := range []string{keyA, keyA[len("SHA256:"):], keyA + "=", keyAMD5, keyAMD5[4:], strings.ReplaceAll(keyAMD5[4:], ":", ""), "256 " + keyA + " alice@host (ED25519)"} {
		s, err := ParseSubject(asked)
		if err != nil || !s.Wanted(key, "r1") || s.Wanted(Key{Fingerprint: keyB}, asked) || s.Wanted(Key{}, "") {
			t.Errorf("%q: %v", asked, err)
		}
	}
	for _, asked := range []string{"8a1f4b2c-0000-4000-8000-000000000001", "request-1"} {
		s, err := ParseSubject(asked)
		if err != nil || !s.Wanted(key, strings.ToUpper(asked)) || s.Wanted(key, "r1") || s.Wanted(key, "") {
			t.Errorf("%q: %v", asked, err)
		}
	}
	for _, asked := range []string{"", "SHA256:short", "a b", "a\nb", "é", strings.Repeat("a", 257), "a1:b4:d0:47:74:bb:a6:1b:8f:b8:3d:84:fa:c2:1e:d3:6d:1b:0f:32"} {
		if s, err := ParseSubject(asked); err == nil || s.asked != "" || s.request != "" || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", asked, err)
		}
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	gaveUp := func(why string) func(*tape) {
		return func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			if why != "" {
				w.sshd(100, "%s", why)
			}
			w.sshd(100, "Connection closed by authenticating user ubuntu 10.0.0.1 port 7 [preauth]")
		}
	}
	for _, c := range []struct {
		name  string
		write func(*tape)
		says  []string
	}{
		{"in", func(w *tape) { w.provided(100, keyA, "r1", alice); w.accepted(100, keyA); w.closed(100) },
			[]string{"2026-03-01T12:00:02Z  let in\n", "ubuntu logged in from 10.0.0.1 port 40100; the session ended at 2026-03-01T12:00:03Z", "caller   " + alice + "\n", "request  r1\n", "sshd     Accepted publickey"}},
		{"in and still there", func(w *tape) { w.provided(100, keyA, "r1", alice); w.accepted(100, keyA) }, []string{"the end of the session is not logged"}},
		{"went away", gaveUp(""), []string{"given to sshd, not let in", "ssh -v", "10.0.0.1"}},
		{"went away from OpenSSH 7.4", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.sshd(100, "Connection reset by 10.0.0.1 port 7 [preauth]")
		}, []string{"given to sshd, not let in", "ssh -v", "10.0.0.1"}},
		{"failed", gaveUp("Failed publickey for ubuntu from 10.0.0.1 port 7 ssh2: ED25519 " + keyA), []string{"most likely sshd refused the signature", "push the .pub file"}},
		{"options", gaveUp("Authentication tried for ubuntu with correct key but not from a permitted host (host=x, ip=10.0.0.1)."), []string{"[keys] options", "from="}},
		{"expired", gaveUp("error: Refused by key options"), []string{"[keys] options", "clock"}},
		{"root", gaveUp("ROOT LOGIN REFUSED FROM 10.0.0.1 port 7"), []string{"PermitRootLogin"}},
		{"account", gaveUp("fatal: Access denied for user ubuntu by PAM account configuration [preauth]"), []string{"PAM's account stage"}},
		{"many keys", gaveUp("error: maximum authentication attempts exceeded for ubuntu from 10.0.0.1 port 7 ssh2 [preauth]"), []string{"IdentitiesOnly"}},
		{"methods", gaveUp("Partial publickey for ubuntu from 10.0.0.1 port 7 ssh2: ED25519 " + keyA), []string{"AuthenticationMethods"}},
		{"went away in order", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.sshd(100, "error: Received disconnect from 10.0.0.1 port 7:14: Accepted ROOT LOGIN REFUSED [preauth]")
			w.sshd(100, "Disconnected from authenticating user ubuntu 10.0.0.1 port 7 [preauth]")
		}, []string{"given to sshd, not let in", "do       run the client with ssh -v"}},
		{"reset", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.sshd(100, "Connection reset by authenticating user ubuntu 10.0.0.1 port 7 [preauth]")
		}, []string{"do       run the client with ssh -v"}},
		{"a console", func(w *tape) {
			w.gate("gate-opened", "EIC_PORT", "0", "EIC_REQUEST_ID", "r1", "EIC_CALLER", alice, "EIC_FINGERPRINT", keyA)
			w.gate("gate-closed", "EIC_PORT", "0")
		}, []string{"the gate opened serial port 0; the session ended at 2026-03-01T12:00:02Z"}},
		{"no word of sshd", func(w *tape) { w.provided(100, keyA, "r1", alice) }, []string{"given to sshd, outcome unknown", "unknown, because there is no message of sshd's process 100", "journalctl _PID=100"}},
		{"another key", func(w *tape) { w.provided(100, keyA, "r1", alice); w.accepted(100, keyB) }, []string{"logged in with another key"}},
		{"twice", func(w *tape) {
			w.provided(100, keyA, "r1", alice)
			w.provided(100, keyA, "r2", bob)
			w.accepted(100, keyA)
		}, []string{"pushed 2 times", "request  r1\n", "request  r2\n", alice, bob}},
		{"nothing at all", func(*tape) {}, []string{"no decision about " + keyA, "the journal has no message of sshd", "eicctl doctor"}},
		{"nothing but sshd", func(w *tape) { w.sshd(1, "Server listening on 0.0.0.0 port 22.") }, []string{"no decision about " + keyA, "no message of eic-agent", "ssh -v", "eicctl keys USER", "eicctl doctor", "CloudTrail"}},
		{"others only", func(w *tape) { w.provided(100, keyB, "r1", alice); w.accepted(100, keyB) }, []string{"the journal has 1 record of eic-agent, none about this key", "or the message is missing"}},
		{"in otherwise", func(w *tape) { w.accepted(100, keyA) }, []string{"no decision about", "ubuntu logged in from 10.0.0.1 with this key from another source"}},
		{"in by certificate", func(w *tape) {
			w.sshd(100, "Accepted publickey for ubuntu from 10.0.0.1 port 40100 ssh2: ED25519-CERT %s ID x (serial 0) CA RSA SHA256:z", keyA)
		}, []string{"no decision about", "with a certificate for it"}},
		{"cannot determine the keys", func(w *tape) {
			w.write("eic-authkeys", 7, agentUID, "EIC_EVENT", "run-failed", "EIC_REASON", "imds-unreachable", "EIC_USER", "ubuntu")
			w.gate("gate-failed", "EIC_PORT", "0", "EIC_REASON", "imds-error")
		}, []string{"serial console stayed locked 1 time, internal error (imds-error): " + reason.IMDSError.Hint(), "1 run could not determine the pushed keys (imds-unreachable): " + reason.IMDSUnreachable.Hint()}},
	} {
		w := newTape(t)
		c.write(w)
		subject, err := ParseSubject(keyA)
		if err != nil {
			t.Fatal(err)
		}
		got := w.report(Options{Wanted: subject.Wanted, Transcript: true}).Explain(subject).Text()
		for _, says := range c.says {
			if !strings.Contains(got, says) {
				t.Errorf("%s: %q is missing in\n%s", c.name, says, got)
			}
		}
		if strings.Contains(got, "  let in\n") && strings.Contains(got, "was not involved") {
			t.Errorf("%s: it contradicts itself:\n%s", c.name, got)
		}
	}
	// A request is not distinguished from another that pushed the same key.
	w := newTape(t)
	w.provided(100, keyA, "r1", alice)
	w.provided(100, keyA, "r2", bob)
	w.accepted(100, keyA)
	w.provided(101, keyA, "r3", bob)
	w.accepted(101, keyB)
	subject, err := ParseSubject("r2")
	if err != nil {
		t.Fatal(err)
	}
	got := w.report(Options{Wanted: subject.Wanted, Transcript: true}).Explain(subject).Text()
	if !strings.Contains(got, "pushed 2 times") || !strings.Contains(got, alice) || strings.Contains(got, "r3") {
		t.Errorf("r2:\n%s", got)
	}
	// What sshd did outside the requested time is left out.
	w = newTape(t)
	w.accepted(100, keyA)
	subject, _ = ParseSubject(keyA)
	got = w.report(Options{Filter: Filter{Since: start.Add(time.Minute)}, Wanted: subject.Wanted}).Explain(subject).Text()
	if strings.Contains(got, "ubuntu logged in") {
		t.Errorf("before the time:\n%s", got)
	}
	// Every reason has its own advice.
	for _, word := range reason.All() {
		if !word.RefusesRecord() {
			continue
		}
		w := newTape(t)
		w.write("eic-authkeys", 7, agentUID, "EIC_EVENT", "record-refused", "EIC_REASON", string(word), "EIC_USER", "ubuntu", "EIC_FINGERPRINT", keyA, "EIC_CALLER", alice, "MESSAGE", "what was found")
		subject, _ := ParseSubject(keyA)
		got := w.report(Options{Wanted: subject.Wanted}).Explain(subject).Text()
		claimed := strings.Contains(got, alice+" (its own claim)")
		for _, says := range []string{"refused (" + string(word) + ")", "what     what was found\n", "do       " + word.Hint() + "\n"} {
			if !strings.Contains(got, says) || claimed == (word == reason.CallerNotMapped) {
				t.Errorf("%s: %q is missing in\n%s", word, says, got)
			}
		}
	}
}
