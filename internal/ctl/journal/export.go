package journal

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

const (
	// bufferSize is also the longest line that is taken apart.
	bufferSize = 64 << 10
	// maxValue bounds a value that is kept. One that is longer was made to be long: it
	// is neither sshd's nor eic-agent's.
	maxValue = 4 << 10
)

// errCut is of text that ends in the middle of a record.
var errCut = &Error{"truncated output of journalctl", ""}

// errBroken is of text that is not in the export format.
var errBroken = &Error{"the output of journalctl is not in the journal's export format", ""}

// Decode hands each record of what `journalctl -o export` prints to each, until that
// returns an error. A value of more than 4 KiB is taken for a field that is not there.
// The format is that of https://systemd.io/JOURNAL_EXPORT_FORMATS/.
func Decode(r io.Reader, each func(*Record) error) error {
	d := decoder{in: bufio.NewReaderSize(r, bufferSize)}
	for {
		err := d.record()
		if d.fields > 0 && (err == nil || err == io.EOF) {
			if err := each(&d.r); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err == errBroken, err == errCut:
			return err
		case err != nil:
			return &Error{"cannot read the output of journalctl: " + err.Error(), ""}
		}
	}
}

type decoder struct {
	in     *bufio.Reader
	r      Record
	fields int // of the record that is being read
}

// record reads one record, up to the empty line that ends it. At io.EOF, the last record
// may have ended without one.
func (d *decoder) record() error {
	d.r.reset()
	d.fields = 0
	for {
		line, err := d.in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			if err := d.long(line); err != nil {
				return err
			}
			continue
		case err == io.EOF && len(line) > 0:
			return errCut
		case err != nil:
			return err
		}
		line = line[:len(line)-1]
		name, value, inLine := bytes.Cut(line, []byte{'='})
		switch {
		case len(line) == 0:
			return nil
		case bytes.HasPrefix(line, []byte("-- ")): // "-- No entries --"
		case inLine:
			d.keep(name, value)
		default:
			if err := d.binary(name); err != nil {
				return err
			}
		}
	}
}

func (d *decoder) keep(name, value []byte) {
	d.fields++
	i, ok := fieldOf(name)
	switch {
	case !ok:
	case len(value) > maxValue:
		d.r.tooLong(i)
	default:
		d.r.add(i, value)
	}
}

// long reads the rest of a line of which begin fills the buffer.
func (d *decoder) long(begin []byte) error {
	d.fields++
	name, _, ok := bytes.Cut(begin, []byte{'='})
	if !ok {
		return errBroken
	}
	if i, ok := fieldOf(name); ok {
		d.r.tooLong(i)
	}
	for {
		switch _, err := d.in.ReadSlice('\n'); {
		case err == nil:
			return nil
		case err == io.EOF:
			return errCut
		case !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

// binary reads a value that stands behind its length.
func (d *decoder) binary(name []byte) error {
	i, ok := fieldOf(name)
	if len(name) == 0 || bytes.IndexFunc(name, notOfName) >= 0 {
		return errBroken
	}
	d.fields++
	head, err := d.in.Peek(8)
	if err != nil {
		return unexpected(err)
	}
	n := binary.LittleEndian.Uint64(head)
	_, _ = d.in.Discard(8)
	switch {
	case n > 1<<32:
		return errBroken
	case ok && n <= maxValue:
		value, err := d.in.Peek(int(n))
		if err != nil {
			return unexpected(err)
		}
		d.r.add(i, value)
	case ok:
		d.r.tooLong(i)
	}
	if _, err := d.in.Discard(int(n)); err != nil {
		return unexpected(err)
	}
	if end, err := d.in.ReadByte(); err != nil {
		return unexpected(err)
	} else if end != '\n' {
		return errBroken
	}
	return nil
}

func notOfName(c rune) bool {
	return !('A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_')
}

func unexpected(err error) error {
	if err == io.EOF {
		return errCut
	}
	return err
}
