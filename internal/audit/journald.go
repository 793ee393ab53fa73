package audit

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
	"go.uber.org/zap/zapcore"
)

// journalSocket is where journald takes records in its native protocol. They are
// not sent by go-systemd's Send, which has no deadline.
const journalSocket = "/run/systemd/journal/socket"

// journalRecord returns an event in journald's native protocol, see
// https://systemd.io/JOURNAL_NATIVE_PROTOCOL/. The names of fs are those of
// journal fields. With the bounds of this package a record fits into one datagram.
func journalRecord(pri journal.Priority, program, message string, fs []zapcore.Field) []byte {
	b := make([]byte, 0, 1024)
	b = appendField(b, "PRIORITY", strconv.Itoa(int(pri)))
	b = appendField(b, "SYSLOG_IDENTIFIER", program)
	b = appendField(b, "SYSLOG_FACILITY", facility)
	b = appendField(b, fieldMessage, message)
	for _, f := range fs {
		b = appendField(b, f.Key, f.String)
	}
	return b
}

// appendField writes a value that has more than one line with its length, so that
// no line of it reads as another field.
func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	if strings.Contains(value, "\n") {
		b = append(b, '\n')
		b = binary.LittleEndian.AppendUint64(b, uint64(len(value)))
	} else {
		b = append(b, '=')
	}
	return append(append(b, value...), '\n')
}
