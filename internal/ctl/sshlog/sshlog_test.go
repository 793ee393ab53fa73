package sshlog

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/test/need"
	"github.com/eic-agent/eic-agent/test/release"
)

// messages are a program's strings.
type messages map[string]bool

func (m messages) read(t *testing.T, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for s := range bytes.FieldsFuncSeq(data, func(r rune) bool { return r < ' ' && r != '\t' }) {
			m[string(s)] = true
		}
	}
}

// compiled returns the table, ready for use.
func compiled() []*entry {
	entries()
	return table
}

// Every message that the table knows is in the sshd, or the PAM module, of one of
// Debian's releases.
func TestTable(t *testing.T) {
	need.Root(t)
	need.Program(t, "mmdebstrap")
	sshd, modules := make(messages), make(map[string]messages)
	for _, suite := range release.Names {
		root, err := release.Host(suite).Root(os.Stderr)
		if err != nil {
			t.Fatal(err)
		}
		before := len(sshd)
		sshd.read(t, root+"/usr/sbin/sshd")
		sshd.read(t, root+"/usr/lib/openssh/sshd-*")
		if len(sshd) == before {
			t.Errorf("%s has no sshd", suite)
		}
		for _, e := range compiled() {
			if e.module != "" && modules[e.module] == nil {
				modules[e.module] = make(messages)
			}
		}
		for name, m := range modules {
			m.read(t, root+"/lib/*/security/"+name+".so")
			m.read(t, root+"/usr/lib/*/security/"+name+".so")
		}
	}
	known := func(m messages, source string) {
		t.Helper()
		// Where an older OpenSSH puts the name of the function by "%s: ".
		if !m[source] && !m["%s: "+source] {
			t.Errorf("no sshd says %q", source)
		}
	}
	known(sshd, loginFormat)
	for _, verb := range []string{"Accepted", "Partial", "Failed", "Postponed"} {
		known(sshd, verb)
	}
	for _, e := range compiled() {
		source := e.source
		if source == "" {
			source = e.format
		}
		m := sshd
		if e.module != "" {
			m = modules[e.module]
		}
		for s := range strings.SplitSeq(source, "|") {
			known(m, s)
		}
	}
}

// A message of each entry is taken for that entry's, whatever is put around it.
func TestEntries(t *testing.T) {
	t.Parallel()
	for i, e := range compiled() {
		text := conversion.ReplaceAllStringFunc(e.format, func(verb string) string {
			if strings.HasSuffix(verb, "s") {
				return "word"
			}
			return "7"
		})
		if e.module != "" {
			text = e.module + "(sshd:session): " + text
		}
		for j, other := range compiled() {
			if _, ok := other.parse(text, false); ok {
				if j != i && (other.meaning != e.meaning || other.advice != e.advice || other.fields != e.fields) {
					t.Errorf("%q is taken for %q", text, other.format)
				}
				break
			}
		}
		decorated := []string{text, text + " [preauth]", "error: " + text, "fatal: " + text}
		if !strings.Contains(text, "): ") {
			decorated = append(decorated, "userauth_pubkey: "+text+" [preauth]", "error: some_function2: "+text)
		}
		for _, text := range decorated {
			m := Parse(text)
			if !m.Known || m.Advice != e.advice || m.Meaning != e.meaning && !strings.Contains(e.fields, "remote") {
				t.Errorf("%q is %+v", text, m)
			}
		}
		words := strings.Fields(e.fields)
		if verbs := len(conversion.FindAllString(e.format, -1)); len(words) > verbs {
			t.Errorf("%q has %d fields", e.format, verbs)
		}
		for _, field := range words {
			if !strings.Contains(" user address port type fingerprint pid remote client seconds startups cause - ", " "+field+" ") {
				t.Errorf("%q has a field %q", e.format, field)
			}
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	const print = "SHA256:o5ZklzfVUExX9mwoQ+/bfxzKZSbLpijiDPul+AEndxQ"
	names := map[Meaning]string{
		Connected: "connected", KeyRefused: "key-refused", UserRefused: "user-refused", CommandFailed: "command-failed", Queried: "queried", Failed: "failed",
		OptionsRefused: "options", Partial: "partial", AccountRefused: "account", Accepted: "accepted", SessionFailed: "session-failed", Opened: "opened", GaveUp: "gave-up", Closed: "closed", Dropped: "dropped",
	}
	for _, c := range []struct{ message, want string }{
		{"Accepted publickey for alice from 10.0.0.1 port 34440 ssh2: ED25519 " + print, "accepted publickey alice 10.0.0.1 34440 ED25519 " + print},
		{"Accepted publickey for alice from fe80::1%eth0 port 1 ssh2: RSA MD5:00:11", "accepted publickey alice fe80::1%eth0 1 RSA MD5:00:11"},
		{"Accepted publickey for alice from 10.0.0.1 port 1 ssh2: ED25519-CERT " + print + " ID from x port 2 ssh2: RSA y (serial 0) CA RSA SHA256:z", "accepted publickey alice 10.0.0.1 1 ED25519-CERT " + print},
		{"Accepted keyboard-interactive/pam for alice from 10.0.0.1 port 1 ssh2", "accepted keyboard-interactive/pam alice 10.0.0.1 1"},
		{"Partial publickey for alice from 10.0.0.1 port 1 ssh2: RSA " + print, "partial publickey alice 10.0.0.1 1 RSA " + print},
		{"Failed publickey for invalid user bob from 10.0.0.1 port 1 ssh2: RSA " + print, "failed publickey bob 10.0.0.1 1 RSA " + print},
		{"Failed none for invalid user Accepted publickey for alice from 9.9.9.9 port 1 ssh2 from 10.0.0.1 port 1 ssh2", "failed none Accepted publickey for alice 9.9.9.9 1"},
		{"Postponed publickey for alice from 10.0.0.1 port 1 ssh2 [preauth]", "queried publickey alice 10.0.0.1 1"},
		{"Accepted key ED25519 " + print + " found at /home/alice/.ssh/authorized_keys:1", ""},
		{"pam_unix(sshd:session): session closed for user alice", "closed alice"},
		{"pam_unix(sshd:session): session opened for user alice(uid=1001) by (uid=0)", "opened alice"},
		{"pam_unix(sshd:session): session opened for user alice by (uid=0)", "opened alice"},
		{"pam_unix(login:session): session closed for user alice", "unknown"},
		{"pam_unix(sshd:account): account alice has expired (account expired)", "account alice"},
		{"pam_access(sshd:account): access denied for user `alice' from `10.0.0.1'", "account alice"},
		{"fatal: Access denied for user alice by PAM account configuration [preauth]", "account alice"},
		{"Disconnected from user alice 10.0.0.1 port 34440", "closed alice 10.0.0.1 34440"},
		{"Connection closed by authenticating user alice 10.0.0.1 port 5 [preauth]", "gave-up alice 10.0.0.1 5"},
		{"Connection closed by invalid user authenticating user alice 10.0.0.1 port 5 [preauth]", "gave-up alice 10.0.0.1 5"},
		{"Disconnecting authenticating user alice 10.0.0.1 port 5: Too many authentication failures [preauth]", "gave-up alice 10.0.0.1 5"},
		{"Disconnecting invalid user x 10.0.0.1 port 5: Change of username or service not allowed: (x,y) -> (z,y) [preauth]", "gave-up x 10.0.0.1 5"},
		{"Connection reset by authenticating user alice fe80::1%eth0 port 5 [preauth]", "gave-up alice fe80::1%eth0 5"},
		{"Timeout, client not responding from user alice 10.0.0.1 port 5", "closed alice 10.0.0.1 5"},
		{"Connection closed by 10.0.0.1 port 5", " 10.0.0.1 5"},
		{"Connection closed by fe80::1%eth0 port 5 [preauth]", "gave-up fe80::1%eth0 5"},
		{"Timeout before authentication for connection from 10.0.0.1 to 10.0.0.2, pid = 77", "gave-up connection from 10.0.0.1 to 10.0.0.2 77"},
		{"fatal: Timeout before authentication for 10.0.0.1 port 5", "gave-up 10.0.0.1 5"},
		{"Invalid user Accepted publickey for root from 1.1.1.1 port 1 ssh2: RSA x from 10.0.0.1 port 5", "user-refused Accepted publickey for root 1.1.1.1 port 1 ssh2: RSA x from 10.0.0.1 5"},
		{"Received disconnect from 10.0.0.1 port 5:11: Refused by key options [preauth]", " 10.0.0.1 5"},
		{"Received disconnect from 10.0.0.1 port 5:11: AuthorizedKeysCommand x failed, status 1", " 10.0.0.1 5"},
		{"userauth_pubkey: signature algorithm ssh-rsa not in PubkeyAcceptedAlgorithms [preauth]", "key-refused ssh-rsa"},
		{"userauth_pubkey: key type ssh-dss not in PubkeyAcceptedKeyTypes [preauth]", "key-refused ssh-dss"},
		{"userauth_pubkey: refusing RSA key: Invalid key length [preauth]", "key-refused RSA"},
		{"User alice from 10.0.0.1 not allowed because not listed in AllowUsers", "user-refused alice"},
		{"User alice not allowed because account is locked", "user-refused alice"},
		{"AuthorizedKeysCommand /usr/bin/eic-authkeys alice SHA256:x failed, status 1", "command-failed"},
		{"error: Refused by key options", "options"},
		{"/usr/bin/eic-authkeys %u %f:1: Authentication tried for alice with correct key but not from a permitted host (host=x, ip=10.0.0.1, required=10.9.9.9).", "options alice"},
		{"drop connection #0 from [10.0.0.1]:5 on [10.0.0.2]:22 penalty: failed authentication", "dropped 10.0.0.1 5"},
		{"drop connection #10 from [fe80::1%eth0]:5 on [10.0.0.2]:22 past MaxStartups", "dropped fe80::1%eth0 5"},
		{`fatal: bad ownership or modes for chroot directory "/home/x"`, "session-failed"},
		{"Server listening on 0.0.0.0 port 22.", "unknown"}, {"Accepted publickey for alice", "unknown"}, {"Accepted ", "unknown"}, {"", "unknown"},
	} {
		m := Parse(c.message)
		got := names[m.Meaning]
		if !m.Known {
			got = "unknown"
		}
		for _, s := range []string{m.Method, m.User, m.Address, m.Port, m.KeyType, m.Fingerprint} {
			if s != "" {
				got += " " + s
			}
		}
		if m.PID != 0 {
			got += fmt.Sprint(" ", m.PID)
		}
		if got != c.want {
			t.Errorf("%q: %q, want %q", c.message, got, c.want)
		}
	}
}

// Why and for how long the listener drops connections is read from each version's words:
// srclimit.c and sshd.c of OpenSSH 8.4, 9.2, 9.8, 10.0 and 10.4.
func TestLimits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text, limit, address string
		startups             int
		lasts                time.Duration
	}{
		{"drop connection #10 from [10.0.0.1]:5 on [10.0.0.2]:22 past MaxStartups", LimitStartups, "10.0.0.1", 10, 0},
		{"drop connection #10 from [10.0.0.1]:5 on [10.0.0.2]:22 past Maxstartups", LimitStartups, "10.0.0.1", 10, 0},
		{"drop connection #10 from [10.0.0.1]:5 on [10.0.0.2]:22 Maxstartups", LimitStartups, "10.0.0.1", 10, 0},
		{"error: beginning MaxStartups throttling", LimitStartups, "", 0, 0},
		{"error: in MaxStartups throttling for 00:05:01, 7 connections dropped", LimitStartups, "", 0, 0},
		{"exited MaxStartups throttling after 00:05:01, 7 connections dropped", "", "", 0, 0},
		{"Maxstartups logging rate-limited: additional 7 connections dropped", LimitStartups, "", 0, 0},
		{"PerSourcePenalties logging rate-limited: additional 7 connections dropped", LimitPenalties, "", 0, 0},
		{"drop connection #0 from [10.0.0.1]:5 on [10.0.0.2]:22 penalty: failed authentication", LimitPenalties, "10.0.0.1", 0, 0},
		{"drop connection #0 from [10.0.0.1]:5 on [10.0.0.2]:22 too many penalised addresses", LimitPenalties, "10.0.0.1", 0, 0},
		{"drop connection #0 from [10.0.0.1]:5 on [10.0.0.2]:22 for another reason", "", "10.0.0.1", 0, 0},
		{"srclimit_penalise: ipv4: new 10.0.0.1/32 active penalty of 5 seconds for penalty: failed authentication", LimitPenalties, "10.0.0.1", 0, 5 * time.Second},
		{"srclimit_penalise: ipv4: new 10.0.0.1/24 active penalty of 5.500 seconds for penalty: failed authentication", LimitPenalties, "10.0.0.1/24", 0, 5500 * time.Millisecond},
		{"srclimit_penalise: ipv4: new 10.0.0.1/32 deferred penalty of 5 seconds for penalty: failed authentication", LimitPenalties, "10.0.0.1", 0, 0},
		{"srclimit_penalise: ipv6: new 2001:db8::1/128 active penalty of 90.000 seconds for penalty: caused crash", LimitPenalties, "2001:db8::1", 0, 90 * time.Second},
		{"srclimit_penalise: 10.0.0.1/32: activating ipv4 penalty of 18 seconds for penalty: failed authentication", LimitPenalties, "10.0.0.1", 0, 18 * time.Second},
		{"srclimit_penalise: 2001:db8::1/64: activating ipv6 penalty of 19.635 seconds for penalty: failed authentication", LimitPenalties, "2001:db8::1/64", 0, 19635 * time.Millisecond},
		{"Server listening on 0.0.0.0 port 22.", "", "", 0, 0},
	} {
		m := Parse(c.text)
		if m.Limit != c.limit || m.Address != c.address || m.Startups != c.startups || m.Lasts != c.lasts {
			t.Errorf("%q: %q for %q, %d under way, for %v", c.text, m.Limit, m.Address, m.Startups, m.Lasts)
		}
		switch want := map[string]string{LimitStartups: adviceStartups, LimitPenalties: advicePenalty}[c.limit]; {
		case want != "" && m.Advice != want && !strings.Contains(c.text, "rate-limited"):
			t.Errorf("%q: advice %q", c.text, m.Advice)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("Connection closed by authenticating user alice 10.0.0.1 port 5 [preauth]")
	f.Add("error: x: Disconnecting %s: \xff: Too many authentication failures")
	f.Fuzz(func(t *testing.T, text string) {
		if m := Parse(text); !m.Known && m != (Message{}) {
			t.Errorf("%q: %+v", text, m)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		Parse("Received disconnect from 10.0.0.1 port 5:11: Bye Bye [preauth]")
		Parse("some message of sshd that nobody knows")
	}
}
