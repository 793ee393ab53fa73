package policy

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/test/journalfile"
)

const (
	alice = "arn:aws:iam::123456789012:user/alice"
	bob   = "arn:aws:sts::123456789012:assumed-role/dev/bob"
)

// start is when journalfile has its first entry.
var start = time.Unix(1700000000, 0)

// decision is a record of eic-authkeys, with more fields or others.
func decision(i int, event string, more ...string) journalfile.Entry {
	e := journalfile.Entry{
		"SYSLOG_IDENTIFIER": "eic-authkeys", "_PID": fmt.Sprint(2000 + i), "_UID": "990", "MESSAGE": "m", "EIC_EVENT": event, "EIC_USER": "postgres",
		"EIC_CALLER": alice, "EIC_KEY_TYPE": "ssh-ed25519", "EIC_FINGERPRINT": fmt.Sprintf("SHA256:%d", i), "EIC_REQUEST_ID": fmt.Sprintf("request-%d", i),
		"EIC_EXPIRES": start.Add(time.Duration(i)*time.Second + 30*time.Second).UTC().Format(time.RFC3339), "EIC_SSHD_PID": fmt.Sprint(1000 + i),
	}
	for _, field := range more {
		name, value, _ := strings.Cut(field, "=")
		e[name] = value
	}
	return e
}

// decide tests the policy of a configuration on a journal of those entries.
func decide(t testing.TB, text string, entries ...journalfile.Entry) *Report {
	t.Helper()
	journalfile.Need(t)
	dir := t.TempDir()
	journalfile.Write(t, filepath.Join(dir, "a.journal"), entries...)
	return decideIn(t, text, dir)
}

func decideIn(t testing.TB, text, dir string) *Report {
	t.Helper()
	cfg, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	report, err := Test(t.Context(), Options{Config: cfg, Path: "new.toml", Directory: dir, Since: start, Until: start.Add(time.Hour * 24)})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestChanges(t *testing.T) {
	t.Parallel()
	provided := func(more ...string) journalfile.Entry { return decision(1, "key-provided", more...) }
	refused := func(reason string, more ...string) journalfile.Entry {
		return decision(1, "record-refused", append(more, "EIC_REASON="+reason)...)
	}
	const mapped = "[[users.map]]\ncaller = \"" + alice + "\"\nusers = [\"postgres\"]\n"
	for name, c := range map[string]struct {
		config string
		entry  journalfile.Entry
		want   string // change, reason, was, claimed
	}{
		"the default":                   {"", provided(), ""},
		"denied":                        {"[users]\ndeny = [\"p*\"]\n", provided(), "refused user-denied  false"},
		"not allowed":                   {"[users]\nallow = [\"web\"]\n", provided(), "refused user-denied  false"},
		"allowed":                       {"[users]\nallow = [\"post*\"]\n", provided(), ""},
		"mapped":                        {mapped, provided(), ""},
		"not mapped":                    {mapped, provided("EIC_CALLER=" + bob), "refused caller-not-mapped  false"},
		"mapped for another user":       {mapped, provided("EIC_USER=root"), "refused caller-not-mapped  false"},
		"no caller":                     {mapped, provided("EIC_CALLER="), "refused caller-not-mapped  false"},
		"not enforced":                  {"[users]\nenforce = false\ndeny = [\"*\"]\n", provided(), "would-refuse user-denied  false"},
		"not enforced, type":            {"[users]\nenforce = false\n[keys]\ntypes = [\"ssh-rsa\"]\n", provided(), "refused key-type  false"},
		"key type":                      {"[keys]\ntypes = [\"ssh-rsa\"]\n", provided(), "refused key-type  false"},
		"key size":                      {"[keys]\nmin_rsa_bits = 4096\n", provided("EIC_KEY_TYPE=ssh-rsa", "EIC_KEY_BITS=3072"), "refused key-too-short  false"},
		"key of that size":              {"[keys]\nmin_rsa_bits = 3072\n", provided("EIC_KEY_TYPE=ssh-rsa", "EIC_KEY_BITS=3072"), ""},
		"size unknown, and does":        {"[keys]\nmin_rsa_bits = 3072\n", provided("EIC_KEY_TYPE=ssh-rsa"), "undecided key-size-not-recorded"},
		"size unknown, does not":        {"", provided("EIC_KEY_TYPE=ssh-rsa"), ""},
		"size unknown, refused anyhow":  {"[users]\ndeny = [\"*\"]\n[keys]\nmin_rsa_bits = 3072\n", provided("EIC_KEY_TYPE=ssh-rsa"), "refused user-denied  false"},
		"lifetime":                      {"[keys]\nmax_lifetime = \"20s\"\nclock_skew = \"0s\"\n", provided(), "refused lifetime-too-long  false"},
		"lifetime that is left":         {"[keys]\nmax_lifetime = \"20s\"\nclock_skew = \"11s\"\n", provided(), ""},
		"was denied":                    {"", refused("user-denied"), "granted  user-denied true"},
		"was denied, still is":          {"[users]\ndeny = [\"*\"]\n", refused("user-denied"), ""},
		"was denied, is not mapped now": {"[[users.map]]\ncaller = \"" + bob + "\"\nusers = [\"*\"]\n", refused("user-denied"), ""},
		"was not mapped":                {mapped, refused("caller-not-mapped"), "granted  caller-not-mapped false"},
		"was of a type":                 {"", refused("key-type"), "granted  key-type true"},
		"was of no type":                {"", refused("key-type", "EIC_KEY_TYPE=ssh-dss"), ""},
		"was short":                     {"", refused("key-too-short", "EIC_KEY_TYPE=ssh-rsa", "EIC_KEY_BITS=2048"), "granted  key-too-short true"},
		"was too short":                 {"", refused("key-too-short", "EIC_KEY_TYPE=ssh-rsa", "EIC_KEY_BITS=1024"), ""},
		"was short, size unknown":       {"", refused("key-too-short", "EIC_KEY_TYPE=ssh-rsa"), "undecided key-size-not-recorded"},
		"was too long":                  {"", refused("lifetime-too-long"), "granted  lifetime-too-long true"},
		"would be recorded":             {"[users]\nenforce = false\ndeny = [\"*\"]\n", refused("user-denied"), "granted user-denied user-denied true"},
		"expired":                       {"", refused("expired"), ""},
		"forged":                        {"", refused("bad-signature"), ""},
		"of another instance":           {"[instance]\nattest = \"imds\"\n", refused("wrong-instance"), ""},
		"several":                       {"[users]\ndeny = [\"*\"]\n", provided("EIC_KEY_TYPE=", "EIC_EXPIRES=", "EIC_CALLER="), "undecided not-listed-one-by-one"},
		"console":                       {"[users]\ndeny = [\"i-*\"]\n", provided("SYSLOG_IDENTIFIER=eic-serial-getty", "_UID=0", "EIC_EVENT=gate-opened", "EIC_USER=i-0123456789abcdef0.port0"), "refused user-denied  false"},
		"console, was denied":           {"", refused("user-denied", "SYSLOG_IDENTIFIER=eic-serial-getty", "_UID=0", "EIC_EVENT=gate-refused"), "granted  user-denied true"},
		"console, push was used":        {"", refused("already-used", "SYSLOG_IDENTIFIER=eic-serial-getty", "_UID=0", "EIC_EVENT=gate-refused"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := decide(t, c.config, c.entry)
			got := ""
			for _, change := range r.Changes {
				got += fmt.Sprintf("%s %s %s %v", change.Change, change.Reason, change.Was, change.Claimed)
			}
			for _, u := range r.Undecided {
				got += "undecided " + u.Why
			}
			if got != c.want || r.Decisions != 1 {
				t.Errorf("%d decisions: got %q, want %q", r.Decisions, got, c.want)
			}
			changed := strings.HasPrefix(c.want, "refused") || strings.HasPrefix(c.want, "granted")
			if r.Changed() != changed || (r.Err() != nil) != strings.HasPrefix(c.want, "undecided") {
				t.Errorf("changed: %v, error: %v", r.Changed(), r.Err())
			}
		})
	}
}

// What is counted: each push once, those of one principal and user together, the latest
// as examples; nothing outside the time, of another account, or that decides nothing.
func TestCounts(t *testing.T) {
	t.Parallel()
	var entries []journalfile.Entry
	for i := range 5 {
		e := decision(i, "key-provided", "EIC_CALLER="+bob, "_MACHINE_ID="+strings.Repeat(fmt.Sprint(i%2+1), 32))
		entries = append(entries, e, e) // sshd asks twice
	}
	entries = append(entries,
		decision(5, "key-provided"),
		decision(6, "key-provided", "EIC_CALLER="+bob, "_UID=1000"),
		decision(7, "run-failed", "EIC_REASON=imds-unreachable"),
		decision(8, "would-refuse", "EIC_CALLER="+bob, "EIC_REASON=caller-not-mapped"),
		decision(9, "key-provided", "EIC_CALLER="+bob, "__REALTIME_TIMESTAMP=1800000000000000"),
	)
	r := decide(t, "[[users.map]]\ncaller = \""+alice+"\"\nusers = [\"*\"]\n", entries...)
	if r.Decisions != 6 || r.Refused != 5 || r.Granted != 0 || r.Unchanged != 1 || len(r.Changes) != 1 || r.Hosts != 2 {
		t.Fatalf("%+v", r)
	}
	c := r.Changes[0]
	var requests []string
	for _, e := range c.Examples {
		requests = append(requests, e.Request)
	}
	if c.Count != 5 || c.Hosts != 2 || c.Caller != bob || c.User != "postgres" || !slices.Equal(requests, []string{"request-2", "request-3", "request-4"}) || !c.First.Before(c.Last) {
		t.Errorf("%+v, examples %v", c, requests)
	}
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "another account: 1") {
		t.Errorf("notes %q", r.Notes)
	}
}

// writePushes makes a journal of n pushes, each with the two records of its login, by
// principals and for users of which each pair is there once or a few times.
func writePushes(t testing.TB, n int) (dir string) {
	t.Helper()
	journalfile.Need(t)
	dir = t.TempDir()
	var entries []journalfile.Entry
	for i := range n {
		e := decision(i, "key-provided",
			fmt.Sprintf("EIC_CALLER=arn:aws:sts::123456789012:assumed-role/team%d/person%d", i%40, i%400), fmt.Sprintf("EIC_USER=user%d", i%300),
			"MESSAGE=gave sshd the key SHA256:PqiDne3jtq8gOHvvFS5pep5ZjdvyeO5jVfnX7/h5u8E for user, pushed by a principal",
			fmt.Sprintf("__REALTIME_TIMESTAMP=%d", 1700000000000000+i*1000000))
		again := decision(0, "")
		for name, value := range e {
			again[name] = value
		}
		again["__REALTIME_TIMESTAMP"] = fmt.Sprint(1700000000100000 + i*1000000)
		entries = append(entries, e, again)
	}
	journalfile.Write(t, filepath.Join(dir, "a.journal"), entries...)
	return dir
}

// manyRows is a policy of a row for each team but the last four.
func manyRows() string {
	var b strings.Builder
	for i := range 36 {
		fmt.Fprintf(&b, "[[users.map]]\ncaller = \"arn:aws:sts::*:assumed-role/team%d/*\"\nusers = [\"user[0-9]*\", \"deploy-*\"]\n", i)
	}
	return b.String()
}

func BenchmarkTest10000(b *testing.B) {
	dir := writePushes(b, 10_000)
	for b.Loop() {
		if r := decideIn(b, manyRows(), dir); r.Decisions != 10_000 || r.Refused != 1000 {
			b.Fatalf("%d decisions, %d refused", r.Decisions, r.Refused)
		}
	}
}

// The machines of a directory may come one after the other.
func TestCountsByTime(t *testing.T) {
	t.Parallel()
	cfg, err := config.Parse([]byte("[users]\ndeny = [\"*\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	tester := newTester(Options{Config: cfg})
	for _, i := range []int{3, 4, 5, 0, 1, 2} {
		e := decision(i, "key-provided", "_MACHINE_ID="+strings.Repeat(fmt.Sprint(i/3+1), 32), "_BOOT_ID="+strings.Repeat("b", 32))
		e["__REALTIME_TIMESTAMP"] = fmt.Sprint(start.Add(time.Duration(i) * time.Second).UnixMicro())
		if err := tester.add(journal.NewRecord(e)); err != nil {
			t.Fatal(err)
		}
	}
	r := tester.finish()
	if len(r.Changes) != 1 {
		t.Fatalf("%+v", r)
	}
	c, first, last := r.Changes[0], start, start.Add(5*time.Second)
	if !r.First.Equal(first) || !r.Last.Equal(last) || !c.First.Equal(first) || !c.Last.Equal(last) || len(c.Examples) != 3 || c.Examples[0].Request != "request-3" || c.Examples[2].Request != "request-5" {
		t.Errorf("%+v, %+v", r, c)
	}
}
