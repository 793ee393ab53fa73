// Package textfile reads text files as other systems leave them: UTF-8 with a byte
// order mark, and UTF-16 of either byte order, with a mark or without.
package textfile

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"unicode/utf16"
	"unicode/utf8"
)

// WithoutPath returns an error of a file without its path, which the caller names.
func WithoutPath(err error) error {
	if pathError, ok := errors.AsType[*os.PathError](err); ok {
		return pathError.Err
	}
	return err
}

// Reader returns a reader of r's text in UTF-8 without a byte order mark. Text that
// is not UTF-16 is passed on as it is. A UTF-16 surrogate without its other half, and
// an odd last byte, become U+FFFD.
func Reader(r io.Reader) io.Reader {
	in := bufio.NewReader(r)
	start, _ := in.Peek(4)
	switch {
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")):
		_, _ = in.Discard(3)
	case bytes.HasPrefix(start, []byte("\xff\xfe")):
		_, _ = in.Discard(2)
		return &utf16Reader{in: in, order: binary.LittleEndian}
	case bytes.HasPrefix(start, []byte("\xfe\xff")):
		_, _ = in.Discard(2)
		return &utf16Reader{in: in, order: binary.BigEndian}
	// Keys and JSON start with ASCII.
	case len(start) == 4 && start[0] != 0 && start[1] == 0 && start[2] != 0 && start[3] == 0:
		return &utf16Reader{in: in, order: binary.LittleEndian}
	case len(start) == 4 && start[0] == 0 && start[1] != 0 && start[2] == 0 && start[3] != 0:
		return &utf16Reader{in: in, order: binary.BigEndian}
	}
	return in
}

// A utf16Reader turns UTF-16 into UTF-8.
type utf16Reader struct {
	in      *bufio.Reader
	order   binary.ByteOrder
	pending []byte // UTF-8 that did not fit
}

func (r *utf16Reader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(r.pending) > 0 {
			k := copy(p[n:], r.pending)
			n, r.pending = n+k, r.pending[k:]
			continue
		}
		c, err := r.next()
		if err != nil {
			if n > 0 {
				return n, nil // the error comes again
			}
			return 0, err
		}
		r.pending = utf8.AppendRune(r.pending[:0], c)
	}
	return n, nil
}

func (r *utf16Reader) next() (rune, error) {
	unit, err := r.in.Peek(2)
	if len(unit) == 1 && err == io.EOF {
		_, _ = r.in.Discard(1)
		return utf8.RuneError, nil
	}
	if err != nil {
		return 0, err
	}
	c := rune(r.order.Uint16(unit))
	_, _ = r.in.Discard(2)
	if !utf16.IsSurrogate(c) {
		return c, nil
	}
	if low, err := r.in.Peek(2); err == nil {
		if pair := utf16.DecodeRune(c, rune(r.order.Uint16(low))); pair != utf8.RuneError {
			_, _ = r.in.Discard(2)
			return pair, nil
		}
	}
	return utf8.RuneError, nil
}
