package journal

import (
	"bytes"
	"slices"
	"strconv"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
)

// Dropped is the MESSAGE_ID under which journald says that it left records out
// (SD_MESSAGE_JOURNAL_DROPPED of sd-messages(3)).
const Dropped = "a596d6fe7bfa4994828e72309e95d61e"

// Fields that are read of every record, by their index in a Record.
const (
	fieldCursor = iota
	fieldRealtime
	fieldMonotonic
	fieldIdentifier
	fieldPID
	fieldUID
	fieldComm
	fieldExe
	fieldUnit
	fieldBoot
	fieldMachine
	fieldHostname
	fieldTransport
	fieldSource
	fieldMessage
	firstOther // fields of audit's schema
)

// fieldNames are the names of the fields that are read of a record of eic-agent, sshd or
// journald. journalctl prints those with __ with every record.
var fieldNames = func() []string {
	names := []string{
		"__CURSOR", "__REALTIME_TIMESTAMP", "__MONOTONIC_TIMESTAMP", "SYSLOG_IDENTIFIER", "_PID", "_UID", "_COMM", "_EXE", "_SYSTEMD_UNIT",
		"_BOOT_ID", "_MACHINE_ID", "_HOSTNAME", "_TRANSPORT", "_SOURCE_REALTIME_TIMESTAMP", "MESSAGE",
	}
	for _, name := range append(audit.FieldNames(), audit.FieldProbe) {
		if name != "MESSAGE" {
			names = append(names, name)
		}
	}
	return names
}()

// fieldsByLength are the indexes of the fields whose names have that length.
var fieldsByLength = func() (index [32][]int) {
	for i, name := range fieldNames {
		index[len(name)] = append(index[len(name)], i)
	}
	return index
}()

// fieldOf returns the index of a field that is read. It is called for every field of a
// journal, and faster than a map.
func fieldOf[T string | []byte](name T) (i int, ok bool) {
	if len(name) >= len(fieldsByLength) {
		return 0, false
	}
	for _, i := range fieldsByLength[len(name)] {
		if string(name) == fieldNames[i] {
			return i, true
		}
	}
	return 0, false
}

// A Record is one record of the journal, with those fields only that this package reads.
// The fields that begin with _ are journald's own; anybody may have set the others.
// A Record is valid until the function that it is handed to returns.
type Record struct {
	spans []span // by index of the field
	text  []byte // the values, one after the other
	names map[string]string
}

// A span is the place of a value in Record.text, and how often the field was given.
type span struct{ from, to, times uint32 }

// NewRecord returns a record of these fields, for tests. Others than those that this
// package reads are left out.
func NewRecord(fields map[string]string) *Record {
	r := &Record{}
	r.reset()
	for name, value := range fields {
		if i, ok := fieldOf(name); ok {
			r.add(i, []byte(value))
		}
	}
	return r
}

// Clone returns a copy that stays valid.
func (r *Record) Clone() *Record {
	return &Record{spans: slices.Clone(r.spans), text: slices.Clone(r.text), names: r.names}
}

func (r *Record) reset() {
	if r.spans == nil {
		r.spans = make([]span, len(fieldNames))
		r.names = make(map[string]string)
	}
	clear(r.spans)
	r.text = r.text[:0]
}

func (r *Record) add(field int, value []byte) {
	s := &r.spans[field]
	if s.times++; s.times > 1 {
		return // the value is none
	}
	s.from = uint32(len(r.text))
	r.text = append(r.text, value...)
	s.to = uint32(len(r.text))
}

// tooLong notes that a field has a value of which nothing is kept.
func (r *Record) tooLong(field int) { r.spans[field].times = 2 }

// bytes returns a field that was given once, byte for byte; of any other, nil.
func (r *Record) bytes(field int) []byte {
	if s := r.spans[field]; s.times == 1 {
		return r.text[s.from:s.to]
	}
	return nil
}

// maxNames bounds the strings that intern keeps.
const maxNames = 10_000

// intern is string(r.bytes(field)) for a field whose values recur.
func (r *Record) intern(field int) string {
	value := r.bytes(field)
	if s, ok := r.names[string(value)]; ok {
		return s
	}
	s := string(value)
	if len(r.names) < maxNames {
		r.names[s] = s
	}
	return s
}

// Text returns a field that was given once, byte for byte; of any other, "".
func (r *Record) Text(name string) string {
	i, ok := fieldOf(name)
	if !ok {
		return ""
	}
	return string(r.bytes(i))
}

// Number returns a field that holds a number, not negative.
func (r *Record) Number(name string) (n uint64, ok bool) {
	i, known := fieldOf(name)
	if !known {
		return 0, false
	}
	return r.number(i)
}

func (r *Record) number(field int) (n uint64, ok bool) {
	n, err := strconv.ParseUint(string(r.bytes(field)), 10, 63)
	return n, err == nil
}

// Time returns when journald took the record.
func (r *Record) Time() time.Time {
	n, _ := r.number(fieldRealtime)
	return time.UnixMicro(int64(n)).UTC()
}

// Clock returns the time since the host's start, by a clock that nobody sets.
func (r *Record) Clock() time.Duration {
	n, ok := r.number(fieldMonotonic)
	if !ok {
		n, _ = r.number(fieldRealtime)
	}
	return time.Duration(min(n, 1<<53)) * time.Microsecond
}

// Cursor returns the place of the record in the journal.
func (r *Record) Cursor() string { return string(r.bytes(fieldCursor)) }

// Identifier returns the name that the sender goes by.
func (r *Record) Identifier() string { return r.intern(fieldIdentifier) }

// order returns a number that grows from one record of a host to the next in the
// order in which they were sent, which is not always the order in which journald
// took them: it reads from several sockets.
func (r *Record) order() uint64 {
	if n, ok := r.number(fieldSource); ok {
		return n
	}
	n, _ := r.number(fieldRealtime)
	return n
}

// base returns what follows the last slash.
func base(path []byte) []byte { return path[bytes.LastIndexByte(path, '/')+1:] }
