package textfile

import (
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"
)

func encode(order binary.AppendByteOrder, text string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

func TestReader(t *testing.T) {
	t.Parallel()
	const text = "ssh-ed25519 AAAA é世😀\r\n"
	for name, c := range map[string]struct{ in, want string }{
		"plain":           {text, text},
		"empty":           {"", ""},
		"one byte":        {"a", "a"},
		"binary":          {"\x1f\x8b\x08\x00", "\x1f\x8b\x08\x00"},
		"UTF-8 mark":      {"\ufeff" + text, text},
		"little, mark":    {encode(binary.LittleEndian, "\ufeff"+text), text},
		"big, mark":       {encode(binary.BigEndian, "\ufeff"+text), text},
		"little":          {encode(binary.LittleEndian, text), text},
		"big":             {encode(binary.BigEndian, text), text},
		"odd byte":        {encode(binary.LittleEndian, "ab") + "c", "ab\ufffd"},
		"half of a pair":  {"\xff\xfe\x3d\xd8a\x00", "\ufffda"},
		"half at the end": {"\xff\xfe\x3d\xd8", "\ufffd"},
	} {
		for _, reader := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
			if got, err := io.ReadAll(iotest.OneByteReader(Reader(reader))); err != nil || string(got) != c.want {
				t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
			}
		}
	}
	broken := errors.New("broken")
	in := io.MultiReader(strings.NewReader(encode(binary.LittleEndian, "\ufeffab")), iotest.ErrReader(broken))
	if got, err := io.ReadAll(Reader(in)); err != broken || string(got) != "ab" {
		t.Errorf("%q, %v", got, err)
	}
}
