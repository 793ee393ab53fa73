package journal

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
)

// The programs of eic-agent that write records.
const (
	authkeysProgram = "eic-authkeys"
	gateProgram     = "eic-serial-getty"
)

// gettyPrograms are what eic-serial-getty becomes. Journald may come to its last
// record only then, and takes it for theirs.
func gettyPrograms() []string { return []string{"agetty", "login"} }

// gettyUnits begin the names of the units that eic-serial-getty is the getty of.
const gettyUnits = "serial-getty@"

// maxComm is what the kernel keeps of a program's name.
const maxComm = 15

// maxSystemUID is the last uid that the distributions give to an account that is
// no person's.
const maxSystemUID = 999

// Trust says which records are taken for eic-agent's. The fields of a record can be
// set by everybody who may write to the journal, and that is everybody. Its uid
// cannot: journald has it from the kernel. The program's name and path are from
// /proc, where journald may come too late for a program that ends soon, and where
// any process that makes a mount namespace chooses it.
type Trust struct {
	// UIDs are those of the account that sshd runs eic-authkeys as. Without
	// one, the records of every account up to uid 999 are taken.
	UIDs []uint64
}

// Origin is where a record comes from, in fields that only journald sets. In a
// shipped journal, the sending host can have forged them.
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
func (r *Record) origin() (Origin, bool) {
	pid, hasPID := r.number(fieldPID)
	uid, hasUID := r.number(fieldUID)
	o := Origin{r.intern(fieldHostname), r.intern(fieldMachine), r.intern(fieldBoot), pid, uid}
	return o, hasPID && hasUID && o.Machine != "" && o.Boot != ""
}

// OriginOf returns the origin of a record with that SYSLOG_IDENTIFIER, which any program
// can choose. ok is false for another identifier, or without the fields that a join
// needs.
func (r *Record) OriginOf(program string) (o Origin, ok bool) {
	if r.Identifier() != program {
		return o, false
	}
	return r.origin()
}

// ranAs reports whether journald saw the program of that name, or did not see
// which it was.
func (r *Record) ranAs(programs ...string) bool {
	comm, exe := r.bytes(fieldComm), base(bytes.TrimSuffix(r.bytes(fieldExe), []byte(" (deleted)")))
	for _, program := range programs {
		if len(comm) > 0 && string(comm) != program[:min(len(program), maxComm)] {
			continue
		}
		if len(r.bytes(fieldExe)) == 0 || string(exe) == program {
			return true
		}
	}
	return false
}

// becameGetty reports whether journald saw, in place of eic-serial-getty, what that
// has become: the unit is the getty's, or the program. Of root, which the caller
// checks, neither writes a record with a name that others choose.
func (r *Record) becameGetty() bool {
	return strings.HasPrefix(r.intern(fieldUnit), gettyUnits) || r.ranAs(gettyPrograms()...)
}

// An Event is a record of eic-agent.
type Event struct {
	Origin
	Time  time.Time
	Order uint64 // in which the records of a host were sent
	audit.Event
}

// SSHD is the process of sshd that asked.
func (e *Event) SSHD() Process { return Process{e.Machine, e.Boot, uint64(e.SSHDPID)} }

// Agent reads a record of eic-agent. claimed says that it says to be one, and the
// event is nil where it is not to be believed.
func (r *Record) Agent(trust Trust) (e *Event, claimed bool) {
	program := r.Identifier()
	if program != authkeysProgram && program != gateProgram {
		return nil, false
	}
	o, ok := r.origin()
	switch {
	case !ok || !r.ranAs(program) && !(program == gateProgram && r.becameGetty()):
		return nil, true
	case program == gateProgram && o.UID != 0,
		program == authkeysProgram && len(trust.UIDs) > 0 && !slices.Contains(trust.UIDs, o.UID),
		program == authkeysProgram && len(trust.UIDs) == 0 && o.UID > maxSystemUID:
		return nil, true
	}
	event, ok := audit.Decode(r.Text)
	if !ok {
		return nil, false
	}
	return &Event{Origin: o, Time: r.Time(), Order: r.order(), Event: event}, true
}
