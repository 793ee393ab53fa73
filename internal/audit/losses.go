package audit

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxLosses bounds the count, and the file.
const maxLosses = 1 << 20

// losses counts lost events across runs of a program: in a file
// that has a byte for each. Without a path they are counted for this process.
type losses struct {
	path  string
	count int
}

// add counts n more.
func (l *losses) add(n int) {
	n = min(n, maxLosses)
	fd, err := l.open(unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT)
	if err != nil {
		l.count = min(l.count+n, maxLosses)
		return
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Size > maxLosses {
		return
	}
	unix.Write(fd, bytes.Repeat([]byte("."), n))
}

// take returns how many were counted, and counts from 0 again. Of several
// processes one has them.
func (l *losses) take() int {
	n := l.count
	l.count = 0
	mine := losses{path: l.path + "." + strconv.Itoa(os.Getpid())}
	if l.path == "" || unix.Rename(l.path, mine.path) != nil {
		return n
	}
	fd, err := mine.open(unix.O_RDONLY)
	unix.Unlink(mine.path)
	if err != nil {
		return n
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil {
		n += int(min(st.Size, maxLosses))
	}
	return n
}

// open opens the file, in a directory that nobody else can write. O_NONBLOCK keeps
// a FIFO from holding a login.
func (l *losses) open(flags int) (fd int, err error) {
	if l.path == "" {
		return -1, unix.ENOENT
	}
	return unix.Open(l.path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
}
