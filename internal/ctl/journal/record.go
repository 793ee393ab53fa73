package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
)

// maxLine bounds one record in JSON. journalctl leaves a field of more than 4096
// bytes out, so that only a record made to be long is longer.
const maxLine = 1 << 20

// Dropped is the MESSAGE_ID under which journald says that it left records out
// (SD_MESSAGE_JOURNAL_DROPPED of sd-messages(3)).
const Dropped = "a596d6fe7bfa4994828e72309e95d61e"

// A Record is one record as journalctl writes it in JSON. A field is text, a list
// of numbers where it is not UTF-8, a list of either where it was given more than
// once, and null where it is too long. The fields that begin with _ are
// journald's own; anybody may have set the others.
type Record map[string]any

// fields are those that are read of a record of eic-agent, sshd or journald.
// Those with __ come along with every record.
func fields() []string {
	return append(audit.FieldNames(), audit.FieldProbe,
		"SYSLOG_IDENTIFIER", "_PID", "_UID", "_COMM", "_EXE", "_SYSTEMD_UNIT",
		"_BOOT_ID", "_MACHINE_ID", "_HOSTNAME", "_TRANSPORT", "_SOURCE_REALTIME_TIMESTAMP")
}

// Text returns a field that was given once, byte for byte; of any other, "".
func (r Record) Text(name string) string {
	switch value := r[name].(type) {
	case string:
		return value
	case []any:
		return bytesOf(value)
	}
	return ""
}

// bytesOf returns the bytes that numbers stand for, or "" where one is none.
func bytesOf(list []any) string {
	text := make([]byte, len(list))
	for i, element := range list {
		number, ok := element.(float64)
		if !ok || number < 0 || number > 255 {
			return ""
		}
		text[i] = byte(number)
	}
	return string(text)
}

// Number returns a field that holds a number, not negative.
func (r Record) Number(name string) (n uint64, ok bool) {
	n, err := strconv.ParseUint(r.Text(name), 10, 63)
	return n, err == nil
}

// Time returns when journald took the record.
func (r Record) Time() time.Time {
	n, _ := r.Number("__REALTIME_TIMESTAMP")
	return time.UnixMicro(int64(n)).UTC()
}

// order returns a number that grows from one record of a host to the next in the
// order in which they were sent, which is not always the order in which journald
// took them: it reads from several sockets.
func (r Record) order() uint64 {
	if n, ok := r.Number("_SOURCE_REALTIME_TIMESTAMP"); ok {
		return n
	}
	n, _ := r.Number("__REALTIME_TIMESTAMP")
	return n
}

// Decode hands each record of what `journalctl -o json` prints to each, until
// that returns an error. It returns how many lines were too long or no record.
func Decode(r io.Reader, each func(Record) error) (skipped int, err error) {
	in := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			skipped++
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
			if err == nil {
				continue
			}
			line = nil
		case err != nil && !errors.Is(err, io.EOF):
			return skipped, &Error{"what journalctl prints could not be read: " + err.Error(), ""}
		}
		// "-- No entries --", where there are none.
		if line = bytes.TrimSpace(line); len(line) > 0 && !bytes.HasPrefix(line, []byte("-- ")) {
			var record Record
			if json.Unmarshal(line, &record) != nil {
				skipped++
			} else if err := each(record); err != nil {
				return skipped, err
			}
		}
		if err != nil {
			return skipped, nil
		}
	}
}
