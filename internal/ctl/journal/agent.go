package journal

import (
	"cmp"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The programs of eic-agent that write records.
const (
	authkeysProgram = "eic-authkeys"
	gateProgram     = "eic-serial-getty"
)

// maxComm is what the kernel keeps of a program's name.
const maxComm = 15

// maxSystemUID is the last uid that the distributions give to an account that is
// no person's.
const maxSystemUID = 999

// Trust says which records are taken for eic-agent's. The fields of a record can be
// set by everybody who may write to the journal, and that is everybody. Its uid
// cannot: journald has it from the kernel. The program's name and path are from
// /proc, where journald may come too late for a program that ends soon, and where
// whoever makes a mount namespace has a say.
type Trust struct {
	// UIDs are those of the account that sshd runs eic-authkeys as. Without
	// one, the records of every account up to uid 999 are taken.
	UIDs []uint64
}

// Origin is where a record comes from, in fields that only journald sets. A host
// whose journal was shipped set them itself.
type Origin struct {
	Host    string // its name, not unique
	Machine string
	Boot    string
	PID     uint64
	UID     uint64
}

// A Process is one process, as long as its pid is not used again within a boot.
type Process struct {
	Machine, Boot string
	PID           uint64
}

// Process is the one that wrote the record.
func (o Origin) Process() Process { return Process{o.Machine, o.Boot, o.PID} }

// origin fails for a record without the fields that a join needs.
func (r Record) origin() (Origin, bool) {
	pid, hasPID := r.Number("_PID")
	uid, hasUID := r.Number("_UID")
	o := Origin{r.Text("_HOSTNAME"), r.Text("_MACHINE_ID"), r.Text("_BOOT_ID"), pid, uid}
	return o, hasPID && hasUID && o.Machine != "" && o.Boot != ""
}

// ranAs reports whether journald saw the program of that name, or did not see
// which it was.
func (r Record) ranAs(programs ...string) bool {
	for _, program := range programs {
		comm, exe := r.Text("_COMM"), path.Base(strings.TrimSuffix(r.Text("_EXE"), " (deleted)"))
		if comm != "" && comm != program[:min(len(program), maxComm)] {
			continue
		}
		if r.Text("_EXE") == "" || exe == program {
			return true
		}
	}
	return false
}

// An Event is a record of eic-agent.
type Event struct {
	Origin
	Time  time.Time
	Order uint64 // in which the records of a host were sent

	Kind           string
	Reason         string
	User           string
	Fingerprint    string
	FingerprintMD5 string
	KeyType        string
	Caller         string
	Request        string
	Instance       string
	Port           string
	Expires        time.Time // zero where there is none
	SSHDPID        uint64    // 0 where there is none
	Message        string
}

// SSHD is the process of sshd that asked.
func (e *Event) SSHD() Process { return Process{e.Machine, e.Boot, e.SSHDPID} }

// Agent reads a record of eic-agent. claimed says that it says to be one, and the
// event is nil where it is not to be believed.
func (r Record) Agent(trust Trust) (e *Event, claimed bool) {
	program := r.Text("SYSLOG_IDENTIFIER")
	if program != authkeysProgram && program != gateProgram {
		return nil, false
	}
	o, ok := r.origin()
	switch {
	case !ok || !r.ranAs(program):
		return nil, true
	case program == gateProgram && o.UID != 0,
		program == authkeysProgram && len(trust.UIDs) > 0 && !slices.Contains(trust.UIDs, o.UID),
		program == authkeysProgram && len(trust.UIDs) == 0 && o.UID > maxSystemUID:
		return nil, true
	}
	get, message := r.Text, r.Text("MESSAGE")
	if r.Text("EIC_EVENT") == "" {
		// It went by way of syslog, as it does where journald's own socket is
		// full.
		var fields map[string]string
		message, fields = splitLine(message)
		get = func(name string) string { return fields[name] }
	}
	if get("EIC_EVENT") == "" {
		return nil, false
	}
	e = &Event{
		Origin: o, Time: r.Time(), Order: r.order(),
		Kind: get("EIC_EVENT"), Reason: get("EIC_REASON"), User: get("EIC_USER"),
		Fingerprint: get("EIC_FINGERPRINT"), FingerprintMD5: get("EIC_FINGERPRINT_MD5"), KeyType: get("EIC_KEY_TYPE"),
		Caller: get("EIC_CALLER"), Request: get("EIC_REQUEST_ID"), Instance: get("EIC_INSTANCE_ID"), Port: get("EIC_PORT"),
		Message: message,
	}
	e.SSHDPID, _ = strconv.ParseUint(cmp.Or(get("EIC_SSHD_PID"), "0"), 10, 32)
	e.Expires, _ = ParseRFC3339(get("EIC_EXPIRES"))
	return e, true
}

// splitLine takes the agent's line for syslog apart: a sentence, then " NAME=value"
// for each field, quoted as Go does where it has to be.
func splitLine(line string) (message string, fields map[string]string) {
	message, rest, ok := strings.Cut(line, " EIC_EVENT=")
	if !ok {
		return line, nil
	}
	fields = make(map[string]string)
	for name := "EIC_EVENT"; ; {
		value, after := rest, ""
		if quoted, err := strconv.QuotedPrefix(rest); err == nil {
			after = rest[len(quoted):]
			value, _ = strconv.Unquote(quoted)
		} else if i := strings.IndexByte(rest, ' '); i >= 0 {
			value, after = rest[:i], rest[i:]
		}
		fields[name] = value
		name, rest, ok = strings.Cut(strings.TrimPrefix(after, " "), "=")
		if !ok {
			return message, fields
		}
	}
}
