package rootfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/test/need"
)

const (
	content = "what the file says\n"
	limit   = 100
	// stranger is a user id that nobody has.
	stranger = 54321
)

// A tree is a directory to make files in. Every call that fails ends the test.
type tree struct {
	t    *testing.T
	root string
}

func newTree(t *testing.T) tree {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	// t.TempDir obeys the umask.
	check(t, os.Chmod(root, 0o755))
	check(t, os.Chmod(filepath.Dir(root), 0o755))
	return tree{t, root}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (d tree) path(name string) string { return d.root + "/" + name }

func (d tree) file(name string, mode os.FileMode) string {
	check(d.t, os.WriteFile(d.path(name), []byte(content), 0o600))
	check(d.t, os.Chmod(d.path(name), mode))
	return d.path(name)
}

func (d tree) dir(name string, mode os.FileMode) string {
	check(d.t, os.Mkdir(d.path(name), 0o700))
	check(d.t, os.Chmod(d.path(name), mode))
	return d.path(name)
}

func (d tree) link(target, name string) string {
	check(d.t, os.Symlink(target, d.path(name)))
	return d.path(name)
}

func (d tree) chown(path string) string {
	check(d.t, os.Lchown(path, stranger, 0))
	return path
}

// A row makes files and returns the path to read, and part of the error, or ""
// when the file is to be read.
type row struct {
	name string
	root bool // it gives files away
	make func(d tree) (path, problem string)
}

func rows() []row {
	const (
		writable  = "is writable by users other than root"
		foreign   = "is owned by user ID 54321, not root"
		irregular = "is not a regular file"
	)
	return []row{
		{"a file", false, func(d tree) (string, string) { return d.file("f", 0o644), "" }},
		{"a private file", false, func(d tree) (string, string) { return d.file("f", 0o600), "" }},
		{"a file that its owner may not write", false, func(d tree) (string, string) { return d.file("f", 0o444), "" }},
		{"of another", true, func(d tree) (string, string) { return d.chown(d.file("f", 0o644)), "/f " + foreign }},
		{"group may write", false, func(d tree) (string, string) { return d.file("f", 0o664), "/f " + writable + " (mode 0664)" }},
		{"others may write", false, func(d tree) (string, string) { return d.file("f", 0o602), "/f " + writable }},
		{"a sticky file that others may write", false, func(d tree) (string, string) { return d.file("f", 0o646|os.ModeSticky), "/f " + writable }},

		{"group may write the directory", false, func(d tree) (string, string) {
			d.dir("d", 0o775)
			return d.file("d/f", 0o644), "/d " + writable
		}},
		{"others may write the directory", false, func(d tree) (string, string) {
			d.dir("d", 0o757)
			return d.file("d/f", 0o644), "/d " + writable
		}},
		{"others may write a directory above", false, func(d tree) (string, string) {
			d.dir("d", 0o777)
			d.dir("d/e", 0o755)
			return d.file("d/e/f", 0o644), "/d " + writable
		}},
		{"a sticky directory", false, func(d tree) (string, string) {
			d.dir("d", 0o777|os.ModeSticky)
			return d.file("d/f", 0o644), ""
		}},
		{"of another in a sticky directory", true, func(d tree) (string, string) {
			d.dir("d", 0o777|os.ModeSticky)
			return d.chown(d.file("d/f", 0o644)), "/d/f " + foreign
		}},
		{"a directory of another", true, func(d tree) (string, string) {
			d.dir("d", 0o755)
			d.file("d/f", 0o644)
			return d.chown(d.path("d")) + "/f", "/d " + foreign
		}},
		{"a sticky directory of another", true, func(d tree) (string, string) {
			d.dir("d", 0o1755|os.ModeSticky)
			d.file("d/f", 0o644)
			return d.chown(d.path("d")) + "/f", "/d " + foreign
		}},

		{"a link", false, func(d tree) (string, string) {
			d.file("f", 0o644)
			return d.link("f", "l"), ""
		}},
		{"an absolute link", false, func(d tree) (string, string) { return d.link(d.file("f", 0o644), "l"), "" }},
		{"a link to a directory", false, func(d tree) (string, string) {
			d.dir("d", 0o755)
			d.file("d/f", 0o644)
			return d.link("d", "l") + "/f", ""
		}},
		{"a link to a link", false, func(d tree) (string, string) {
			d.file("f", 0o644)
			d.link("f", "l")
			return d.link("./l", "m"), ""
		}},
		{"a link to one of another", true, func(d tree) (string, string) {
			d.chown(d.file("f", 0o644))
			return d.link("f", "l"), "/f " + foreign
		}},
		{"a link to one that others may write", false, func(d tree) (string, string) {
			d.file("f", 0o666)
			return d.link("f", "l"), "/f " + writable
		}},
		{"a link into a directory that others may write", false, func(d tree) (string, string) {
			d.dir("d", 0o777)
			d.file("d/f", 0o644)
			return d.link("d/f", "l"), "/d " + writable
		}},
		{"an absolute link into such a directory", false, func(d tree) (string, string) {
			d.dir("d", 0o777)
			return d.link(d.file("d/f", 0o644), "l"), "/d " + writable
		}},
		{"a link out of such a directory", false, func(d tree) (string, string) {
			d.dir("d", 0o777)
			d.file("f", 0o644)
			return d.link("../f", "d/l"), "/d " + writable
		}},
		{"a link of another", true, func(d tree) (string, string) {
			d.file("f", 0o644)
			return d.chown(d.link("f", "l")), "/l " + foreign
		}},
		{"a link of another in a sticky directory", true, func(d tree) (string, string) {
			d.dir("d", 0o777|os.ModeSticky)
			d.file("f", 0o644)
			return d.chown(d.link("../f", "d/l")), "/d/l " + foreign
		}},
		{"a link of another, to a directory", true, func(d tree) (string, string) {
			d.dir("d", 0o755)
			d.file("d/f", 0o644)
			return d.chown(d.link("d", "l")) + "/f", "/l " + foreign
		}},
		{"a link to itself", false, func(d tree) (string, string) { return d.link("l", "l"), "too many symbolic links" }},
		{"links to each other", false, func(d tree) (string, string) {
			d.link("m", "l")
			return d.link("l", "m"), "too many symbolic links"
		}},
		{"a link that grows", false, func(d tree) (string, string) { return d.link("l/x", "l"), "too many symbolic links" }},
		{"40 links", false, func(d tree) (string, string) { return d.chain(40), "" }},
		{"41 links", false, func(d tree) (string, string) { return d.chain(41), "too many symbolic links" }},
		{"a link to nothing", false, func(d tree) (string, string) { return d.link("x", "l"), "no such file or directory" }},

		{"above by dots", false, func(d tree) (string, string) {
			d.dir("d", 0o755)
			d.file("f", 0o644)
			return d.path("d/../f"), ""
		}},
		{"above the root", false, func(d tree) (string, string) { return "/../.." + d.file("f", 0o644), "" }},
		{"above what others may write", false, func(d tree) (string, string) {
			d.dir("d", 0o777)
			d.file("f", 0o644)
			return d.path("d/../f"), "/d " + writable
		}},
		// d/l leads to e/deep, so d/l/../f is e/f and not d/f.
		{"above a link", false, func(d tree) (string, string) {
			d.dir("d", 0o755)
			check(d.t, os.WriteFile(d.path("d/f"), []byte("the wrong file"), 0o644))
			d.dir("e", 0o755)
			d.dir("e/deep", 0o755)
			d.file("e/f", 0o644)
			d.link("../e/deep", "d/l")
			return d.path("d/l/../f"), ""
		}},
		{"dots in a link", false, func(d tree) (string, string) {
			d.dir("d", 0o755)
			d.dir("e", 0o755)
			d.file("e/f", 0o644)
			return d.link("../e/./f", "d/l"), ""
		}},
		{"double slashes", false, func(d tree) (string, string) {
			d.dir("d", 0o755)
			d.file("d/f", 0o644)
			return "/" + d.root + "//d/.//f", ""
		}},

		{"missing", false, func(d tree) (string, string) { return d.path("x"), "/x: no such file or directory" }},
		{"in a missing directory", false, func(d tree) (string, string) { return d.path("x/f"), "/x: no such file or directory" }},
		{"below a file", false, func(d tree) (string, string) { return d.file("f", 0o644) + "/x", "not a directory" }},
		{"relative", false, func(d tree) (string, string) {
			d.file("f", 0o644)
			return "f", "f is not an absolute path"
		}},
		{"empty", false, func(d tree) (string, string) { return "", "is not an absolute path" }},
		{"NUL", false, func(d tree) (string, string) { return d.file("f", 0o644) + "\x00", "invalid argument" }},
		{"the root", false, func(d tree) (string, string) { return "/", irregular }},
		{"a directory", false, func(d tree) (string, string) { return d.dir("d", 0o755), "/d " + irregular }},
		{"a directory with a slash", false, func(d tree) (string, string) { return d.dir("d", 0o755) + "/", "/d " + irregular }},
		{"a FIFO", false, func(d tree) (string, string) {
			check(d.t, unix.Mkfifo(d.path("p"), 0o600))
			return d.path("p"), "/p " + irregular
		}},
		{"a link to a FIFO", false, func(d tree) (string, string) {
			check(d.t, unix.Mkfifo(d.path("p"), 0o600))
			return d.link("p", "l"), "/p " + irregular
		}},
		{"a socket", false, func(d tree) (string, string) {
			short := d.short()
			listener, err := net.Listen("unix", short+"/s")
			check(d.t, err)
			d.t.Cleanup(func() { listener.Close() })
			check(d.t, os.Chmod(short+"/s", 0o600))
			return short + "/s", "/s"
		}},
		{"a device", true, func(d tree) (string, string) {
			check(d.t, unix.Mknod(d.path("zero"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))))
			return d.path("zero"), irregular
		}},
		// Address 0 holds nothing, so that it opens and then cannot be read.
		{"a file that breaks off", true, func(d tree) (string, string) { return "/proc/self/mem", "/mem: input/output error" }},
		{"empty file", false, func(d tree) (string, string) {
			check(d.t, os.WriteFile(d.path("f"), nil, 0o600))
			return d.path("f"), ""
		}},
		{"as large as may be", false, func(d tree) (string, string) {
			check(d.t, os.WriteFile(d.path("f"), bytes.Repeat([]byte("x"), limit), 0o600))
			return d.path("f"), ""
		}},
		{"too large", false, func(d tree) (string, string) {
			check(d.t, os.WriteFile(d.path("f"), bytes.Repeat([]byte("x"), limit+1), 0o600))
			return d.path("f"), "/f is larger than 100 bytes"
		}},
		{"far too large", false, func(d tree) (string, string) {
			check(d.t, os.WriteFile(d.path("f"), nil, 0o600))
			check(d.t, os.Truncate(d.path("f"), 1<<40))
			return d.path("f"), "/f is larger than 100 bytes"
		}},
	}
}

// chain returns the last of n links of which each leads to the one before.
func (d tree) chain(n int) string {
	target := d.file("f", 0o644)
	for i := range n {
		target = d.link(target, fmt.Sprint(i))
	}
	return target
}

// short returns a directory with a path that fits a socket's name.
func (d tree) short() string {
	dir, err := os.MkdirTemp("/tmp", "")
	check(d.t, err)
	d.t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestRead reads every row as it is for root, and where no file is given away
// also as the user who runs the test, in whose place root stands.
func TestRead(t *testing.T) {
	t.Parallel()
	for _, test := range rows() {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.root {
				need.Root(t)
			}
			path, problem := test.make(newTree(t))
			data, err := reader{owner: uint32(os.Getuid())}.read(path, limit)
			judge(t, path, problem, data, err)
			if os.Getuid() == 0 {
				data, err = Read(path, limit)
				judge(t, path, problem, data, err)
			}
		})
	}
}

func judge(t *testing.T, path, problem string, data []byte, err error) {
	t.Helper()
	switch {
	case problem == "" && err != nil:
		t.Errorf("%s: %v", path, err)
	case problem == "":
		want, readErr := os.ReadFile(path)
		if readErr != nil || !bytes.Equal(data, want) {
			t.Errorf("read %.100q, the file has %.100q (%v)", data, want, readErr)
		}
	case err == nil || !strings.Contains(err.Error(), problem):
		t.Errorf("the error is %v, want one that says %q", err, problem)
	case data != nil:
		t.Errorf("there is data with the error: %.100q", data)
	case errors.Is(err, fs.ErrNotExist) != strings.Contains(problem, "no such file"):
		t.Errorf("whether %v is fs.ErrNotExist is wrong", err)
	}
}

// Without the owner of the tests, every file of theirs is a stranger's: so the
// owner is checked for a file, a directory and a link each.
func TestReadTrustsRootOnly(t *testing.T) {
	t.Parallel()
	d := newTree(t)
	if os.Getuid() == 0 {
		check(t, os.Chown(d.root, stranger, 0))
		check(t, os.Chown(filepath.Dir(d.root), stranger, 0))
		t.Cleanup(func() {
			os.Chown(d.root, 0, 0)
			os.Chown(filepath.Dir(d.root), 0, 0)
		})
	}
	data, err := Read(d.file("f", 0o644), limit)
	if err == nil || !strings.Contains(err.Error(), "not root") || data != nil {
		t.Errorf("below a directory of another: %q, %v", data, err)
	}
}

// A slash behind a file is passed over: nothing less is checked for it.
func TestReadTrailingSlash(t *testing.T) {
	t.Parallel()
	d := newTree(t)
	r := reader{owner: uint32(os.Getuid())}
	if data, err := r.read(d.file("f", 0o644)+"/", limit); string(data) != content || err != nil {
		t.Errorf("read %q, %v", data, err)
	}
	if _, err := r.read(d.file("g", 0o666)+"/", limit); err == nil || !strings.Contains(err.Error(), "is writable") {
		t.Errorf("others may write the file: %v", err)
	}
}
