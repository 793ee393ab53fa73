package gateway

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// maxSocketPath is what fits into the kernel's sockaddr_un.
const maxSocketPath = 107

// A Target is what a serial port is joined to. The zero Target is none.
type Target struct {
	kind targetKind
	path string // of the socket, of the terminal, or of the link to a pty; may be empty for a pty
}

type targetKind int

const (
	targetNone targetKind = iota
	targetPty
	targetSocket
	targetTTY
)

// ParseTarget reads
//
//	pty          a pseudo-terminal that Open makes
//	pty:LINK     the same, with a symbolic link to it at the absolute path LINK
//	unix:PATH    the stream socket at PATH, such as QEMU's -serial unix:PATH,server
//	/dev/NAME    the terminal at an absolute path
//
// It looks at nothing but the text.
func ParseTarget(text string) (Target, error) {
	switch kind, path, given := strings.Cut(text, ":"); {
	case text == "pty":
		return Target{kind: targetPty}, nil
	case kind == "pty" && given:
		return absolute(targetPty, path)
	case kind == "unix" && given:
		if len(path) > maxSocketPath {
			return Target{}, fmt.Errorf("a socket path has at most %d characters, not %d", maxSocketPath, len(path))
		}
		return absolute(targetSocket, path)
	}
	if !filepath.IsAbs(text) {
		return Target{}, fmt.Errorf("serial must be pty, pty:LINK, unix:PATH or the absolute path of a terminal, not %q", text)
	}
	return absolute(targetTTY, text)
}

func absolute(kind targetKind, path string) (Target, error) {
	if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
		return Target{}, fmt.Errorf("%q is not an absolute path", path)
	}
	return Target{kind, filepath.Clean(path)}, nil
}

// errNoBreak is what a device without breaks answers.
var errNoBreak = errors.New("the port's backend does not support break")
