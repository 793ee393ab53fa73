package sessions

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/journal"
)

// The keys of the tests.
const (
	keyA    = "SHA256:AAAAlzfVUExX9mwoQ+/bfxzKZSbLpijiDPul+AEndxQ"
	keyAMD5 = "MD5:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff"
	keyB    = "SHA256:BBBBlzfVUExX9mwoQ+/bfxzKZSbLpijiDPul+AEndxQ"
	alice   = "arn:aws:iam::123456789012:user/alice"
	bob     = "arn:aws:iam::123456789012:user/bob"
)

const agentUID = 990

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A tape is a journal that is being written.
type tape struct {
	t       *testing.T
	records []*journal.Record
	machine string
	boot    string
	now     int // seconds after start; it moves with each record
}

func newTape(t *testing.T) *tape { return &tape{t: t, machine: "m1", boot: "b1"} }

// write appends a record. Nil values take fields away.
func (w *tape) write(identifier string, pid, uid int, fields ...string) {
	w.now++
	stamp := fmt.Sprint(start.Add(time.Duration(w.now) * time.Second).UnixMicro())
	r := map[string]string{
		"__REALTIME_TIMESTAMP": stamp, "_SOURCE_REALTIME_TIMESTAMP": stamp, "SYSLOG_IDENTIFIER": identifier, "_COMM": identifier, "_EXE": "/usr/bin/" + identifier,
		"_PID": fmt.Sprint(pid), "_UID": fmt.Sprint(uid), "_MACHINE_ID": w.machine, "_BOOT_ID": w.boot, "_HOSTNAME": "host-" + w.machine,
	}
	for i := 0; i < len(fields); i += 2 {
		r[fields[i]] = fields[i+1]
	}
	w.records = append(w.records, journal.NewRecord(r))
}

// provided is what eic-authkeys writes of a key that it gives to the sshd of a pid.
func (w *tape) provided(pid int, key, request, caller string, more ...string) {
	w.write("eic-authkeys", 5000+w.now, agentUID, append([]string{
		"MESSAGE", "gave sshd the key", "EIC_EVENT", "key-provided", "EIC_USER", "ubuntu", "EIC_FINGERPRINT", key, "EIC_FINGERPRINT_MD5", md5Of(key),
		"EIC_KEY_TYPE", "ssh-ed25519", "EIC_CALLER", caller, "EIC_REQUEST_ID", request, "EIC_SSHD_PID", fmt.Sprint(pid),
		"EIC_EXPIRES", start.Add(time.Duration(w.now+60) * time.Second).Format(time.RFC3339),
	}, more...)...)
}

// gate is what eic-serial-getty writes, whose name the kernel cuts off.
func (w *tape) gate(event string, more ...string) {
	w.write("eic-serial-getty", 7, 0, append([]string{"_COMM", "eic-serial-gett", "EIC_EVENT", event}, more...)...)
}

func md5Of(key string) string {
	if key == keyA {
		return keyAMD5
	}
	return ""
}

func (w *tape) sshd(pid int, format string, args ...any) {
	w.write("sshd", pid, 0, "MESSAGE", fmt.Sprintf(format, args...))
}

func (w *tape) accepted(pid int, key string) {
	w.sshd(pid, "Accepted publickey for ubuntu from 10.0.0.1 port %d ssh2: ED25519 %s", 40000+pid, key)
}

func (w *tape) closed(pid int) {
	w.sshd(pid, "pam_unix(sshd:session): session closed for user ubuntu")
}

// late swaps the last two records: journald took them in the other order.
func (w *tape) late() {
	n := len(w.records)
	w.records[n-2], w.records[n-1] = w.records[n-1], w.records[n-2]
}

func (w *tape) report(o Options) *Report {
	w.t.Helper()
	return w.join(journal.Trust{UIDs: []uint64{agentUID}}, o, start.Add(time.Hour))
}

func (w *tape) join(trust journal.Trust, o Options, now time.Time) *Report {
	w.t.Helper()
	r, err := Join(slices.Values(w.records), trust, o, now)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// summary is what matters of a report, in one line.
func summary(r *Report) string {
	s := ""
	for _, x := range r.Sessions {
		s += fmt.Sprintf("session %s %s %s %s %s end=%q; ", x.Machine, x.Boot, x.from(), x.requestText(), x.callerText(), x.EndTold)
	}
	for _, x := range r.Unused {
		s += fmt.Sprintf("unused %s %s; ", x.Request, place(x.Address, x.Port))
	}
	for _, x := range r.Unknown {
		s += fmt.Sprintf("unknown %s %s; ", x.Request, place(x.Address, x.Port))
	}
	for _, x := range r.Refusals {
		s += fmt.Sprintf("refused %s %s; ", x.Reason, x.Request)
	}
	for _, x := range r.Missing {
		s += "missing " + x + "; "
	}
	for _, x := range r.Notes {
		s += "note " + x + "; "
	}
	return s
}
