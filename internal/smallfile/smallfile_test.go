package smallfile

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestRead(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789"), 1000)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		size  int64
		limit int
		err   error
	}{
		{10_000, 10_000, nil}, {10_000, 20_000, nil},
		{0, 10_000, nil}, {9_999, 10_000, nil}, // it grew
		{20_000, 20_000, nil}, // it shrank
		{10_000, 9_999, ErrTooLarge}, {0, 9_999, ErrTooLarge}, {1 << 40, 10_000, ErrTooLarge},
	} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		data, err := Read(int(f.Fd()), c.size, c.limit)
		if !errors.Is(err, c.err) || (err == nil) != bytes.Equal(data, content) || err != nil && data != nil {
			t.Errorf("size %d, limit %d: %d bytes, %v", c.size, c.limit, len(data), err)
		}
		f.Close()
	}
	if data, err := Read(-1, 0, 10); err == nil || data != nil {
		t.Errorf("a bad descriptor gives %q, %v", data, err)
	}
}
