// Package sysroot finds files of a system whose root directory is somewhere else, such as
// where an image is mounted. No symbolic link leads out of it: links of the system mean
// what they mean to it, and not to the host.
package sysroot

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is Linux's own bound on symbolic links in one path.
const maxLinks = 40

// Path returns where the file at path of the system below root is to be found. Where
// there are too many symbolic links, it is where no file can be.
func Path(root, path string) string {
	if filepath.Clean(root) == "/" || !filepath.IsAbs(path) {
		return filepath.Join(root, path)
	}
	real, err := Resolve(root, path)
	if errors.Is(err, unix.ELOOP) {
		return filepath.Join(os.DevNull, path)
	}
	return filepath.Join(root, real)
}

// Entry is Path for the directory entry itself, which may be a link.
func Entry(root, path string) string {
	return filepath.Join(Path(root, filepath.Dir(path)), filepath.Base(path))
}

// Resolve follows an absolute path below root and returns it without links, as seen from
// root. With an error about what is not there it returns where that would be. The error is
// an *os.PathError with the path that cannot be followed, as seen from root.
func Resolve(root, path string) (string, error) {
	done := "/"
	rest := elements(path)
	for links := 0; len(rest) > 0; {
		next := filepath.Join(done, rest[0])
		rest = rest[1:]
		target, err := os.Readlink(filepath.Join(root, next))
		if errors.Is(err, unix.EINVAL) { // no link
			done = next
			continue
		}
		if err != nil {
			if pathError, ok := errors.AsType[*os.PathError](err); ok {
				err = pathError.Err
			}
			return filepath.Join(append([]string{next}, rest...)...), &os.PathError{Op: "readlink", Path: next, Err: err}
		}
		if links++; links > maxLinks {
			return path, &os.PathError{Op: "readlink", Path: path, Err: unix.ELOOP}
		}
		if filepath.IsAbs(target) {
			done = "/"
		}
		rest = append(elements(target), rest...)
	}
	return done, nil
}

// elements splits a path. It keeps "..", which means the parent of what the links before
// it lead to.
func elements(path string) []string {
	return strings.FieldsFunc(path, func(c rune) bool { return c == '/' })
}
