package machine

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// end parts the output of a command from its exit code, and that from the
// output of the next. Commands do not print it.
const end = '\x1e'

// control is the root shell of vm-control.service.
type control struct {
	mu   sync.Mutex
	conn net.Conn
	r    *bufio.Reader
	lost error // what made the channel useless
}

func newControl(conn net.Conn) *control { return &control{conn: conn, r: bufio.NewReader(conn)} }

// An ExitError is the error of a command that was run and failed.
type ExitError struct {
	Command string
	Code    int
	Output  string
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("%s: exit code %d: %s", e.Command, e.Code, strings.TrimSpace(e.Output))
}

// Root runs a shell command as root in the guest and returns what it printed,
// errors included. It takes neither network, sshd, disk nor journal. The error
// is an *ExitError when the command failed. One command runs at a time; after
// one that did not end in time no other can be run. The limit is that of a guest that has
// a processor to itself.
func (m *Machine) Root(command string, limit time.Duration) (string, error) {
	c := m.control
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost != nil {
		return "", c.lost
	}
	limit *= patience
	out, code, err := c.run(command, limit)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("%s: no end after %v", command, limit)
		}
		c.lost = fmt.Errorf("the control channel is lost: %w", err)
		return out, c.lost
	}
	if code != 0 {
		return out, &ExitError{command, code, out}
	}
	return out, nil
}

// run needs mu.
func (c *control) run(command string, limit time.Duration) (out string, code int, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return "", 0, err
	}
	_, err = fmt.Fprintf(c.conn, "sh -c %s </dev/null 2>&1; printf '\\036%%d\\036' $?\n", Quote(command))
	if err != nil {
		return "", 0, err
	}
	if out, err = c.r.ReadString(end); err != nil {
		return out, 0, err
	}
	text, err := c.r.ReadString(end)
	if err != nil {
		return out, 0, err
	}
	code, err = strconv.Atoi(strings.TrimSuffix(text, string(end)))
	return strings.TrimSuffix(out, string(end)), code, err
}

// Quote makes text one word for a shell.
func Quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// Write makes a small file in the guest, owned by root.
func (m *Machine) Write(path, content string, mode os.FileMode) error {
	_, err := m.Root(fmt.Sprintf("umask 077; mkdir -p -m 755 \"$(dirname %[1]s)\" && echo %[2]s | base64 -d > %[1]s && chmod %[3]o %[1]s",
		Quote(path), base64.StdEncoding.EncodeToString([]byte(content)), mode.Perm()), time.Minute)
	return err
}
