package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/test/journalfile"
)

func collect(t *testing.T, text string) (records []*Record) {
	t.Helper()
	err := Decode(strings.NewReader(text), func(r *Record) error {
		records = append(records, r.Clone())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// binaryField is a field of the export format that holds any bytes.
func binaryField(name, value string) string {
	return name + "\n" + string(binary.LittleEndian.AppendUint64(nil, uint64(len(value)))) + value + "\n"
}

func TestDecode(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3*bufferSize)
	records := collect(t, strings.Join([]string{
		"MESSAGE=one=1\n__REALTIME_TIMESTAMP=1700000000000001\n_PID=7\n",
		binaryField("MESSAGE", "hi\xff\n\n=") + "_PID=-7\n__REALTIME_TIMESTAMP=1700000000000000\n__MONOTONIC_TIMESTAMP=3000\n_SOURCE_REALTIME_TIMESTAMP=5\n",
		"EIC_USER=a\nMESSAGE=\nEIC_USER=b\nOTHER=x\n" + binaryField("OTHER", long) + "OTHER=" + long + "\nEIC_CALLER=" + long + "\n" + binaryField("EIC_REASON", long[:maxValue+1]),
		"\n\n-- No entries --\nMESSAGE=last, without a record behind it\n",
	}, "\n"))
	if len(records) != 4 {
		t.Fatalf("%d records", len(records))
	}
	if r := records[0]; r.Text("MESSAGE") != "one=1" || r.Time() != time.Unix(1700000000, 1000).UTC() || r.order() != 1700000000000001 {
		t.Errorf("%q, %v, %d", r.Text("MESSAGE"), r.Time(), r.order())
	}
	if n, ok := records[0].Number("_PID"); n != 7 || !ok {
		t.Errorf("pid %d, %v", n, ok)
	}
	if _, ok := records[1].Number("_PID"); ok || records[1].order() != 5 || records[1].Clock() != 3*time.Millisecond {
		t.Errorf("order %d, clock %v", records[1].order(), records[1].Clock())
	}
	if got := records[1].Text("MESSAGE"); got != "hi\xff\n\n=" {
		t.Errorf("bytes: %q", got)
	}
	for _, name := range []string{"EIC_USER", "EIC_CALLER", "EIC_REASON", "MESSAGE", "_PID", "OTHER"} {
		if got := records[2].Text(name); got != "" {
			t.Errorf("%s: %.40q", name, got)
		}
	}
	if got := records[3].Text("MESSAGE"); got != "last, without a record behind it" {
		t.Errorf("last: %q", got)
	}
	stop := errors.New("stop")
	if err := Decode(strings.NewReader("A=1\n\nA=2\n"), func(*Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("stopped: %v", err)
	}
}

// TestDecodeBroken has an error, and no record, of what is cut off or something else.
func TestDecodeBroken(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{
		"MESSAGE=cut":           errCut,
		"MESSAGE\n\x05\x00\x00": errCut,
		"MESSAGE\n\x05\x00\x00\x00\x00\x00\x00\x00abc": errCut,
		binaryField("OTHER", "abc")[:15]:               errCut,
		"MESSAGE=" + strings.Repeat("x", bufferSize):   errCut,
		"{}\n": errBroken, "lower\n": errBroken,
		binaryField("MESSAGE", "abc")[:19] + "x":      errBroken,
		"MESSAGE\n\xff\xff\xff\xff\xff\xff\xff\xff\n": errBroken,
		strings.Repeat("x", bufferSize) + "\n":        errBroken,
	} {
		err := Decode(strings.NewReader(text), func(*Record) error { t.Errorf("%.40q is a record", text); return nil })
		if !errors.Is(err, want) {
			t.Errorf("%.40q: %v, want %v", text, err, want)
		}
	}
}

// TestTrust has the account believed that is named, whatever its uid: the
// sshd_config that OpenSSH ships has nobody in its example.
func TestTrust(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		trust Trust
		uid   string
		want  bool
	}{
		{Trust{}, "990", true}, {Trust{}, "999", true}, {Trust{}, "1000", false}, {Trust{}, "65534", false},
		{Trust{UIDs: []uint64{65534}}, "65534", true}, {Trust{UIDs: []uint64{65534}}, "990", false}, {Trust{UIDs: []uint64{990}}, "0", false},
	} {
		r := NewRecord(map[string]string{"SYSLOG_IDENTIFIER": "eic-authkeys", "EIC_EVENT": "key-provided", "_PID": "7", "_UID": c.uid, "_MACHINE_ID": "m", "_BOOT_ID": "b"})
		if e, claimed := r.Agent(c.trust); (e != nil) != c.want || !claimed {
			t.Errorf("%+v, uid %s: believed %v", c.trust, c.uid, e != nil)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("SYSLOG_IDENTIFIER=sshd\nMESSAGE=Accepted publickey for a from b port 1 ssh2: RSA SHA256:x\n_PID=1\n_UID=0\n_MACHINE_ID=m\n_BOOT_ID=b\n\n"))
	f.Add([]byte("SYSLOG_IDENTIFIER=eic-authkeys\nMESSAGE=m EIC_EVENT=key-provided EIC_CALLER=\"a b\n_PID=1\n_UID=9\n_MACHINE_ID=m\n_BOOT_ID=b\n"))
	f.Add([]byte(binaryField("MESSAGE", "\x00\n") + "\n\n-- x\nA=\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		err := Decode(bytes.NewReader(text), func(r *Record) error {
			if e, claimed := r.Agent(Trust{}); e != nil && (!claimed || e.UID > maxSystemUID || e.Kind == "") {
				t.Errorf("%q is taken for %+v", text, e)
			}
			if s := r.SSHD(); s != nil && !s.Known && s.User != "" {
				t.Errorf("%q is taken for %+v", text, s)
			}
			return nil
		})
		if err != nil && err != errCut && err != errBroken {
			t.Error(err)
		}
	})
}

func read(t *testing.T, q Query) (n int, warnings []string, err error) {
	t.Helper()
	warnings, err = Read(t.Context(), q, func(*Record) error { n++; return nil })
	return n, warnings, err
}

// sentence fails unless err is one clear sentence with that in it.
func sentence(t *testing.T, err error, want string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(e.Sentence, want) || strings.Contains(e.Sentence, "\n") {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestRead(t *testing.T) {
	journalfile.Need(t)
	dir := t.TempDir()
	journalfile.Write(t, filepath.Join(dir, "a.journal"),
		journalfile.Entry{"MESSAGE": "old", "SYSLOG_IDENTIFIER": "sshd", "__REALTIME_TIMESTAMP": "1600000000000000"},
		journalfile.Entry{"MESSAGE": "one\xff", "SYSLOG_IDENTIFIER": "sshd", "__REALTIME_TIMESTAMP": "1700000000000000"},
		journalfile.Entry{"MESSAGE": "other", "SYSLOG_IDENTIFIER": "cron", "__REALTIME_TIMESTAMP": "1700000001000000"},
	)
	journalfile.Write(t, filepath.Join(dir, "b.journal"),
		journalfile.Entry{"MESSAGE": strings.Repeat("long", 2000), "OTHER": "x", "SYSLOG_IDENTIFIER": "sshd-session", "_MACHINE_ID": strings.Repeat("b", 32), "_BOOT_ID": strings.Repeat("b", 32), "__REALTIME_TIMESTAMP": "1700000000500000"},
	)
	var records []*Record
	q := Query{Directory: dir, Since: time.Unix(1650000000, 0), Matches: []string{"SYSLOG_IDENTIFIER=sshd", "SYSLOG_IDENTIFIER=sshd-session"}}
	warnings, err := Read(t.Context(), q, func(r *Record) error { records = append(records, r.Clone()); return nil })
	if err != nil || len(warnings) != 0 || len(records) != 2 {
		t.Fatalf("%d records, %q, %v", len(records), warnings, err)
	}
	// Which machine comes first is up to journalctl.
	slices.SortFunc(records, func(a, b *Record) int { return a.Time().Compare(b.Time()) })
	if records[0].Text("MESSAGE") != "one\xff" || records[1].Text("MESSAGE") != "" || records[1].Text("OTHER") != "" {
		t.Errorf("%v", records)
	}

	// The directory may be one below the working directory.
	t.Chdir(filepath.Dir(dir))
	if n, _, err := read(t, Query{Directory: filepath.Base(dir), Since: q.Since, Matches: q.Matches}); n != 2 || err != nil {
		t.Errorf("relative: %d records, %v", n, err)
	}
	starts, complete, err := Starts(t.Context(), filepath.Base(dir))
	want := []Start{{"host", journalfile.Machine, time.Unix(1600000000, 0).UTC()}, {"host", strings.Repeat("b", 32), time.Unix(1700000000, 500000000).UTC()}}
	if !slices.Equal(starts, want) || !complete || err != nil {
		t.Errorf("starts %v, %v, %v", starts, complete, err)
	}

	stop := errors.New("stop")
	if _, err := Read(t.Context(), q, func(*Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("stopped: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Read(ctx, q, func(*Record) error { return nil })
	sentence(t, err, "interrupted")

	// A damaged file is named, and the others are read.
	if err := os.WriteFile(filepath.Join(dir, "c.journal"), []byte("LPKSHHRH"), 0o644); err != nil {
		t.Fatal(err)
	}
	if n, warnings, err := read(t, q); n != 2 || err != nil || len(warnings) == 0 || !strings.Contains(warnings[0], "c.journal") {
		t.Errorf("damaged: %d records, %q, %v", n, warnings, err)
	}
	_, _, err = read(t, Query{Directory: dir, Matches: []string{"no match"}})
	sentence(t, err, "journalctl failed: ")
	_, _, err = read(t, Query{Directory: t.TempDir()})
	sentence(t, err, "has no journal files")
	_, _, err = read(t, Query{Directory: dir + "/none"})
	sentence(t, err, "cannot read the directory")
}

// As another user, who may not read the files.
// TestReadFields has every field that is read of a record come along with it.
func TestReadFields(t *testing.T) {
	journalfile.Need(t)
	dir := t.TempDir()
	entry := journalfile.Entry{
		"SYSLOG_IDENTIFIER": "eic-authkeys", "MESSAGE_ID": "1", "_TRANSPORT": "journal", "MESSAGE": "sentence", "_PID": "7", "_UID": "998",
		"_COMM": "eic-authkeys", "_EXE": "/usr/bin/eic-authkeys", "_SOURCE_REALTIME_TIMESTAMP": "1700000000000001",
		"EIC_EVENT": "kind", "EIC_REASON": "reason", "EIC_USER": "user", "EIC_FINGERPRINT": "SHA256:f", "EIC_FINGERPRINT_MD5": "MD5:f",
		"EIC_KEY_TYPE": "type", "EIC_CALLER": "arn", "EIC_REQUEST_ID": "id", "EIC_EXPIRES": "2026-01-02T03:04:05Z",
		"EIC_INSTANCE_ID": "i-1", "EIC_PORT": "0", "EIC_SSHD_PID": "6", "EIC_LOST": "2", "EIC_SCHEMA": "1", "_SYSTEMD_UNIT": "ssh.service",
		"EIC_SESSION_ID": "id", "EIC_KEY_BITS": "256", "EIC_HOST": "h", "EIC_MACHINE_ID": "m", "EIC_BOOT_ID": "b", "EIC_ADDRESS": "10.0.0.1", "EIC_ADDRESS_PORT": "5", "EIC_METHOD": "m",
		"EIC_STARTED": "2026-01-02T03:04:05.000001Z", "EIC_ENDED": "2026-01-02T03:04:05.000001Z", "EIC_END_TOLD_BY": "sshd", "EIC_PUSHES": "2",
	}
	journalfile.Write(t, filepath.Join(dir, "a.journal"), entry)
	var records []*Record
	if _, err := Read(t.Context(), Query{Directory: dir}, func(r *Record) error { records = append(records, r.Clone()); return nil }); err != nil || len(records) != 1 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for name, want := range entry {
		if got := records[0].Text(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	event, _ := records[0].Agent(Trust{})
	if event == nil {
		t.Fatal("no event of eic-agent")
	}
	for _, v := range []reflect.Value{reflect.ValueOf(*event), reflect.ValueOf(event.Event)} {
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("%s was not read", v.Type().Field(i).Name)
			}
		}
	}
}

func TestReadDenied(t *testing.T) {
	journalfile.Need(t)
	if os.Getenv("EIC_JOURNAL_DENIED") != "" {
		_, _, err := read(t, Query{Directory: os.Getenv("EIC_JOURNAL_DENIED")})
		sentence(t, err, "no permission to read the journal files")
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	dir, err := os.MkdirTemp("/tmp", "eic-journal-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	journalfile.Write(t, filepath.Join(dir, "a.journal"), journalfile.Entry{"MESSAGE": "x"})
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "program")
	for _, err := range []error{
		os.WriteFile(program, exe, 0o755), os.Chmod(program, 0o755), os.Chmod(dir, 0o755), os.Chmod(filepath.Join(dir, "a.journal"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "-test.run=^TestReadDenied$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "EIC_JOURNAL_DENIED="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS: TestReadDenied") {
		t.Errorf("%v: %s", err, out)
	}
}

// journalctl that is missing, fails, is old, or says what it does of another host.
func TestPrograms(t *testing.T) {
	for _, c := range []struct {
		name, script, want string
		records            int
	}{
		{"missing", "", "journalctl is not installed", 0},
		{"fails", "echo 'Failed to open files: bad magic' >&2; exit 1", "journalctl failed: Failed to open files: bad magic", 0},
		{"fails silently", "exit 3", "journalctl failed (exit status 3)", 0},
		{"killed", "kill -9 $$", "journalctl failed (signal: killed)", 0},
		{"noisy", "yes 'a complaint' | head -n 100000 >&2; exit 1", "journalctl failed: a complaint", 0},
		{"in no group", "case $* in *lines=0*) printf 'Hint: You are currently not seeing messages from other users and the system.\\n      Users in groups ...\\n' >&2;; *) echo '_PID=1';; esac", "no permission to read the system's journal", 0},
		{"no journal", "echo 'No journal files were found.' >&2", "this host has no journal", 0},
		{"fails half way", "case $* in *lines=0*) exit 0;; esac; printf '_PID=1\\n\\n_PI'; exit 1", "journalctl failed", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			program := "eic-no-such-program"
			if c.script != "" {
				program = filepath.Join(t.TempDir(), "journalctl")
				if err := os.WriteFile(program, []byte("#!/bin/sh\n"+c.script+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			n, _, err := read(t, Query{program: program})
			if c.want != "" {
				sentence(t, err, c.want)
			} else if err != nil {
				t.Error(err)
			}
			if n != c.records {
				t.Errorf("%d records", n)
			}
		})
	}
}

func TestHead(t *testing.T) {
	t.Parallel()
	h := &head{limit: 5}
	for _, text := range []string{"abc", "defg", "h"} {
		if n, err := h.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if got := h.buffer.String(); got != "abcde" {
		t.Errorf("kept %q", got)
	}
}

func TestParseMoment(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 30, 0, 0, time.FixedZone("", 3600))
	for text, want := range map[string]string{
		"now": "2026-03-01T12:30:00+01:00", "today": "2026-03-01T00:00:00+01:00", "yesterday": "2026-02-28T00:00:00+01:00",
		"2026-02-01": "2026-02-01T00:00:00+01:00", "2026-02-01 10:11": "2026-02-01T10:11:00+01:00", "2026-02-01 10:11:12": "2026-02-01T10:11:12+01:00",
		"2026-02-01T10:11:12Z": "2026-02-01T11:11:12+01:00", "@0": "1970-01-01T01:00:00+01:00",
		"90s": "2026-03-01T12:28:30+01:00", "90m": "2026-03-01T11:00:00+01:00", "-24h": "2026-02-28T12:30:00+01:00", "7d": "2026-02-22T12:30:00+01:00", "2w": "2026-02-15T12:30:00+01:00",
	} {
		got, err := ParseMoment(text, now)
		if err != nil || got.In(now.Location()).Format(time.RFC3339) != want {
			t.Errorf("%q: %v, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-", "soon", "1", "h", "1.5h", "--1h", "99999999999h", "3y", "@-1", "@", "2026-13-01", "2026-02-01 25:00", "4000000000w", "@1099511627775", "9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00"} {
		if got, err := ParseMoment(text, now); err == nil || !got.IsZero() {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

// A record of the listener may be about another process.
func TestSSHD(t *testing.T) {
	t.Parallel()
	record := func(fields ...string) *Record {
		r := map[string]string{"SYSLOG_IDENTIFIER": "sshd", "_PID": "7", "_UID": "0", "_MACHINE_ID": "m", "_BOOT_ID": "b"}
		for i := 0; i < len(fields); i += 2 {
			r[fields[i]] = fields[i+1]
		}
		return NewRecord(r)
	}
	for message, want := range map[string]uint64{
		"Timeout before authentication for connection from 10.0.0.1 to 10.0.0.2, pid = 77": 77,
		"Accepted publickey for alice from 10.0.0.1 port 5 ssh2: ED25519 SHA256:x":         7,
		"User child is on pid 77": 7, "whatever": 7,
	} {
		if s := record("MESSAGE", message).SSHD(); s == nil || s.Text != message || s.Process() != (Process{"m", "b", want}) || !s.Root() {
			t.Errorf("%q: %+v", message, s)
		}
	}
	for _, r := range []*Record{record("SYSLOG_IDENTIFIER", "x"), record("_PID", ""), record("_COMM", "logger"), record("_EXE", "/usr/bin/logger")} {
		if s := r.SSHD(); s != nil {
			t.Errorf("%v is taken for %+v", r, s)
		}
	}
}

// TestJudge has what journalctl says where not all of the journal may be read.
func TestJudge(t *testing.T) {
	t.Parallel()
	for _, said := range []string{
		"No journal files were opened due to insufficient permissions.\n",
		"Hint: You are currently not seeing messages from other users and the system.\n      Users in groups 'adm', 'systemd-journal' can see all messages.\n",
		"Failed to open files: Permission denied\n",
	} {
		for directory, want := range map[string]string{"": "no permission to read the system's journal", "/x": `no permission to read the journal files in "/x"`} {
			if warnings, err := judge(said, nil, directory); err == nil || err.Error() != want || warnings != nil {
				t.Errorf("%q: %v, %q", said, err, warnings)
			}
		}
	}
}

// journalctl ends at the first record that is later than --until. In a directory those of
// other machines may come after it.
func TestUntil(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := filepath.Join(dir, "journalctl")
	script := `#!/bin/sh
for time in 10 30 20 21; do
	case "$* $time" in *--until=*" 30") exit ;; esac
	printf '__REALTIME_TIMESTAMP=%s000000\n\n' $time
done
`
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for directory, want := range map[string]string{"": "10 ", dir: "10 20 "} {
		got := ""
		q := Query{program: program, Directory: directory, Until: time.Unix(20, 0)}
		if _, err := Read(t.Context(), q, func(r *Record) error { got += fmt.Sprint(r.Time().Unix(), " "); return nil }); err != nil || got != want {
			t.Errorf("%q: %s, %v", directory, got, err)
		}
	}
}
