package instance

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"
)

func TestIdentify(t *testing.T) {
	t.Parallel()
	const (
		id  = "i-0123456789abcdef0"
		xen = "ec2e1916-9099-7caf-fd21-012345abcdef"
	)
	for name, test := range map[string]struct {
		board, xen string // "-" is no file
		id         string
		err        error
	}{
		"Nitro":                        {id + "\n", "-", id, nil},
		"Nitro without a newline":      {id, "-", id, nil},
		"Nitro of the short kind":      {"i-0123abcd\n", "-", "i-0123abcd", nil},
		"Nitro with space around":      {" " + id + " \n\n", "-", id, nil},
		"Xen":                          {"-", xen + "\n", "", nil},
		"Xen in upper case":            {"-", strings.ToUpper(xen) + "\n", "", nil},
		"Xen in mixed case":            {"-", "eC2\n", "", nil},
		"Xen with an empty board":      {"\n", xen, "", nil},
		"Xen with another board":       {"Not Specified\n", xen, "", nil},
		"both":                         {id, xen, id, nil},
		"board, other Xen":             {id, "d0e1916e-9099-7caf-fd21-012345abcdef", id, nil},
		"neither":                      {"-", "-", "", ErrNotEC2},
		"empty files":                  {"", "", "", ErrNotEC2},
		"other Xen":                    {"-", "d0e1916e-9099-7caf-fd21-012345abcdef\n", "", ErrNotEC2},
		"Xen elsewhere":                {"-", "0ec2" + xen + "\n", "", ErrNotEC2},
		"board in upper case":          {"I-0123456789ABCDEF0\n", "-", "", ErrNotEC2},
		"digits in upper case":         {"i-0123456789ABCDEF0\n", "-", "", ErrNotEC2},
		"board with more":              {id + " x\n", "-", "", ErrNotEC2},
		"board with a second line":     {id + "\n" + id + "\n", "-", "", ErrNotEC2},
		"board with a NUL":             {id + "\x00", "-", "", ErrNotEC2},
		"board of another cloud":       {"7783-7084-3265-9085-8269-3286-77\n", "-", "", ErrNotEC2},
		"huge board":                   {id + strings.Repeat("0", 1<<20), "-", "", ErrNotEC2},
		"huge Xen that begins well":    {"-", "ec2" + strings.Repeat("0", 1<<20), "", nil},
		"huge board before a good Xen": {strings.Repeat("\x00", 1<<20), xen, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := fstest.MapFS{}
			if test.board != "-" {
				root[boardPath] = &fstest.MapFile{Data: []byte(test.board)}
			}
			if test.xen != "-" {
				root[xenPath] = &fstest.MapFile{Data: []byte(test.xen)}
			}
			id, err := Identify(root)
			if id != test.id || !errors.Is(err, test.err) {
				t.Errorf("Identify: %q, %v, want %q, %v", id, err, test.id, test.err)
			}
		})
	}
}

// brokenFS opens every file and fails to read it.
type brokenFS struct{}

func (brokenFS) Open(string) (fs.File, error) { return brokenFile{}, nil }

type brokenFile struct{}

func (brokenFile) Stat() (fs.FileInfo, error) { return nil, fs.ErrInvalid }
func (brokenFile) Close() error               { return nil }
func (brokenFile) Read(p []byte) (int, error) {
	return copy(p, "i-0123456789abcdef0\n"), errors.New("input/output error")
}

// endlessFS never comes to the end of a file.
type endlessFS struct{}

func (endlessFS) Open(string) (fs.File, error) { return endlessFile{}, nil }

type endlessFile struct{ brokenFile }

func (endlessFile) Read(p []byte) (int, error) { return copy(p, "i-0123456789abcdef0"), nil }

func TestIdentifyUnreadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{boardPath, xenPath} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dangling := t.TempDir()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(dangling, boardPath)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dangling, boardPath)); err != nil {
		t.Fatal(err)
	}
	notEC2 := fstest.MapFS{boardPath: {Data: []byte("other")}, xenPath: {Data: []byte("other")}}
	for name, test := range map[string]struct {
		root fs.FS
		want error
	}{
		"broken": {brokenFS{}, ErrUnreadable}, "directories": {os.DirFS(dir), ErrUnreadable}, "a link to nowhere": {os.DirFS(dangling), ErrUnreadable},
		"no descriptors left": {failingFS{notEC2, boardPath, unix.EMFILE}, ErrUnreadable}, "no descriptors for Xen": {failingFS{notEC2, xenPath, unix.ENFILE}, ErrUnreadable},
		"an I/O error": {failingFS{notEC2, boardPath, unix.EIO}, ErrUnreadable}, "not a directory": {failingFS{notEC2, boardPath, unix.ENOTDIR}, ErrUnreadable},
		"not there": {failingFS{notEC2, boardPath, unix.ENOENT}, ErrNotEC2},
		"endless":   {endlessFS{}, ErrNotEC2},
		"no root":   {os.DirFS(filepath.Join(dir, "x")), ErrNotEC2},
	} {
		start := time.Now()
		id, err := Identify(test.root)
		if id != "" || !errors.Is(err, test.want) || errors.Is(err, ErrNotEC2) != (test.want == ErrNotEC2) {
			t.Errorf("%s: %q, %v", name, id, err)
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("%s: it took %v", name, took)
		}
	}
}

// failingFS does not open one file.
type failingFS struct {
	fstest.MapFS
	name string
	err  error
}

func (f failingFS) Open(name string) (fs.File, error) {
	if name == f.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: f.err}
	}
	return f.MapFS.Open(name)
}

func (f failingFS) Lstat(name string) (fs.FileInfo, error) {
	if name == f.name {
		return nil, &fs.PathError{Op: "lstat", Path: name, Err: f.err}
	}
	return f.MapFS.Lstat(name)
}

// sealedFS has files that may not be read.
type sealedFS struct{ readable fstest.MapFS }

func (s sealedFS) Open(name string) (fs.File, error) {
	if f, err := s.readable.Open(name); err == nil {
		return f, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

// That it may not be read does not make it another machine.
func TestIdentifyForbidden(t *testing.T) {
	t.Parallel()
	if id, err := Identify(sealedFS{}); id != "" || !errors.Is(err, ErrUnreadable) || errors.Is(err, ErrNotEC2) {
		t.Errorf("nothing may be read: %q, %v", id, err)
	}
	xen := fstest.MapFS{xenPath: {Data: []byte("ec2e1916-9099-7caf-fd21-012345abcdef\n")}}
	if id, err := Identify(sealedFS{xen}); id != "" || err != nil {
		t.Errorf("Xen: %q, %v", id, err)
	}
}

func TestIsID(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"i-01234567", "i-0123456789abcdef0", "i-abcdefff", "i-" + strings.Repeat("0", 30)} {
		if !IsID(id) {
			t.Errorf("%q is no id", id)
		}
	}
	for _, id := range []string{
		"", "i", "i-", "i-0123456", "i-" + strings.Repeat("0", 31), "01234567890", "x-0123456789abcdef0", "i_0123456789abcdef0", "i-0123456789abcdeg0",
		"i-0123456789ABCDEF0", "I-0123456789abcdef0", "i-0123456789abcdef0\n", " i-0123456789abcdef0", "i-0123456789abcdef0/", "i-0123456789abcde\x00", "i-0123456789abcd.ef", "i-\uff10\uff11\uff12\uff13",
	} {
		if IsID(id) {
			t.Errorf("%q is an id", id)
		}
	}
}
