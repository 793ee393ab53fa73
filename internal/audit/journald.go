package audit

import (
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
)

// journalSocket is where journald takes records in its native protocol.
const journalSocket = "/run/systemd/journal/socket"

// sendJournal hands a record to journald. Where journald's queue is full it waits
// for room, for as long as patience, and then gives up with EAGAIN.
//
// It is not done with go-systemd's Send: that can be given no deadline, and its
// socket, which is not connected, does not learn of room in the queue.
func sendJournal(record []byte, patience time.Duration) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: journalSocket}); err != nil {
		return err
	}
	deadline := time.Now().Add(patience)
	for {
		_, err := unix.SendmsgN(fd, record, nil, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		left := time.Until(deadline)
		if err != unix.EAGAIN || left <= 0 {
			return err
		}
		// Others may take the place before us, so whatever this says the
		// next send decides.
		timeout := unix.NsecToTimespec(int64(left))
		unix.Ppoll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, &timeout, nil)
	}
}

// journalRecord returns an event in journald's native protocol, see
// https://systemd.io/JOURNAL_NATIVE_PROTOCOL/. The names of fs are those of
// journal fields. With the bounds of this package a record fits into one datagram.
func journalRecord(pri journal.Priority, program, message string, fs []zapcore.Field) []byte {
	b := make([]byte, 0, 1024)
	b = appendField(b, "PRIORITY", strconv.Itoa(int(pri)))
	b = appendField(b, "SYSLOG_IDENTIFIER", program)
	b = appendField(b, "SYSLOG_FACILITY", facility)
	b = appendField(b, "MESSAGE", message)
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
