package sessions

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/ctl/output"
	"github.com/eic-agent/eic-agent/test/journalfile"
)

// streamed returns the sorted rows of Stream, and how many records it read.
func streamed(t *testing.T, source Source, f Filter) (rows []string, records int) {
	t.Helper()
	o := Options{Filter: f, Progress: func(time.Time) { records++ }}
	report, err := Stream(t.Context(), source, o, journalfile.Begin.Add(240*time.Hour), func(row output.Row) error {
		line, err := output.Line(row)
		rows = append(rows, line)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if report.Sessions != nil || report.Unused != nil || report.Unknown != nil || report.Refusals != nil {
		t.Error("the rest of the report has what was handed over")
	}
	slices.Sort(rows)
	return rows, records
}

// whole returns the sorted rows of a report.
func whole(t *testing.T, source Source, f Filter) (rows []string) {
	t.Helper()
	report, err := Read(t.Context(), source, Options{Filter: f}, journalfile.Begin.Add(240*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range report.Rows() {
		if line, err := output.Line(row); err != nil {
			t.Fatal(err)
		} else if row.Kind != output.Summary {
			rows = append(rows, line)
		}
	}
	slices.Sort(rows)
	return rows
}

// TestStream has the same rows as the report, whatever is asked for, and reads less of the
// journal where a filter allows that.
func TestStream(t *testing.T) {
	journalfile.Need(t)
	dir := t.TempDir()
	fleet := journalfile.Fleet{Hosts: 4, Sessions: 120}
	if err := fleet.Write(dir); err != nil {
		t.Fatal(err)
	}
	// A host with logins of one user alone, which come over syslog, pushed by two
	// principals, and with the name spelled in another way.
	var entries []journalfile.Entry
	add := func(second int, identifier string, pid, uid int, message string) {
		entries = append(entries, journalfile.Entry{
			"__REALTIME_TIMESTAMP": fmt.Sprint(journalfile.Begin.Add(5*time.Hour + time.Duration(second)*time.Second).UnixMicro()),
			"SYSLOG_IDENTIFIER":    identifier, "_COMM": identifier, "_PID": fmt.Sprint(pid), "_UID": fmt.Sprint(uid), "MESSAGE": message,
		})
	}
	for i, login := range []string{"deploy", "Deploy"} {
		for j, caller := range []string{alice, bob} {
			add(10*i+j, "eic-authkeys", 7, 990, fmt.Sprintf("gave sshd the key EIC_EVENT=key-provided EIC_USER=deploy EIC_FINGERPRINT=%s EIC_CALLER=%s EIC_REQUEST_ID=r%d%d EIC_SSHD_PID=%d", keyA, caller, i, j, 100+i))
		}
		add(10*i+2, "sshd", 100+i, 0, fmt.Sprintf("Accepted publickey for %s from 10.0.0.1 port 40100 ssh2: ED25519 %s", login, keyA))
		add(10*i+3, "sshd", 100+i, 0, "pam_unix(sshd:session): session closed for user "+login)
	}
	add(30, "eic-authkeys", 7, 990, "gave sshd the key EIC_EVENT=key-provided EIC_USER=deploy EIC_FINGERPRINT="+keyA+" EIC_CALLER="+bob+" EIC_REQUEST_ID=r9 EIC_SSHD_PID=109")
	add(31, "eic-authkeys", 7, 990, "refused a record EIC_EVENT=record-refused EIC_REASON=expired EIC_USER=deploy EIC_CALLER="+bob)
	journalfile.Write(t, filepath.Join(dir, "other.journal"), entries...)

	source := Source{Directory: dir}
	all, allRecords := streamed(t, source, Filter{})
	if want := fleet.Sessions + 2 + 2; len(all) != want {
		t.Fatalf("%d rows, want %d", len(all), want)
	}
	// matched are the rows of the whole report that have one of the texts.
	matched := func(texts ...string) (rows []string) {
		for _, row := range all {
			if slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(row, text) }) {
				rows = append(rows, row)
			}
		}
		return rows
	}
	until := journalfile.Begin.Add(40 * time.Second)
	for _, c := range []struct {
		name   string
		filter Filter
		want   []string
		less   bool // than all records are read
	}{
		{"all", Filter{}, all, false},
		{"a user", Filter{User: "user3"}, matched(`"user":"user3"`), true},
		{"a user of one host, in another spelling", Filter{User: "Deploy"}, matched(`"user":"Deploy"`), true},
		{"a user of one host", Filter{User: "deploy"}, matched(`"user":"deploy"`, `"user":"Deploy"`), true},
		{"a pattern", Filter{User: "deplo?"}, matched(`"user":"deploy"`, `"user":"Deploy"`), false},
		{"nobody", Filter{User: "nobody"}, nil, true},
		{"a principal, whose push is one of two", Filter{Caller: alice}, matched(`"caller":"` + alice), true},
		{"principals of every host", Filter{Caller: "arn:aws:sts::*:assumed-role/ops/user*"}, matched("ops/user"), false},
		{"no principal", Filter{Caller: "arn:aws:iam::123456789012:user/carol"}, nil, true},
		{"up to a time", Filter{Until: until}, matched(`"start":"2023-11-14T22:13:`), false},
		{"a user up to a time", Filter{User: "deploy", Until: until}, nil, true},
	} {
		got, records := streamed(t, source, c.filter)
		if !slices.Equal(got, c.want) || len(c.want) == 0 && !strings.HasPrefix(c.name, "no") && !strings.Contains(c.name, "up to") {
			t.Errorf("%s: %d rows, want %d\n%.2000s", c.name, len(got), len(c.want), strings.Join(got, ""))
		}
		if table := whole(t, source, c.filter); !slices.Equal(got, table) {
			t.Errorf("%s: %d rows, and %d in the report", c.name, len(got), len(table))
		}
		if (records < allRecords/2) != c.less {
			t.Errorf("%s: %d of %d records read", c.name, records, allRecords)
		}
	}
	// Not to the end, where everything in question has ended. Four hours lie between.
	w := newTape(t)
	w.provided(100, keyA, "r1", alice)
	w.accepted(100, keyA)
	c := newCollector(journal.Trust{}, Options{Filter: Filter{Until: start.Add(time.Hour)}}, start, nil)
	c.ordered = true
	read := func(pid int) (n int, err error) {
		for ; err == nil && n < 5000; n++ {
			w.records = w.records[:0]
			w.now += 3600
			w.accepted(pid+n, keyB)
			err = c.step(w.records[0])
		}
		return n, err
	}
	for _, r := range w.records {
		if err := c.step(r); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := read(1000); err != nil {
		t.Errorf("stopped after %d records, while a session was open: %v", n, err)
	}
	w.records = w.records[:0]
	w.closed(100)
	if err := c.step(w.records[0]); err != nil {
		t.Fatal(err)
	}
	if n, err := read(100000); err != errDone || n > 2048 {
		t.Errorf("not stopped: %d records, %v", n, err)
	}
	c.ordered = false // other machines may come after this one
	if n, err := read(200000); err != nil {
		t.Errorf("stopped after %d records of one of several machines: %v", n, err)
	}
}

// TestStreamMemory keeps of ten thousand sessions no more than of a hundred.
func TestStreamMemory(t *testing.T) {
	t.Parallel()
	var sizes []int
	for _, n := range []int{1000, 10_000} {
		rows := 0
		c := newCollector(journal.Trust{}, Options{}, journalfile.Begin, func(output.Row) error { rows++; return nil })
		in, out := io.Pipe()
		go func() {
			journalfile.Fleet{Hosts: 5, Sessions: n}.WriteExport(out)
			out.Close()
		}()
		if err := journal.Decode(in, c.add); err != nil {
			t.Fatal(err)
		}
		size := len(c.idle) + c.entries + len(c.refusals)
		for _, b := range c.boots {
			size += len(b.processes) + len(b.connections) + len(b.consoles) + len(b.due)
		}
		sizes = append(sizes, size)
		if _, err := c.finish(); err != nil || rows != n {
			t.Errorf("%d sessions of %d, %v", rows, n, err)
		}
	}
	if sizes[1] > sizes[0] {
		t.Errorf("%v kept", sizes)
	}
}

// A session ID stays what it is, since consumers keep it.
func TestSessionID(t *testing.T) {
	t.Parallel()
	w := newTape(t)
	w.provided(100, keyA, "r1", alice)
	w.accepted(100, keyA)
	w.gate("gate-opened", "EIC_PORT", "0")
	r := w.report(Options{})
	if len(r.Sessions) != 2 || r.Sessions[0].ID != "3d8126de30a2f7fe282c09608e2864b6" || r.Sessions[1].ID == r.Sessions[0].ID || len(r.Sessions[1].ID) != 32 {
		text, _ := json.Marshal(r.Sessions)
		t.Errorf("%s", bytes.TrimSpace(text))
	}
}
