package keyrecord

import (
	"bytes"
	"slices"
	"testing"
)

// FuzzAround: bytes around a good record never lose it, and no byte belongs to two
// records.
func FuzzAround(f *testing.F) {
	good := Encode(statement(edLine).SignedBytes(), make([]byte, 256))
	for _, bytes := range []string{"", "\n", "#x\n", "ssh-ed25519 AAAA\n", "#Timestamp=1\n#Instance=i-0\n", "\r\n\r\n", "AAAA", "\x00\xff", string(good), string(good[:len(good)/2]), string(good[len(good)/2:])} {
		f.Add([]byte(bytes), []byte(bytes))
	}
	f.Fuzz(func(t *testing.T, before, after []byte) {
		around := [][]byte{slices.Concat(before, []byte("\n\n"), good, after)}
		// A line that is no field ends with the next Timestamp.
		lines := bytes.Split(before, []byte("\n"))
		if n := len(lines); n > 1 && len(lines[n-1]) == 0 && len(bytes.Trim(lines[n-2], "\r")) > 0 && lines[n-2][0] != '#' {
			around = append(around, slices.Concat(before, good, after))
		}
		for _, body := range around {
			want := len(body) - len(after) - len(good)
			found := false
			end := 0
			for r := range Records(body) {
				start := cap(body) - cap(r.Text())
				if start < end {
					t.Fatalf("a record begins at %d, and the one before ended at %d", start, end)
				}
				end = start + len(r.Text())
				if !bytes.Equal(r.Text(), body[start:end]) {
					t.Fatalf("the record at %d is not what was served", start)
				}
				if start == want && r.Check(terms()) == nil {
					found = true
				}
			}
			if !found {
				t.Errorf("the record is lost between %q and %q", before, after)
			}
			if whole := Whole(body); !bytes.HasPrefix(body, whole) || len(after) == 0 && len(whole) != len(body) {
				t.Errorf("%d of %d bytes are whole", len(whole), len(body))
			}
		}
	})
}
